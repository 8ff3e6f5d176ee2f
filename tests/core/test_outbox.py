"""The outbox: one commit in flight, repeated unchanged; numbers without holes; partials that give way."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

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


# -- several channels ----------------------------------------------------------------------------------------

ROLES = ("customer", "agent")


def two(roles: tuple[str, ...] = ROLES) -> Outbox:
    """An outbox of a call of two channels."""
    outbox = outbox_of()
    outbox.roles = roles
    return outbox


def of(channel: int, text: str, sample: int, lead: tuple[int, ...] | None = None) -> Item:
    """A final of 20 ms of a channel, which moves the cursors to `sample` and so far ahead of it."""
    point = ResumePoint(
        sample, f"{sample}-0", at=2 * sample, rate=8000, encoding="mulaw", channels=2, lead=lead or UNSET
    )
    message = transcript(text)
    message.start_ms, message.end_ms = sample, sample + 20
    message.channel, message.role = channel, ROLES[channel]
    return Item(resume_point=point, transcript=message, channel=channel)


def partial(channel: int, text: str) -> Transcript:
    message = transcript(text, "partial")
    message.channel, message.role = channel, ROLES[channel]
    return message


def events(commit: Commit | None) -> list[dict[str, Any]]:
    """The events of a commit: what is said of them and of which channel."""
    assert commit is not None
    named = ("event", "reason", "channel", "role", "start_ms", "end_ms", "samples")
    documents = [json.loads(write.data) for write in commit.writes if write.stream == "asr_events"]
    return [{name: one[name] for name in named if name in one} for one in documents]


def test_messages_name_one_of_several_channels_and_who_is_on_it() -> None:
    outbox = two()
    assert [outbox.leg(channel, 2) for channel in (0, 1)] == [
        {"channel": 0, "role": "customer"}, {"channel": 1, "role": "agent"},
    ]  # fmt: skip
    assert outbox.leg(0, 1) == {}
    assert two(()).leg(1, 2) == {"channel": 1}
    assert two(("customer",)).leg(1, 2) == {"channel": 1}


def test_of_each_channels_partials_the_newest_is_kept() -> None:
    outbox = two()
    for channel, text in ((0, "a"), (1, "b"), (0, "a c"), (1, "b d")):
        outbox.put_partial(partial(channel, text))
    assert said(outbox.next_commit(1)) == [(1, "partial", "a c"), (2, "partial", "b d")]
    outbox.settle(Outcome.APPLIED)
    assert outbox.idle


@pytest.mark.parametrize("channel", [0, 1])
def test_what_moves_the_cursor_of_a_channel_overtakes_its_partial_alone(channel: int) -> None:
    empty = Item(resume_point=of(channel, "", 100).resume_point, channel=channel)
    for item in (of(channel, "x", 100), empty, empty._replace(event={"event": "gap"})):
        outbox = two()
        outbox.put_partial(partial(0, "a"))
        outbox.put_partial(partial(1, "b"))
        outbox.put(item)
        partials = [text for _, kind, text in said(outbox.next_commit(1)) if kind == "partial"]
        assert partials == ["ba"[channel]]


def test_the_partial_of_mono_audio_is_that_of_channel_0() -> None:
    """The format may change in mid-call: what is finalized is the same audio."""
    outbox = two()
    outbox.put_partial(partial(0, "a"))
    outbox.put_partial(transcript("b", "partial"))
    assert said(outbox.next_commit(1)) == [(1, "partial", "b")]


def test_partials_that_a_full_commit_has_no_room_for_follow_it() -> None:
    outbox = two()
    for n in range(MAX_WRITES - 1):
        outbox.put(of(n % 2, str(n), n + 1))
    outbox.put_partial(partial(0, "a"))
    outbox.put_partial(partial(1, "b"))
    sizes = []
    while (commit := outbox.next_commit(1)) is not None:
        sizes.append(len(commit.writes))
        outbox.settle(Outcome.APPLIED)
    assert sizes == [MAX_WRITES, 1]
    assert outbox.confirmed.seq == MAX_WRITES + 1


def test_the_state_of_a_call_of_two_channels_has_its_version_its_roles_and_the_lead() -> None:
    outbox = two()
    outbox.put(of(1, "one", 100, (0, 60)))
    commit = outbox.next_commit(1)
    assert commit is not None
    assert commit.state == (
        b'{"place":{"finalized":100,"entry":"100-0","offset":0,"at":200,"rate":8000,"rate_from":0,"rate_us":0,'
        b'"encoding":"mulaw","channels":2,"lead":[0,60]},"seq":1,"connection":0,"tenant_id":"",'
        b'"trace_id":null,"ended":"","version":2,"roles":["customer","agent"]}'
    )
    outbox.settle(Outcome.APPLIED)
    again = outbox_of(outbox.stored)
    assert again.resume_point.cursors == [100, 160]
    assert again.roles == ROLES
    outbox.put(Item(resume_point=place(200)))  # plain audio follows
    commit = outbox.next_commit(1)
    assert commit is not None
    assert b"version" not in commit.state
    assert b"roles" not in commit.state


def test_the_gaps_of_two_channels_are_merged_each_with_its_own() -> None:
    """What Redis refuses alternates between them; the newest resume point comes last."""
    outbox = two()
    for n in range(1, 41):
        outbox.put(of(n % 2, str(n), 20 * n))
        outbox.put(Item(event={"event": "utterance_end", "channel": n % 2, "end_ms": n}))
    assert outbox.shed(10**6) == 40
    assert outbox.waiting == 2
    commit = outbox.next_commit(1)
    assert events(commit) == [
        {
            "event": "gap", "reason": "unpublished", "channel": channel, "role": ROLES[channel],
            "start_ms": 20 * first, "end_ms": 20 * last + 20,
        }
        for channel, first, last in ((1, 1, 39), (0, 2, 40))
    ]  # fmt: skip
    assert commit is not None
    assert decode_checkpoint(commit.state).place.finalized == 800


def test_what_is_shed_again_and_again_stays_one_gap_of_each_channel() -> None:
    outbox = two()
    for n in range(1, 301):
        outbox.put(of(n % 2, str(n), n))
        outbox.shed(n + 1)
        assert outbox.waiting <= 2
    assert [one["channel"] for one in events(outbox.next_commit(1))] == [1, 0]


def test_gaps_of_two_channels_for_other_reasons_are_merged_too() -> None:
    outbox = two()
    for n in range(1, 101):
        for channel in (0, 1):
            gap = {"event": "gap", "reason": "retention", "start_ms": n, "end_ms": n + 1, "samples": 8}
            point = of(channel, "", n).resume_point
            outbox.put(Item(resume_point=point, event=gap | outbox.leg(channel, 2), channel=channel))
        outbox.shed(n + 1)
    assert events(outbox.next_commit(1)) == [
        {
            "event": "gap", "reason": "retention", "channel": channel, "role": ROLES[channel],
            "start_ms": 1, "end_ms": 101, "samples": 800,
        }
        for channel in (0, 1)
    ]  # fmt: skip


def test_a_gap_of_one_channel_is_not_merged_over_what_is_to_be_said() -> None:
    outbox = two()
    outbox.put(of(0, "one", 100))
    outbox.put(Item(event={"event": "resumed"}))
    outbox.put(of(0, "two", 200))
    assert outbox.shed(300) == 2
    assert [one["event"] for one in events(outbox.next_commit(1))] == ["gap", "resumed", "gap"]


class RedisOfTwo(Redis):
    """It knows where the finals and the gaps of each channel are."""

    def __init__(self) -> None:
        super().__init__()
        self.finals: list[list[int]] = [[], []]
        self.gaps: list[list[tuple[int, int]]] = [[], []]

    def apply(self, commit: Commit) -> Outcome:
        outcome = super().apply(commit)
        if outcome is Outcome.APPLIED:
            assert len(commit.writes) <= MAX_WRITES
            for one in [json.loads(write.data) for write in commit.writes]:
                if one.get("type") == "final":
                    self.finals[one["channel"]].append(one["start_ms"])
                elif "event" in one:
                    self.gaps[one["channel"]].append((one["start_ms"], one["end_ms"]))
        return outcome

    def deliver(self, outbox: Outbox, fate: str) -> None:
        """Take the next commit, which may be refused, or its answer lost."""
        commit = outbox.next_commit(1)
        if commit is None:
            return
        if fate == "refused" and commit.rev != self.rev:
            outbox.settle(Outcome.REFUSED)
            return
        outcome = self.apply(commit)
        if fate == "applied":
            outbox.settle(outcome)


def put_of(outbox: Outbox, what: str, channel: int, n: int) -> None:
    """Queue something of a channel."""
    item = of(channel, str(n), 20 * n)
    if what == "partial":
        outbox.put_partial(partial(channel, str(n)))
    else:
        outbox.put(item if what == "final" else item._replace(transcript=None))


THINGS_OF_TWO = [(what, channel) for what in ("final", "empty", "partial") for channel in (0, 1)]
FATES = [(fate, -1) for fate in ("applied", "lost", "refused", "shed")]


@given(st.lists(st.sampled_from([*THINGS_OF_TWO, *FATES]), max_size=60))
@settings(deadline=None)
def test_whatever_happens_each_channels_finals_are_written_once_or_are_in_a_gap_of_it(
    steps: list[tuple[str, int]],
) -> None:
    outbox, redis = two(), RedisOfTwo()
    for n, (what, channel) in enumerate(steps, 1):
        if channel >= 0:
            put_of(outbox, what, channel, n)
        elif what == "shed":
            outbox.shed(20 * n)
        else:
            redis.deliver(outbox, what)
    for _ in range(5):
        redis.deliver(outbox, "applied")
    assert outbox.idle
    for channel in (0, 1):
        written, gaps = redis.finals[channel], redis.gaps[channel]
        assert written == sorted(set(written))
        for start in [20 * n for n, step in enumerate(steps, 1) if step == ("final", channel)]:
            in_gaps = [one for one in gaps if one[0] <= start < one[1]]
            assert (start in written) + len(in_gaps) == 1
