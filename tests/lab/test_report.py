from __future__ import annotations

import io

import pytest
from rich.console import Console

from trio_asr.client.consumer import Event, Message
from trio_asr.lab.demo.report import CallReport, Report
from trio_asr.lab.rig.page import Page


def message(text: str, kind: str, end_ms: int | None) -> Message:
    return Message(interaction_id="a", type=kind, text=text, end_ms=end_ms)


def full_report() -> Report:
    report = Report({"a": CallReport("a", 4.0, said=("one two three four",))})
    report.take(Event(event="connection_opened", interaction_id="a"), 0.6)
    report.take(message("one", "partial", 1000), 1.5)
    report.take(message("One two.", "final", 2000), 3.0)
    report.take(message("three", "partial", 3000), 3.3)
    report.take(message("Three for.", "final", 4000), 4.4)
    report.take(Event(event="ended", interaction_id="a", duration_ms=4000), 4.5)
    return report


def test_delays_count_from_the_last_sample_of_a_result() -> None:
    call = full_report().calls["a"]
    assert call.interim_delays == pytest.approx([0.5, 0.3])
    assert call.final_delays == pytest.approx([1.0, 0.4])
    assert call.error_rate == 0.25
    assert call.heard(0) == "One two. Three for."
    assert call.conversation() is None


def test_two_people_are_counted_apart_and_shown_in_the_order_in_which_they_finished() -> None:
    report = Report({"a": CallReport("a", 4.0, said=("b c", "a d"))})
    for channel, text, end_ms in ((1, "A.", 1000), (0, "B", 3000), (1, "d", 2000)):
        message = Message("a", "final", text, end_ms=end_ms, channel=channel, role=("he", "she")[channel])
        report.take(message, 5.0)
    assert report.calls["a"].error_rate == 0.25
    console = Console(file=io.StringIO(), width=40)
    for conversation in report.conversations():
        console.print(conversation)
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines == [["What", "was", "said", "in", "a"], ["she", "A."], ["she", "d"], ["he", "B"]]


def test_one_of_two_people_whom_nobody_heard_is_a_complaint() -> None:
    report = Report({"a": CallReport("a", 4.0, said=("b", "a"))})
    report.take(Event(event="connection_opened", interaction_id="a"), 0.1)
    report.take(Message("a", "final", "b", channel=0), 0.2)
    report.take(Event(event="ended", interaction_id="a"), 0.3)
    assert report.complaints() == ["a: nothing was recognised"]


def test_a_whole_call_gives_no_complaint() -> None:
    report = full_report()
    assert report.all_ended
    assert report.complaints() == []


def test_complaints() -> None:
    report = Report({name: CallReport(name, 1.0, said=("x",)) for name in ("open", "twice", "mute")})
    for name in ("twice", "mute"):
        report.take(Event(event="connection_opened", interaction_id=name), 0.1)
        report.take(Event(event="ended", interaction_id=name), 0.2)
    report.take(Event(event="connection_opened", interaction_id="twice"), 0.1)
    assert not report.all_ended
    assert report.complaints() == [
        "open: the call did not end",
        "twice: 2 connections instead of one",
        "mute: nothing was recognised",
    ]


def test_other_calls_and_messages_without_times_do_no_harm() -> None:
    report = full_report()
    report.take(Event(event="ended", interaction_id="somebody else"), 1.0)
    report.take(message("x", "final", None), 1.0)
    assert len(report.calls["a"].final_delays) == 2


def test_table_and_footer() -> None:
    report = full_report()
    report.page = Page(
        "# HELP x y\nasr_audio_chunks_processed_total 200.0\ndeepgram_audio_chunks_sent_total 18.0\n"
        'asr_role{role="active"} 1.0\ndeepgram_audio_sent_seconds_total 4e0\n'
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(report.table())
    assert isinstance(console.file, io.StringIO)
    row = next(line for line in console.file.getvalue().splitlines() if line.startswith(" a "))
    assert row.split() == ["a", "4.0", "s", "1", "2", "2", "4", "25%", "0.40", "s", "0.70", "s"]
    assert "in 200 entries; the daemon sent them to Deepgram, 4.0 s of audio in 18 chunks" in report.footer()
