from __future__ import annotations

import io

from rich.console import Console

from trio_asr.client.consumer import Message
from trio_asr.client.view import TranscriptView


def message(text: str, kind: str = "final", call: str = "a", start_ms: int | None = 1500) -> Message:
    return Message(interaction_id=call, type=kind, text=text, start_ms=start_ms)


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
