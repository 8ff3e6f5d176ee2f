"""What is kept of a call's transcript for people who look on."""

from __future__ import annotations

from typing import Any

import msgspec

from trio_asr.core.outbox import Outbox
from trio_asr.core.recent import MAX_CAPTIONS, MAX_TEXT, Caption, Recent
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Topics, Transcript


def transcript(text: str, kind: str, start_ms: int, end_ms: int, **leg: Any) -> Transcript:
    return Transcript("call", "t", 0, kind, text, 0.9, 0, start_ms, end_ms, False, 1, "r", **leg)


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


def test_a_final_without_words_ends_the_interim_too() -> None:
    outbox, recent = watched()
    outbox.put_partial(transcript("hm", "partial", 0, 500))
    commit(outbox)
    outbox.put(Item(resume_point=ResumePoint(8000)))
    commit(outbox)
    assert (recent.interim, list(recent.captions)) == (None, [])


def test_two_people_have_a_partial_each_and_their_names() -> None:
    outbox, recent = watched()
    customer, agent = {"channel": 0, "role": "customer"}, {"channel": 1, "role": "agent"}
    outbox.put_partial(transcript("good mor", "partial", 0, 500, **agent))
    commit(outbox)
    outbox.put_partial(transcript("hel", "partial", 300, 600, **customer))
    commit(outbox)
    hel = Caption(0, "partial", "hel", 300, 600, 2, 0, "customer")
    good = Caption(0, "partial", "good mor", 0, 500, 1, 1, "agent")
    assert list(recent.interims) == [hel, good]
    assert recent.interim == hel
    outbox.put_partial(transcript("good morning", "partial", 0, 800, **agent))
    commit(outbox)
    assert recent.interim == Caption(0, "partial", "good morning", 0, 800, 3, 1, "agent")
    said = transcript("Good morning.", "final", 0, 1000, **agent)
    outbox.put(Item(resume_point=ResumePoint(0), transcript=said, channel=1))
    commit(outbox)
    assert list(recent.interims) == [hel]
    assert list(recent.captions) == [Caption(1, "final", "Good morning.", 0, 1000, 4, 1, "agent")]


def test_a_gap_names_its_channel_and_ends_only_that_partial() -> None:
    outbox, recent = watched()
    for channel in (0, 1):
        outbox.put_partial(transcript(f"on {channel}", "partial", 0, 500, channel=channel))
    commit(outbox)
    gap = {"event": "gap", "reason": "skipped", "start_ms": 0, "end_ms": 900, "channel": 1, "role": "agent"}
    outbox.put(Item(resume_point=ResumePoint(0), event=gap, channel=1))
    commit(outbox)
    assert list(recent.captions) == [Caption(1, "gap", "skipped", 0, 900, None, 1, "agent")]
    assert list(recent.interims) == [Caption(0, "partial", "on 0", 0, 500, 1, 0)]


def test_captions_of_one_channel_have_the_fields_they_always_had() -> None:
    outbox, recent = watched()
    outbox.put(Item(resume_point=ResumePoint(8000), transcript=transcript("One.", "final", 0, 1000)))
    commit(outbox)
    assert msgspec.json.encode(recent.captions[0]) == (
        b'{"number":1,"type":"final","text":"One.","start_ms":0,"end_ms":1000,"seq":1}'
    )


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
