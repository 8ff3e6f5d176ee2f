"""The outbox: one commit in flight, repeated unchanged; numbers without holes; partials that give way."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.outbox import MAX_WRITES, Outbox
from trio_asr.wire.records import Checkpoint, Commit, Outcome, Stored, decode_checkpoint, encode
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Item, Topics, Transcript

TOPICS = Topics("transcript.call", "asr_events", 1000)
FAILURES = [Outcome.STALE, Outcome.FENCED, Outcome.UNFENCED]


def outbox_of(stored: Stored = Stored()) -> Outbox:  # noqa: B008 (immutable)
    """An outbox of a call that Redis knows this much of."""
    return Outbox("call", TOPICS, stored)


def transcript(text: str, kind: str = "final") -> Transcript:
    """A message as `handler` makes it: seq and timestamp_ms are given later."""
    return Transcript("call", "t", 0, kind, text, 0.9, 0, 0, 20, False, 1, "r")


def place(sample: int) -> ResumePoint:
    return ResumePoint(sample, f"{sample}-0", at=2 * sample, rate=8000)


def final(text: str, sample: int) -> Item:
    """A final that moves the cursor to `sample`."""
    return Item(resume_point=place(sample), transcript=transcript(text))


def said(commit: Commit | None) -> list[Any]:
    """What a commit adds to the transcript stream, as (seq, type, text)."""
    assert commit is not None
    documents = [json.loads(write.data) for write in commit.writes if write.stream == TOPICS.transcript]
    return [(one["seq"], one["type"], one["text"]) for one in documents]


def test_a_final_and_its_cursor_are_one_commit() -> None:
    outbox = outbox_of()
    outbox.put(final("one", 100))
    commit = outbox.next_commit(7)
    assert commit is not None
    assert (commit.owner, commit.rev, commit.live) == ("call", 1, True)
    assert decode_checkpoint(commit.state) == Checkpoint(place(100), seq=1)
    assert json.loads(commit.writes[0].data) == {
        "interaction_id": "call",
        "tenant_id": "t",
        "seq": 1,
        "type": "final",
        "text": "one",
        "confidence": 0.9,
        "timestamp_ms": 7,
        "start_ms": 0,
        "end_ms": 20,
        "speech_final": False,
        "connection": 1,
        "request_id": "r",
    }
    assert commit.writes[0].maxlen == 0


def test_the_commit_in_flight_is_repeated_unchanged_until_it_is_answered() -> None:
    """Requirements 7: a lost answer publishes nothing twice."""
    outbox = outbox_of()
    outbox.put(final("one", 100))
    first = outbox.next_commit(1)
    outbox.put(final("two", 200))
    outbox.put_partial(transcript("three", "partial"))
    assert outbox.next_commit(2) is first
    assert outbox.next_commit(3) is first
    assert [item.transcript and item.transcript.text for item in outbox.settle(Outcome.DONE)] == ["one"]
    second = outbox.next_commit(4)
    assert second is not None
    assert second.rev == 2
    assert said(second) == [(2, "final", "two"), (3, "partial", "three")]


@pytest.mark.parametrize("outcome", FAILURES)
def test_a_commit_that_failed_confirms_nothing(outcome: Outcome) -> None:
    outbox = outbox_of()
    outbox.put(final("one", 100))
    commit = outbox.next_commit(1)
    assert outbox.settle(outcome) == []
    assert outbox.confirmed == Checkpoint()
    assert outbox.stored == Stored()
    assert outbox.next_commit(2) is commit
    assert not outbox.idle


def test_of_a_refused_commit_all_waits_again_but_the_partial() -> None:
    """Nothing was written; and refused for long, partials do not gather."""
    outbox = outbox_of()
    outbox.put(final("one", 100))
    for text in "abc":
        outbox.put_partial(transcript(text, "partial"))
        assert said(outbox.next_commit(1)) == [(1, "final", "one"), (2, "partial", text)]
        assert outbox.settle(Outcome.REFUSED) == []
        assert said(outbox.next_commit(1)) == [(1, "final", "one")]
        assert outbox.settle(Outcome.REFUSED) == []
    outbox.put(final("two", 200))
    commit = outbox.next_commit(2)
    assert said(commit) == [(1, "final", "one"), (2, "final", "two")]
    assert commit is not None
    assert commit.rev == 1


def test_what_is_refused_for_too_long_becomes_gaps_and_what_is_newer_waits() -> None:
    outbox = outbox_of()
    outbox.put_partial(transcript("p", "partial"))
    outbox.next_commit(1)
    outbox.settle(Outcome.REFUSED)
    outbox.put(Item(event={"event": "connection_opened"}))
    for n in (1, 2, 3):
        outbox.put(final(str(n), 100 * n))
    assert outbox.shed(300) == 2
    assert outbox.shed(300) == 0
    commit = outbox.next_commit(1)
    assert said(commit) == [(1, "final", "3")]
    assert commit is not None
    events = [json.loads(write.data) for write in commit.writes if write.stream == "asr_events"]
    assert [one["event"] for one in events] == ["connection_opened", "gap"]
    lost = final("1", 100).transcript, final("2", 200).transcript
    assert lost[0] is not None
    assert lost[1] is not None
    assert (events[1]["start_ms"], events[1]["end_ms"]) == (lost[0].start_ms, lost[1].end_ms)
    assert decode_checkpoint(commit.state).place.finalized == 300


def test_what_is_shed_again_and_again_stays_one_gap() -> None:
    """Gaps of another reason stand between, and connections that came and went are forgotten."""
    outbox = outbox_of()
    for n in range(1, 301):
        reason = "retention" if n > 200 else ""
        gap = {"event": "gap", "reason": reason, "start_ms": n, "end_ms": n + 1, "samples": 8}
        outbox.put(Item(resume_point=place(n), event=gap) if reason else final(str(n), n))
        outbox.put(Item(event={"event": "connection_opened"}))
        outbox.shed(n)
    commit = outbox.next_commit(1)
    assert commit is not None
    events = [json.loads(w.data) for w in commit.writes if w.stream == "asr_events"]
    gaps = [one for one in events if one["event"] == "gap"]
    assert [one["reason"] for one in gaps[:2]] == ["unpublished", "retention"]
    assert (gaps[1]["start_ms"], gaps[1]["end_ms"], gaps[1]["samples"]) == (201, 300, 99 * 8)
    assert len(events) <= 5
    assert decode_checkpoint(commit.state).place.finalized == 300


def test_answers_to_nothing_do_nothing() -> None:
    outbox = outbox_of()
    for outcome in Outcome:
        assert outbox.settle(outcome) == []
    assert outbox.idle
    assert outbox.next_commit(1) is None


def test_of_partials_only_the_newest_is_kept() -> None:
    outbox = outbox_of()
    for text in ("a", "a b", "a b c"):
        outbox.put_partial(transcript(text, "partial"))
    commit = outbox.next_commit(1)
    assert said(commit) == [(1, "partial", "a b c")]
    assert commit is not None
    assert decode_checkpoint(commit.state).seq == 1  # stored, so that it is never used again


@pytest.mark.parametrize(
    "item",
    [
        final("a b", 100),
        Item(resume_point=place(100)),
        Item(resume_point=place(100), event={"event": "gap"}),
        Item(resume_point=place(100), event={"event": "ended"}, ended="9-0"),
    ],
    ids=["final", "empty final", "gap", "end"],
)
def test_what_moves_the_cursor_overtakes_the_partial_that_waits(item: Item) -> None:
    outbox = outbox_of()
    outbox.put_partial(transcript("a", "partial"))
    outbox.put(item)
    commit = outbox.next_commit(1)
    assert all(kind == "final" for _, kind, _ in said(commit))
    outbox.settle(Outcome.APPLIED)
    assert outbox.next_commit(2) is None
    assert outbox.idle


def test_an_event_leaves_the_partial_alone() -> None:
    outbox = outbox_of()
    outbox.put_partial(transcript("a", "partial"))
    outbox.put(Item(event={"event": "connection_closed"}))
    assert said(outbox.next_commit(1)) == [(1, "partial", "a")]


def test_events_say_whose_they_are_and_the_stream_is_bounded() -> None:
    outbox = outbox_of()
    outbox.tenant_id, outbox.trace_id = "t", "x"
    outbox.put(Item(event={"event": "gap", "samples": 5}))
    commit = outbox.next_commit(7)
    assert commit is not None
    (write,) = commit.writes
    assert (write.stream, write.maxlen) == ("asr_events", 1000)
    assert json.loads(write.data) == {
        "event": "gap",
        "interaction_id": "call",
        "tenant_id": "t",
        "trace_id": "x",
        "samples": 5,
        "timestamp_ms": 7,
    }


def test_no_commit_keeps_redis_busy_for_long() -> None:
    outbox = outbox_of()
    for n in range(2 * MAX_WRITES):
        outbox.put(final(str(n), n + 1))
    outbox.put_partial(transcript("p", "partial"))
    sizes = []
    while (commit := outbox.next_commit(1)) is not None:
        sizes.append(len(commit.writes))
        outbox.settle(Outcome.APPLIED)
    assert sizes == [MAX_WRITES, MAX_WRITES, 1]
    assert outbox.confirmed.seq == 2 * MAX_WRITES + 1


def test_the_end_is_stored_and_the_call_is_no_longer_live() -> None:
    outbox = outbox_of()
    outbox.put(final("one", 100))
    outbox.put(Item(resume_point=place(100), event={"event": "ended"}, ended="120-0"))
    commit = outbox.next_commit(1)
    assert commit is not None
    assert not commit.live
    assert decode_checkpoint(commit.state).ended == "120-0"


def test_numbers_connections_and_names_go_on_after_a_restart() -> None:
    outbox = outbox_of()
    outbox.tenant_id, outbox.trace_id, outbox.connection = "t", "x", 3
    outbox.put(final("one", 100))
    commit = outbox.next_commit(1)
    assert commit is not None
    outbox.settle(Outcome.APPLIED)
    again = outbox_of(Stored(commit.rev, commit.state))
    assert again.confirmed == outbox.confirmed
    assert again.stored == outbox.stored
    assert (again.tenant_id, again.trace_id, again.connection) == ("t", "x", 3)
    again.put(final("two", 200))
    following = again.next_commit(2)
    assert following is not None
    assert following.rev == 2
    assert said(following) == [(2, "final", "two")]


class Redis:
    """Applies a commit if it is the next one, as the script does, and keeps what was published."""

    def __init__(self) -> None:
        self.rev = 0
        self.published: list[Any] = []

    def apply(self, commit: Commit) -> Outcome:
        if commit.rev == self.rev:
            return Outcome.DONE
        assert commit.rev == self.rev + 1
        self.rev = commit.rev
        self.published += said(commit)
        return Outcome.APPLIED


def put(outbox: Outbox, what: str, n: int) -> None:
    """Queue something."""
    if what == "partial":
        outbox.put_partial(transcript(str(n), "partial"))
    elif what == "event":
        outbox.put(Item(event={"event": "x"}))
    else:
        outbox.put(final(str(n), n) if what == "final" else Item(resume_point=place(n)))


THINGS = ["final", "empty", "partial", "event"]


@given(
    st.lists(st.sampled_from([*THINGS, "applied", "applied", "lost", "never came", "refused"]), max_size=80)
)
@settings(deadline=None)
def test_whatever_happens_every_final_is_written_once_in_order_and_numbered_from_1(steps: list[str]) -> None:
    """Requirements 7. Redis applies by revision; answers get lost, and commits do."""
    outbox, redis = outbox_of(), Redis()
    for n, step in enumerate([*steps, "applied", "applied", "applied"]):
        commit = None if step in THINGS else outbox.next_commit(n)
        if step in THINGS:
            put(outbox, step, n)
        elif commit is not None and step in ("applied", "lost"):
            outcome = redis.apply(commit)
            if step == "applied":
                outbox.settle(outcome)
        elif commit is not None and step == "refused" and commit.rev != redis.rev:
            outbox.settle(Outcome.REFUSED)
    finals = [str(n) for n, step in enumerate(steps) if step == "final"]
    assert [text for _, kind, text in redis.published if kind == "final"] == finals
    assert [seq for seq, _, _ in redis.published] == list(range(1, len(redis.published) + 1))
    assert outbox.idle
    assert outbox.stored == Stored(redis.rev, encode(outbox.confirmed) if redis.rev else b"")
    assert outbox.confirmed.seq == len(redis.published)
