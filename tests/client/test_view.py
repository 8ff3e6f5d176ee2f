from __future__ import annotations

import io

from rich.console import Console

from trio_asr.client.consumer import Message
from trio_asr.client.view import TranscriptView


def message(text: str, kind: str = "final", call: str = "a", start_ms: int | None = 1500) -> Message:
    return Message(interaction_id=call, type=kind, text=text, start_ms=start_ms)


def said(text: str, channel: int, until_ms: int, kind: str = "final", role: str | None = None) -> Message:
    """Return a message of a call of two people."""
    start_ms = until_ms - 1000
    return Message("a", kind, text, start_ms=start_ms, end_ms=until_ms, channel=channel, role=role)


def on(console: Console, *messages: Message) -> str:
    with TranscriptView(console) as view:
        for one in messages:
            view.show(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_every_message_is_a_plain_line() -> None:
    console = Console(file=io.StringIO(), width=40)
    long = "words " * 20
    out = on(console, message("he", "partial"), message(long), message("", "partial"), message(" "))
    assert out.splitlines() == ["    1.5s  a         interim  he", f"    1.5s  a         final    {long}"]


def test_in_a_terminal_finals_stay_and_interims_go() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    out = on(
        console, message("hello wor", "partial"), message("other", "partial", "b"), message("hello world")
    )
    # The last thing drawn below the final is the other call's interim; then that is wiped away.
    assert "hello world\n" in out
    assert out.rindex("other") > out.rindex("hello world")
    assert out.rindex("\x1b[2K") > out.rindex("other")


def test_a_text_cannot_steer_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=80)
    out = on(console, message("\x1b[2Jgone\a[bold]", call="x\x1b]0;title\a"))
    assert "\x1b" not in out
    assert "\a" not in out
    assert "[bold]" in out


def test_messages_of_the_old_worker_have_no_times() -> None:
    console = Console(file=io.StringIO(), width=80)
    assert on(console, message("hi", start_ms=None)) == "          a         final    hi\n"


def test_two_people_have_their_roles_or_their_channels() -> None:
    console = Console(file=io.StringIO(), width=80)
    out = on(
        console,
        said("good mor", 1, 1000, "partial", role="agent"),
        said("Good morning.", 1, 1500, role="agent"),
        said("Hello.", 0, 2500),
        message("Of somebody else.", call="b"),
    )
    assert out.splitlines() == [
        "    0.0s  a         interim  agent     good mor",
        "    0.5s  a         final    agent     Good morning.",
        "    1.5s  a         final    channel 0  Hello.",
        "    1.5s  b         final    Of somebody else.",
    ]


def test_a_line_that_comes_late_says_so() -> None:
    console = Console(file=io.StringIO(), width=80)
    out = on(
        console,
        said("How can I help you?", 1, 4000),
        said("Hello.", 0, 3000),  # the other one spoke meanwhile, or just after
        said("Hello?", 0, 3900),
        said("I am sorry.", 1, 6000),
        said("It was charged twice.", 0, 4999),
        said("interims are where everybody is", 0, 4999, "partial"),
    )
    lines = [line.split("  ")[-1] for line in out.splitlines()]
    assert lines == [
        "How can I help you?",
        "Hello.",
        "Hello?",
        "I am sorry.",
        "(earlier) It was charged twice.",
        "interims are where everybody is",
    ]


def test_both_interims_stand_below_in_the_order_of_channels() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    out = on(
        console,
        said("good", 1, 1000, "partial", role="agent"),
        said("hel", 0, 1200, "partial", role="customer"),
        said("bye", 0, 1300, "partial", role="customer"),
    )
    assert out.rindex("bye") < out.rindex("good")
    out = on(console, said("Good morning.", 1, 1500, role="agent"), said("hello", 0, 1600, "partial"))
    assert out.rindex("hello") > out.rindex("Good morning.")


def test_two_people_have_a_colour_each() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    out = on(console, said("Good morning.", 1, 1500, role="agent"), said("Hello.", 0, 2500, role="customer"))
    assert "\x1b[1;33magent" in out
    assert "\x1b[1;36mcustomer" in out
