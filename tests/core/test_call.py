"""A call: what it makes of its frames, and of the same frames again after a restart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import GAP_STEP_S, Call
from trio_asr.core.outbox import Outbox
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import EndReason, GapReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.records import Commit, Outcome, Stored
from trio_asr.wire.transcripts import Topics

RATE = 8000
SIZE = 320
BOUNDS = Bounds(1000, 120.0)


def arrival(n: int, *, seq: int | None = -1, pcm: bytes | None = None, rate: int = RATE) -> Frame:
    """Entry n, a frame of 20 ms, whose seq is n unless said otherwise."""
    seq = n if seq == -1 else seq
    frame = Frame(
        "call", bytes([n % 250 + 1]) * SIZE if pcm is None else pcm, rate, seq, n * 20, "tenant", "trace"
    )
    frame.entry, frame.digest = f"{n}-0", hash((n, seq))
    frame.format = audio_format(rate)
    return frame


def begun(stored: Stored = Stored(), bounds: Bounds = BOUNDS) -> Call:  # noqa: B008 (immutable)
    return Call(Outbox("call", Topics("t", "e", 100), stored), bounds)


def committed(call: Call) -> tuple[Commit | None, list[dict[str, Any]]]:
    """Commit all that waits; return the last commit and all that was written."""
    last, written = None, []
    while (commit := call.outbox.next_commit(1)) is not None:
        last = commit
        written += [json.loads(write.data) for write in commit.writes]
        call.outbox.settle(Outcome.APPLIED)
    return last, written


def named(written: list[dict[str, Any]]) -> list[str]:
    return [one["event"] for one in written]


def restarted(call: Call) -> Call:
    """A call of the next process: from what was committed."""
    return begun(call.outbox.stored)


def test_a_call_says_that_it_began_and_whose_it_is() -> None:
    call = begun()
    assert call.floor() is None
    result = call.receive([arrival(1), arrival(2)])
    assert (result.accepted, result.repeats, result.filled_s, result.given_up_s) == (2, 0, 0.0, 0.0)
    assert call.floor() == "1-0"
    (event,) = committed(call)[1]
    assert event == {
        "event": "started",
        "interaction_id": "call",
        "tenant_id": "tenant",
        "trace_id": "trace",
        "sample_rate": RATE,
        "timestamp_ms": 1,
    }
    assert call.floor() == call.outbox.confirmed.place.entry == "1-0"
    assert call.timeline.unfinalized_s == 0.04


def test_every_frame_twice_is_every_frame_once() -> None:
    call = begun()
    frames = [arrival(n // 2, seq=n // 2) for n in range(2, 22)]
    result = call.receive(frames)
    assert (result.accepted, result.repeats) == (10, 10)
    assert call.timeline.received == 10 * SIZE // 2


def test_frames_without_a_number_are_never_repeats() -> None:
    """Silence looks alike."""
    call = begun()
    assert call.receive([arrival(1, seq=None), arrival(1, seq=None)]).accepted == 2


def test_what_is_missing_becomes_silence_and_is_counted() -> None:
    call = begun()
    assert call.receive([arrival(1), arrival(4)]).filled_s == pytest.approx(0.04)
    assert call.timeline.received == 4 * SIZE // 2


def test_a_restart_goes_on_in_mid_frame() -> None:
    """Requirements 7: no sample twice, none missing, whatever is read again."""
    call = begun()
    frames = [arrival(n) for n in range(1, 11)]
    call.receive(frames)
    call.give_up_until(5 * SIZE // 2 + 7, GapReason.MEMORY)
    committed(call)
    again = restarted(call)
    assert again.outbox.confirmed.place.entry == "6-0"
    assert again.receive(frames).accepted == 5
    assert again.floor() == "6-0"
    assert (again.timeline.finalized, again.timeline.received) == (5 * SIZE // 2 + 7, 10 * SIZE // 2)
    chunk = again.timeline.take(10**6)
    assert chunk is not None
    assert chunk.pcm == b"".join(one.pcm for one in frames)[5 * SIZE + 14 :]
    assert committed(again)[1] == []  # it had begun already


def test_what_is_only_looked_at_teaches_about_holes_and_repeats() -> None:
    call = begun()
    call.receive([arrival(n) for n in (1, 2, 3)])
    call.give_up_until(call.timeline.received, GapReason.MEMORY)
    committed(call)
    again = restarted(call)
    result = again.receive([arrival(2), arrival(3), arrival(3), arrival(6)])
    assert result.repeats == 1
    assert result.filled_s == pytest.approx(0.04)
    assert again.timeline.received == 6 * SIZE // 2


@pytest.mark.parametrize("cursor", [SIZE // 2 + 7, 3 * SIZE // 2, 3 * SIZE // 2 + 7, 4 * SIZE // 2])
def test_silence_before_the_entry_to_resume_at_is_not_put_there_again(cursor: int) -> None:
    """The cursor in the silence, at its end, and in the frame after it."""
    call = begun()
    frames = [arrival(n) for n in (1, 4, 5)]
    call.receive(frames)
    call.give_up_until(cursor, GapReason.MEMORY)
    committed(call)
    again = restarted(call)
    again.receive(frames)
    assert again.timeline.received == call.timeline.received == 5 * SIZE // 2
    chunk, same = again.timeline.take(10**6), call.timeline.take(10**6)
    assert chunk == same


def test_a_call_that_was_over_is_resumed_and_says_so_once() -> None:
    """Also when its worker is killed after that; and its times go on."""
    call = begun()
    call.receive([arrival(1)])
    call.give_up_until(call.timeline.received, GapReason.MEMORY)
    call.end("1-0", EndReason.IDLE)
    last, written = committed(call)
    assert named(written) == ["started", "gap", "ended"]
    assert written[-1]["duration_ms"] == 20
    assert last is not None
    assert not last.live
    assert call.floor() is None

    resumed = restarted(call)
    resumed.receive([arrival(1), arrival(100, seq=1)])
    last, written = committed(resumed)
    assert named(written) == ["resumed"]
    assert last is not None
    assert last.live
    assert resumed.timeline.received == SIZE

    killed = restarted(resumed)
    killed.receive([arrival(1), arrival(100, seq=1), arrival(101, seq=2)])
    assert committed(killed)[1] == []
    killed.give_up_until(killed.timeline.received, GapReason.MEMORY)
    killed.end("101-0", EndReason.IDLE)
    assert named(committed(killed)[1]) == ["gap", "ended"]


def test_frames_after_the_end_that_named_it_are_of_the_call_until_it_is_over() -> None:
    """`call_end` is often read before the last frames."""
    call = begun()
    call.receive([arrival(1), arrival(9)])
    call.give_up_until(call.timeline.received, GapReason.MEMORY)
    call.end("5-0", EndReason.CALL_END)
    committed(call)
    assert call.outbox.confirmed.ended == "9-0"
    resumed = restarted(call)
    resumed.receive([arrival(20, seq=1)])
    assert named(committed(resumed)[1]) == ["resumed"]


def test_the_bound_is_kept_where_the_rate_rises() -> None:
    """What is given up is counted at the rate of the oldest audio, which is the lowest here."""
    call = begun(bounds=Bounds(1000, 2.0))
    call.receive([arrival(1)])
    second = bytes(2 * 48_000)
    result = call.receive([arrival(n, pcm=second, rate=48_000) for n in range(2, 22)])
    assert call.timeline.unfinalized_s <= 2.0
    assert result.given_up_s == pytest.approx(20.02 - call.timeline.unfinalized_s)


def test_beyond_the_bound_the_oldest_becomes_a_gap() -> None:
    call = begun(bounds=Bounds(1000, 2.0))
    given_up = 0.0
    for n in range(1, 1001):
        given_up += call.receive([arrival(n)]).given_up_s
        assert call.timeline.unfinalized_s <= 2.0
    gaps = [one for one in committed(call)[1] if one["event"] == "gap"]
    assert {one["reason"] for one in gaps} == {"retention"}
    assert sum(one["samples"] for one in gaps) == round(given_up * RATE) == call.timeline.finalized
    assert len(gaps) <= 20 / GAP_STEP_S
    at = 0
    for one in gaps:
        assert one["start_ms"] == at
        at = one["end_ms"]


def test_giving_up_stops_at_what_was_received() -> None:
    call = begun()
    assert call.give_up_oldest(5.0, GapReason.MEMORY) == 0.0
    call.receive([arrival(1)])
    assert call.give_up_oldest(5.0, GapReason.MEMORY) == pytest.approx(0.02)
    assert call.give_up_until(0, GapReason.MEMORY) == 0.0
    assert call.timeline.unfinalized_s == 0.0


def test_connections_are_numbered_on_across_restarts_and_start_from_the_cursor() -> None:
    call = begun()
    call.receive([arrival(1)])
    call.timeline.take(100)
    assert call.connected("r1") == 1
    assert call.timeline.sent == 0
    assert call.connected("r2") == 2
    committed(call)
    again = restarted(call)
    assert again.connection == 2
    assert again.connected("r3") == 3
    (event,) = committed(again)[1]
    assert (event["event"], event["connection"], event["request_id"]) == ("connection_opened", 3, "r3")


def test_half_a_sample_left_over_does_not_count_as_audio() -> None:
    call = begun()
    call.receive([arrival(1, pcm=b"\1" * 577)])
    call.give_up_until(288, GapReason.MEMORY)
    committed(call)
    assert call.timeline.unfinalized == 0
    assert call.floor() == "1-0"  # its other half may come
    again = restarted(call)
    again.receive([arrival(1, pcm=b"\1" * 577), arrival(2, pcm=b"\2" * 577)])
    chunk = again.timeline.take(1)
    assert chunk is not None
    assert chunk.pcm == b"\1\2"


@given(
    st.lists(
        st.tuples(
            st.sampled_from((1, 1, 1, 1, 1, 2, 0, -1, 3, None)), st.sampled_from((320, 320, 320, 0, 7))
        ),
        min_size=1,
        max_size=60,
    ),
    st.lists(st.integers(1, 12), min_size=60, max_size=60),
    st.sampled_from((RATE, 16_000)),
)
def test_frames_in_batches_are_what_they_are_one_by_one(
    steps: list[tuple[int | None, int]], sizes: list[int], later_rate: int
) -> None:
    """What is next in order is appended at once; all else is looked at frame by frame."""
    frames, seq = [], 0
    for n, (step, size) in enumerate(steps, start=1):
        seq += step or 0
        rate = RATE if n < 30 else later_rate
        numbered = arrival(n, seq=None if step is None else seq, pcm=bytes([n % 250 + 1]) * size, rate=rate)
        numbered.timestamp_ms, numbered.digest = seq * 20, hash((seq, size))
        frames.append(numbered)
    batched, single = begun(), begun()
    rest, results = list(frames), []
    for size in sizes:
        if rest:
            results.append(batched.receive(rest[:size]))
            del rest[:size]
    singles = [single.receive([one]) for one in frames]
    for name in ("accepted", "repeats", "filled_s"):
        total = sum(getattr(result, name) for result in results)
        assert total == pytest.approx(sum(getattr(result, name) for result in singles))
    assert batched.timeline._audio == single.timeline._audio
    assert batched.last_entry == single.last_entry
    for sample in range(0, single.timeline.received + 1, 53):
        assert batched.timeline.resume_point(sample) == single.timeline.resume_point(sample)


# -- several channels ----------------------------------------------------------------------------------------

TWO = audio_format(RATE, "mulaw", 2)


def leg_arrival(n: int, position: int, seconds: float = 1.0) -> Frame:
    """Entry n: sound on two channels from a position on."""
    size = round(seconds * TWO.bytes_per_s)
    frame = arrival(n, seq=None, pcm=b"\x12" * size)
    frame.format, frame.position, frame.roles = TWO, position, ("customer", "agent")
    return frame


def gaps(written: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """The gaps among what was written: of which channel, from when to when."""
    return [(one["channel"], one["start_ms"], one["end_ms"]) for one in written if one["event"] == "gap"]


def test_a_restart_between_the_gaps_of_two_channels_over_what_never_came() -> None:
    """Each is committed once, even where a commit ends between them."""
    call, frames = begun(), [leg_arrival(1, 0), leg_arrival(2, 100 * RATE)]
    call.receive(frames)
    for channel in (0, 1):
        call.give_up_until(RATE, GapReason.NO_RESULT, channel)
    assert call.timeline.cursors == [100 * RATE] * 2
    del call.outbox._queue[-1]
    assert gaps(committed(call)[1]) == [(0, 0, 1000), (1, 0, 1000), (0, 1000, 100_000)]
    again = restarted(call)
    assert again.timeline.cursors == [100 * RATE, RATE]
    again.receive(frames)
    assert again.timeline.cursors == [100 * RATE] * 2
    assert again.timeline.received == 101 * RATE
    assert gaps(committed(again)[1]) == [(1, 1000, 100_000)]
    assert restarted(again).timeline.cursors == [100 * RATE] * 2


def test_beyond_the_bound_the_channel_furthest_behind_is_given_up() -> None:
    call = begun(bounds=Bounds(1000, 5.0))
    call.receive([leg_arrival(n, n * RATE) for n in range(5)])
    call.timeline.finalize(3 * RATE, 0)
    assert call.receive([leg_arrival(5, 5 * RATE)]).given_up_s == 2.0
    assert gaps(committed(call)[1]) == [(1, 0, 2000)]
    assert call.timeline.cursors == [3 * RATE, 2 * RATE]
    assert call.given_up == 2 * RATE


def test_who_is_on_each_channel_is_what_the_first_entry_says_that_says_it() -> None:
    call = begun(bounds=Bounds(1000, 5.0, roles=("a", "b")))
    call.receive([leg_arrival(1, 0)])
    assert call.outbox.roles == ("customer", "agent")
    quiet = leg_arrival(1, 0)
    quiet.roles = None
    call = begun(bounds=Bounds(1000, 5.0, roles=("a", "b")))
    call.receive([quiet, leg_arrival(2, RATE)])
    assert call.outbox.roles == ("a", "b")
    call.give_up_until(RATE, GapReason.MEMORY, 1)
    assert committed(call)[1][-1]["role"] == "b"
    again = restarted(call)
    again.receive([quiet, leg_arrival(2, RATE)])
    assert again.outbox.roles == ("a", "b")


@pytest.mark.parametrize("together", [True, False])
def test_who_is_on_each_channel_may_be_said_later_than_at_first(together: bool) -> None:
    """Also by entries that just continue the call, which are looked at all at once."""
    frames = [leg_arrival(n, (n - 1) * RATE) for n in range(1, 7)]
    for frame in frames[:4]:
        frame.roles = None
    frames[5].roles = ("agent", "customer")
    call = begun()
    call.receive(frames[:1])
    call.receive(frames[1:3])
    assert not call.outbox.roles
    for batch in (frames[3:],) if together else ([frame] for frame in frames[3:]):
        call.receive(batch)
    assert call.outbox.roles == ("customer", "agent")
    call.give_up_until(RATE, GapReason.MEMORY, 1)
    assert committed(call)[1][-1]["role"] == "agent"
    assert restarted(call).outbox.roles == ("customer", "agent")
