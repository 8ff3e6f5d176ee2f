"""What is kept of a call's transcript for people who look on."""

from __future__ import annotations

from trio_asr.core.outbox import Outbox
from trio_asr.core.recent import MAX_CAPTIONS, MAX_TEXT, Caption, Recent
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Topics, Transcript


def transcript(text: str, kind: str, start_ms: int, end_ms: int) -> Transcript:
    return Transcript("call", "t", 0, kind, text, 0.9, 0, start_ms, end_ms, False, 1, "r")


def commit(outbox: Outbox, outcome: Outcome = Outcome.APPLIED) -> None:
    assert outbox.next_commit(7) is not None
    outbox.settle(outcome)


def watched() -> tuple[Outbox, Recent]:
    outbox = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
    outbox.recent = Recent()
    return outbox, outbox.recent


def test_what_redis_has_is_seen_and_nothing_else() -> None:
    outbox, recent = watched()
    outbox.put_partial(transcript("one", "partial", 0, 500))
    seen = [recent.interim]
    commit(outbox, Outcome.REFUSED)
    seen.append(recent.interim)
    assert seen == [None, None]
    outbox.put_partial(transcript("one two", "partial", 0, 900))
    commit(outbox)
    assert recent.interim == Caption(0, "partial", "one two", 0, 900, 1)
    outbox.put(Item(resume_point=ResumePoint(8000), transcript=transcript("One, two.", "final", 0, 1000)))
    commit(outbox)
    assert list(recent.captions) == [Caption(1, "final", "One, two.", 0, 1000, 2)]
    assert recent.interim is None


def test_a_gap_is_a_line_and_other_events_are_none() -> None:
    outbox, recent = watched()
    outbox.put(Item(event={"event": "connection_opened", "connection": 1}))
    gap = {"event": "gap", "reason": "retention", "start_ms": 1000, "end_ms": 3000, "samples": 16000}
    outbox.put(Item(resume_point=ResumePoint(24000), event=gap))
    commit(outbox)
    assert list(recent.captions) == [Caption(1, "gap", "retention", 1000, 3000)]


def test_it_is_bounded() -> None:
    outbox, recent = watched()
    for number in range(MAX_CAPTIONS + 10):
        said = transcript("x" * (MAX_TEXT + 500), "final", number, number + 1)
        outbox.put(Item(resume_point=ResumePoint(number + 1), transcript=said))
        commit(outbox)
    assert len(recent.captions) == MAX_CAPTIONS
    assert (recent.captions[0].number, recent.captions[-1].number) == (11, MAX_CAPTIONS + 10)
    assert len(recent.captions[-1].text) == MAX_TEXT


def test_nobody_may_look_on_nothing_is_kept() -> None:
    outbox = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
    outbox.put(Item(resume_point=ResumePoint(8000), transcript=transcript("One.", "final", 0, 1000)))
    commit(outbox)
    assert outbox.recent is None
