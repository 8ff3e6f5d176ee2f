"""When audio leaves: exact instants, and what holds whatever comes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.chunker import FORBIDDEN_RETRY_S, Chunker, Flush
from trio_asr.core.timeline import Timeline
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.resume_point import ResumePoint

NOW, RATE = 1000.0, 8000
PACE = 1.25


@dataclass
class Intervals:
    """The defaults of the config."""

    initial_ms: int = 500
    min_chunk_ms: int = 200
    max_interval_ms: int = 500
    max_chunk_ms: int = 1000


class Source:
    """A call's timeline, to which a test adds audio, and its chunker."""

    def __init__(self, intervals: Intervals | None = None) -> None:
        self.timeline = Timeline(ResumePoint())
        self.chunker = Chunker(self.timeline, intervals or Intervals(), PACE)
        self._entries = 0

    def add(self, ms: int, rate: int = RATE) -> None:
        self._entries += 1
        self.timeline.append(f"{self._entries}-0", bytes(2 * ms * rate // 1000), audio_format(rate))

    def is_finished(self) -> bool:
        return self.chunker.finished

    def due(self, now: float) -> list[int]:
        """Return the chunks that leave now, in ms."""
        return [round(flush.audio_s * 1000) for flush in self.chunker.due(now)]


def connected(intervals: Intervals | None = None) -> Source:
    source = Source(intervals)
    source.chunker.connect(audio_format(RATE))
    return source


def test_the_first_chunk_at_initial_later_ones_at_the_least_and_the_rest_by_timer() -> None:
    """Requirements 3, 4."""
    source = connected()
    source.add(480)
    assert source.due(NOW) == []
    assert source.chunker.timer() == NOW + 0.5
    source.add(20)
    assert source.due(NOW + 0.02) == [500]
    source.add(180)
    assert source.due(NOW + 0.2) == []
    assert not source.chunker.timer_fired(NOW + 0.51)
    assert source.chunker.timer_fired(NOW + 0.52)
    assert source.due(NOW + 0.52) == [180]
    assert source.chunker.timer() == math.inf


def test_nothing_leaves_without_a_connection_or_for_one_of_another_rate() -> None:
    source = Source()
    source.add(3000)
    assert source.due(NOW) == []
    source.chunker.connect(audio_format(2 * RATE))
    assert source.due(NOW) == []
    source.chunker.connect(audio_format(RATE))
    assert source.due(NOW) == [200]  # it has waited: a backlog leaves in small steps
    source.chunker.disconnect()
    assert source.due(NOW + 60) == []


def test_a_connection_is_finished_at_the_next_rate_or_the_end_of_the_input() -> None:
    source = connected()
    source.add(100)
    source.add(100, 2 * RATE)
    assert source.due(NOW) == [100]  # nothing will be added to it
    assert source.is_finished()
    source.chunker.connect(audio_format(2 * RATE))
    assert source.due(NOW) == []
    assert not source.is_finished()
    source.chunker.input_over()
    assert source.due(NOW) == [100]
    assert source.is_finished()


def test_what_is_forbidden_is_due_a_little_later() -> None:
    source = connected()
    source.add(500)
    assert list(source.chunker.due(NOW, allowed=False)) == []
    assert source.chunker.timer() == NOW + FORBIDDEN_RETRY_S
    assert source.timeline.sent == 0
    assert source.due(NOW + FORBIDDEN_RETRY_S) == [500]


def test_who_takes_one_chunk_leaves_the_rest_on_the_timeline() -> None:
    source = connected(Intervals(max_chunk_ms=100))
    source.add(500)
    flushes = source.chunker.due(NOW)
    assert next(flushes).chunk.end == RATE // 10
    del flushes
    assert source.timeline.sent == RATE // 10
    assert source.due(NOW) == [100] * 3  # less than makes a chunk is left, and the timer
    assert source.chunker.timer() == NOW + 0.5


def test_a_flush_says_how_long_its_audio_waited() -> None:
    source = connected()
    source.add(100)
    assert source.due(NOW) == []
    source.add(400)
    (first,) = source.chunker.due(NOW + 0.25)
    assert (first.age_s, first.since_last_s, first.chunk.due) == (0.25, None, NOW + 0.25)
    source.add(50)
    assert source.due(NOW + 0.3) == []
    (second,) = source.chunker.due(NOW + 0.8)
    assert (round(second.age_s, 6), round(second.since_last_s or 0, 6)) == (0.5, 0.55)
    assert round(second.chunk.due, 6) == NOW + 0.74  # by the timer, on the grid


def test_audio_on_its_way_is_late_from_when_it_was_marked() -> None:
    source = connected()
    source.chunker.mark_due(NOW)
    source.chunker.mark_due(NOW + 1)
    source.add(500)
    (flush,) = source.chunker.due(NOW + 1)
    assert flush.chunk.due == NOW


def test_what_may_be_held_back() -> None:
    source = connected()
    assert source.chunker.hold_limit(320, audio_format(RATE), NOW) == 2 * 500 * RATE // 1000
    assert source.chunker.timer() == NOW + 0.5  # which covers what is held
    source.add(500)
    assert source.due(NOW) == [500]
    source.add(100)
    assert source.due(NOW) == []
    assert source.chunker.hold_limit(320, audio_format(RATE), NOW + 0.1) == 2 * 100 * RATE // 1000
    assert source.chunker.hold_limit(1600, audio_format(RATE), NOW + 0.1) == 0  # that makes a chunk due
    assert source.chunker.hold_limit(320, audio_format(2 * RATE), NOW + 0.1) == 0  # that ends the connection
    assert source.chunker.hold_limit(320, audio_format(RATE), NOW + 0.6) == 0  # that is due already
    source.chunker.disconnect()
    assert source.chunker.hold_limit(320, audio_format(RATE), NOW + 0.1) == 0


STEPS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 700)), min_size=1, max_size=40)


