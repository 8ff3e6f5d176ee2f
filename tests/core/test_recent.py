"""What is kept of a call's transcript for people who look on."""

from __future__ import annotations

from trio_asr.core.outbox import Outbox
from trio_asr.core.recent import MAX_LINES, MAX_TEXT, Line, Recent
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Topics, Transcript


def transcript(text: str, kind: str, start_ms: int, end_ms: int) -> Transcript:
    return Transcript("call", "t", 0, kind, text, 0.9, 0, start_ms, end_ms, False, 1, "r")


def commit(box: Outbox, outcome: Outcome = Outcome.APPLIED) -> None:
    assert box.next_commit(7) is not None
    box.settle(outcome)


def watched() -> tuple[Outbox, Recent]:
    box = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
    box.recent = Recent()
    return box, box.recent


def test_what_redis_has_is_seen_and_nothing_else() -> None:
    box, recent = watched()
    box.put_partial(transcript("one", "partial", 0, 500))
    seen = [recent.interim]
    commit(box, Outcome.REFUSED)
    seen.append(recent.interim)
    assert seen == [None, None]
    box.put_partial(transcript("one two", "partial", 0, 900))
    commit(box)
    assert recent.interim == Line(0, "partial", "one two", 0, 900, 1)
    box.put(Item(place=ResumePoint(8000), transcript=transcript("One, two.", "final", 0, 1000)))
    commit(box)
    assert list(recent.lines) == [Line(1, "final", "One, two.", 0, 1000, 2)]
    assert recent.interim is None


def test_a_gap_is_a_line_and_other_events_are_none() -> None:
    box, recent = watched()
    box.put(Item(event={"event": "connection_opened", "connection": 1}))
    gap = {"event": "gap", "reason": "retention", "start_ms": 1000, "end_ms": 3000, "samples": 16000}
    box.put(Item(place=ResumePoint(24000), event=gap))
    commit(box)
    assert list(recent.lines) == [Line(1, "gap", "retention", 1000, 3000)]


def test_it_is_bounded() -> None:
    box, recent = watched()
    for number in range(MAX_LINES + 10):
        said = transcript("x" * (MAX_TEXT + 500), "final", number, number + 1)
        box.put(Item(place=ResumePoint(number + 1), transcript=said))
        commit(box)
    assert len(recent.lines) == MAX_LINES
    assert (recent.lines[0].number, recent.lines[-1].number) == (11, MAX_LINES + 10)
    assert len(recent.lines[-1].text) == MAX_TEXT


def test_nobody_may_look_on_nothing_is_kept() -> None:
    box = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
    box.put(Item(place=ResumePoint(8000), transcript=transcript("One.", "final", 0, 1000)))
    commit(box)
    assert box.recent is None