@given(STEPS, st.integers(20, 1000), st.integers(20, 1000), st.integers(20, 2000))
@settings(max_examples=examples(200))
def test_all_audio_leaves_in_order_once_and_in_time(
    steps: list[tuple[int, int]], initial: int, least: int, interval: int
) -> None:
    """Asked when audio comes and when its timer says so, it leaves nothing behind and nothing late.

    In time is: within the interval of its coming, unless the pacer holds a backlog back.
    """
    source = connected(Intervals(initial, least, interval))
    now, at = NOW, 0
    came: list[tuple[int, float]] = []  # up to which sample audio had come, and when
    last_flush = -math.inf  # what a backlog leaves behind when a small chunk of it is sent waits from then on

    def leave(flushes: list[Flush], now: float) -> None:
        nonlocal at, last_flush
        last_flush = now if flushes else last_flush
        for flush in flushes:
            chunk = flush.chunk
            assert chunk.start == at < chunk.end
            assert len(chunk.pcm) == 2 * (chunk.end - chunk.start)
            assert round(flush.audio_s, 9) == round((chunk.end - chunk.start) / RATE, 9)
            at = chunk.end

    def run_until(then: float) -> None:
        while (due := source.chunker.timer()) <= then:
            assert source.chunker.timer_fired(due)
            leave(list(source.chunker.due(due)), due)

    real_time = NOW
    for pause, ms in steps:
        real_time = now = max(real_time, now + pause / 1000)
        run_until(now)
        source.add(ms)
        came.append((source.timeline.received, now))
        leave(list(source.chunker.due(now)), now)
        waits_since = next((when for end, when in came if end > at), math.inf)
        if at < source.timeline.received:
            timer = source.chunker.timer()
            assert timer > now
            backlog_s = (source.timeline.received - at) / RATE
            if backlog_s < min(initial, least) / 1000 and backlog_s <= 1.0 and not _paced(source):
                assert timer <= max(waits_since, last_flush) + interval / 1000 + 1e-6
    source.chunker.input_over()
    leave(list(source.chunker.due(now)), now)
    run_until(now + 3600)
    assert at == source.timeline.received
    assert source.is_finished()


def _paced(source: Source) -> bool:
    return source.chunker._hold_until > -math.inf


@given(STEPS)
def test_holding_frames_back_makes_no_chunk_late_or_smaller(steps: list[tuple[int, int]]) -> None:
    """Two calls of the same frames, one of which holds back what it may: the same chunks at the same time."""

    def play(hold: bool) -> list[tuple[float, int]]:
        source, now, left = connected(), NOW, list[tuple[float, int]]()
        held, limit = list[int](), 0

        def ask(now: float) -> None:
            left.extend((now, flush.chunk.end) for flush in source.chunker.due(now))

        def release() -> None:
            nonlocal limit
            for ms in held:
                source.add(ms)
            held.clear()
            limit = 0

        def run_until(then: float) -> None:
            while (due := source.chunker.timer()) <= then:
                source.chunker.timer_fired(due)
                release()
                ask(due)

        for pause, ms in steps:
            now += pause / 1000
            run_until(now)
            held.append(ms)
            size = sum(held) * 2 * RATE // 1000
            if hold and not limit:
                limit = source.chunker.hold_limit(size, audio_format(RATE), now)
            if size >= limit:
                release()
                ask(now)
        run_until(now + 60)
        return left

    assert [(round(at, 6), end) for at, end in play(hold=True)] == [
        (round(at, 6), end) for at, end in play(hold=False)
    ]
