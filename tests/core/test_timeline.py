"""The timeline against a model of it: any interleaving, and a restart from any place."""

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.examples import examples

from trio_asr.core.timeline import Timeline
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.resume_point import ResumePoint


class Appended(NamedTuple):
    """One entry as it was appended."""

    entry: str
    pcm: bytes
    rate: int
    silence: int


class Model:
    """All the bytes of a call, and the rate of each sample, kept for ever."""

    def __init__(self) -> None:
        self.entries: list[Appended] = []
        self.audio = bytearray()
        self.rate = 0
        self.rates: list[int] = []

    def append(self, one: Appended) -> None:
        """Take an entry: where the rate changes, half a sample is completed by a zero.

        An entry without audio says nothing about the rate.
        """
        before = self.rate
        if one.pcm or one.silence:
            self.rate = one.rate
        if before not in (0, self.rate) and len(self.audio) % 2:
            self.audio.append(0)
        self._extend(before)
        self.entries.append(one)
        self.audio += bytes(one.silence) + one.pcm
        self._extend(one.rate)

    def _extend(self, rate: int) -> None:
        self.rates += [rate] * (len(self.audio) // 2 - len(self.rates))

    def us(self, sample: int) -> float:
        """The time of a sample: the sum of the durations of those before it."""
        return sum(1_000_000 * len(list(run)) / rate for rate, run in itertools.groupby(self.rates[:sample]))


def replayed(place: ResumePoint, entries: list[Appended]) -> Timeline:
    """A new timeline that read the same entries from `place` on."""
    timeline = Timeline(place)
    begun = False
    for one in entries:
        if not begun and one.entry != place.entry:
            continue
        offset, silence = (0, one.silence) if begun else (place.offset, 0)
        begun = True
        timeline.append(one.entry, one.pcm, audio_format(one.rate), silence=silence, offset=offset)
    return timeline


def drain(timeline: Timeline, limit: int = 10**9) -> list[tuple[int, int, bytes, int]]:
    """Take all that is there, as (start, end, pcm, rate)."""
    taken = list[tuple[int, int, bytes, int]]()
    while True:
        rate = timeline.format().rate
        chunk = timeline.take(limit)
        if chunk is None:
            return taken
        taken.append((chunk.start, chunk.end, chunk.pcm, rate))


class Machine(RuleBasedStateMachine):
    """Frames, flushes, finals, drops and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.timeline = Timeline(ResumePoint())
        self.places = [ResumePoint()]
        self.count = itertools.count(1)

    @rule(
        size=st.integers(0, 41), rate=st.sampled_from([8000, 8000, 8000, 16_000]), silence=st.integers(0, 9)
    )
    def frame(self, size: int, rate: int, silence: int) -> None:
        n = next(self.count)
        same = self.model.rate == rate
        pcm = bytes((n * 41 + i) % 255 + 1 for i in range(size))
        one = Appended(f"{n}-0", pcm, rate, silence if same else 0)
        self.model.append(one)
        self.timeline.append(one.entry, one.pcm, audio_format(one.rate), silence=one.silence)

    @rule(limit=st.integers(0, 30))
    def flush(self, limit: int) -> None:
        before = self.timeline.sent
        unsent = self.timeline.unsent(self.timeline.format())
        chunk = self.timeline.take(limit)
        if chunk is None:
            assert min(limit, unsent) == 0
            return
        assert (chunk.start, chunk.end) == (before, before + min(limit, unsent))
        assert self.timeline.sent == chunk.end
        assert chunk.pcm == self.model.audio[2 * chunk.start : 2 * chunk.end]
        assert len({self.model.rates[sample] for sample in range(chunk.start, chunk.end)}) == 1

    @rule(data=st.data())
    def finalize(self, data: st.DataObject) -> None:
        timeline = self.timeline
        sample = data.draw(st.integers(timeline.finalized, timeline.received))
        place = timeline.resume_point(sample)
        assert timeline.finalize(sample) == place
        assert timeline.resume_point(sample) == place
        assert timeline.finalized == sample
        self.places.append(place)

    @rule()
    def drop(self) -> None:
        self.timeline.rewind()
        assert self.timeline.sent == self.timeline.finalized

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """From the last place, or from any earlier one (a commit that was not made)."""
        at = data.draw(st.integers(max(0, len(self.places) - 4), len(self.places) - 1))
        del self.places[at + 1 :]
        received = self.timeline.received
        if self.places[-1].entry == ResumePoint().entry:
            self.timeline = Timeline(ResumePoint())
            for one in self.model.entries:
                self.timeline.append(one.entry, one.pcm, audio_format(one.rate), silence=one.silence)
        else:
            self.timeline = replayed(self.places[-1], self.model.entries)
        assert self.timeline.received == received

    @rule(by=st.integers(1, 5))
    def a_cursor_never_moves_back_or_past_what_is_there(self, by: int) -> None:
        for sample in (self.timeline.finalized - by, self.timeline.received + by):
            with pytest.raises(ValueError, match="cannot finalize"):
                self.timeline.finalize(sample)

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def times_are_sums_of_durations(self, data: st.DataObject) -> None:
        timeline = self.timeline
        samples = data.draw(
            st.lists(st.integers(timeline.finalized, timeline.received), min_size=2, max_size=9).map(sorted)
        )
        times = [timeline.ms(sample) for sample in samples]
        assert times == sorted(times)
        for sample, ms in zip(samples, times, strict=True):
            assert abs(ms - self.model.us(sample) / 1000) <= 0.51 + 0.001 * len(self.model.entries)
        span_s = (self.model.us(samples[-1]) - self.model.us(samples[0])) / 1e6
        assert abs(timeline.seconds(samples[0], samples[-1]) - span_s) < 1e-4

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def any_place_restores_exactly_the_same_audio(self, data: st.DataObject) -> None:
        timeline = self.timeline
        sample = data.draw(st.integers(timeline.finalized, timeline.received))
        other = replayed(timeline.resume_point(sample), self.model.entries)
        assert other.finalized == other.sent == sample
        assert other.received == timeline.received
        assert (other.ms(sample), other.ms(other.received)) == (
            timeline.ms(sample),
            timeline.ms(timeline.received),
        )
        sent = b"".join(pcm for _, _, pcm, _ in drain(other))
        assert sent == self.model.audio[2 * sample : 2 * timeline.received]

    @invariant()
    def cursors_are_in_order(self) -> None:
        timeline = self.timeline
        assert timeline.finalized <= timeline.sent <= timeline.received
        assert timeline.received == len(self.model.audio) // 2
        assert timeline.unfinalized == timeline.received - timeline.finalized

    @invariant()
    def what_is_finalized_is_forgotten(self) -> None:
        timeline = self.timeline
        assert timeline.held_bytes == len(self.model.audio) - 2 * timeline.finalized
        # All finalized, there is the entry that ended there, and one of no length that came after it.
        assert len(timeline._sources) <= 2 * timeline.held_bytes + 2


TestTimeline = Machine.TestCase
TestTimeline.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)

frames = st.lists(
    st.tuples(st.binary(max_size=30), st.sampled_from([8000, 8000, 16_000])), min_size=1, max_size=20
)


@given(frames, st.integers(1, 50))
def test_what_is_taken_is_all_that_was_received_rate_by_rate(
    appended: list[tuple[bytes, int]], limit: int
) -> None:
    timeline, model = Timeline(ResumePoint()), Model()
    for n, (pcm, rate) in enumerate(appended, 1):
        timeline.append(f"{n}-0", pcm, audio_format(rate))
        model.append(Appended(f"{n}-0", pcm, rate, 0))
    taken = drain(timeline, limit)
    assert b"".join(pcm for _, _, pcm, _ in taken) == model.audio[: 2 * timeline.received]
    assert all(end - start <= limit and len(pcm) == 2 * (end - start) for start, end, pcm, _ in taken)
    assert [rate for start, end, _, rate in taken for _ in range(start, end)] == model.rates[
        : timeline.received
    ]
    assert timeline.take(limit) is None


def test_half_a_sample_is_not_sent_and_shifts_nothing() -> None:
    """Requirements 12: frames of 577 bytes."""
    timeline = Timeline(ResumePoint())
    sent = b""
    for n in range(20):
        timeline.append(f"{n + 1}-0", bytes([n + 1]) * 577, audio_format(8000))
        chunk = timeline.take(10_000)
        assert chunk is not None
        sent += chunk.pcm
    assert sent == b"".join(bytes([n + 1]) * 577 for n in range(20))
    assert timeline.received == 20 * 577 // 2


def test_a_connection_of_another_rate_is_sent_nothing() -> None:
    slow, fast, timeline = audio_format(8000), audio_format(16_000), Timeline(ResumePoint())
    assert timeline.unsent(slow) == 0
    timeline.append("1-0", bytes(100), audio_format(8000))
    timeline.append("2-0", bytes(60), audio_format(16_000))
    assert (timeline.format(), timeline.unsent(slow), timeline.unsent(fast)) == (slow, 50, 0)
    timeline.take(50)
    assert (timeline.format(), timeline.unsent(slow), timeline.unsent(fast)) == (fast, 0, 30)


def test_a_time_just_behind_the_cursor_is_of_the_rate_it_was_heard_at() -> None:
    """Words and ends of utterances are told of after their audio was finalized."""
    timeline = Timeline(ResumePoint())
    timeline.append("1-0", bytes(2 * 80_000), audio_format(8000))
    timeline.append("2-0", bytes(2 * 16_000), audio_format(16_000))
    timeline.finalize(80_000)
    assert timeline.ms(76_000) == 9500
    assert timeline.ms(88_000) == 10_500
    timeline.finalize(88_000)
    assert timeline.ms(84_000) == 10_250


def test_ten_hours_hold_nothing_but_what_is_open() -> None:
    timeline = Timeline(ResumePoint())
    for n in range(36_000):
        timeline.append(f"{n + 1}-0", bytes(16_000), audio_format(8000 if n // 100 % 2 else 16_000))
        timeline.take(10**9)
        timeline.finalize(timeline.received)
    assert timeline.held_bytes == 0
    assert len(timeline.segments) <= 2
    assert len(timeline._sources) == 1
    assert timeline.ms(timeline.received) == 18_000 * 1000 + 18_000 * 500


def test_audio_before_any_frame_has_no_rate_and_no_time() -> None:
    timeline = Timeline(ResumePoint())
    assert (timeline.format().rate, timeline.ms(0), timeline.seconds(0, 5), timeline.take(9)) == (
        0,
        0,
        0.0,
        None,
    )
    assert timeline.resume_point(0) == ResumePoint()


def test_hours_of_empty_frames_hold_nothing_and_move_the_place() -> None:
    timeline = Timeline(ResumePoint())
    timeline.append("1-0", bytes(320), audio_format(8000))
    for n in range(2, 10_000):
        timeline.append(f"{n}-0", b"", audio_format(8000))
    assert len(timeline._sources) == 3
    assert timeline.resume_point(160).entry == "9999-0"


# -- several channels ----------------------------------------------------------------------------------------

TWO, LAW = audio_format(8000, channels=2), audio_format(16_000, "alaw", 2)


def of_two_channels(*leads: int) -> Timeline:
    """Ten seconds, of which each channel has so many samples finalized."""
    timeline = Timeline(ResumePoint())
    timeline.append("1-0", bytes(TWO.bytes_per_s * 10), TWO)
    for channel, sample in enumerate(leads):
        timeline.finalize(sample, channel)
    return timeline


def test_finalized_is_the_cursor_of_the_channel_furthest_behind() -> None:
    timeline = of_two_channels()
    assert (timeline.cursors, timeline.finalized) == ([0, 0], 0)
    point = timeline.finalize(16_000, 0)
    assert (timeline.cursors, timeline.finalized, timeline.sent) == ([16_000, 0], 0, 0)
    assert timeline.held_bytes == TWO.bytes_per_s * 10
    assert point == ResumePoint(0, "1-0", 0, 0, 8000, channels=2, encoding="linear16", lead=(16_000, 0))
    point = timeline.finalize(8000, 1)
    assert (timeline.cursors, timeline.finalized, timeline.sent) == ([16_000, 8000], 8000, 8000)
    assert timeline.held_bytes == TWO.bytes_per_s * 9
    assert point.lead == (8000, 0)
    point = timeline.finalize(20_000, 1)
    assert (point.finalized, point.offset, point.lead) == (16_000, 64_000, (0, 4000))
    assert timeline.unfinalized_s == 8.0
    assert [timeline.cursor(channel) for channel in (0, 1, 2)] == [16_000, 20_000, 16_000]


def test_a_cursor_of_a_channel_never_moves_back_or_past_what_is_there() -> None:
    timeline = of_two_channels(16_000, 8000)
    for sample, channel in ((15_999, 0), (7999, 1), (80_001, 0), (80_001, 1), (7999, None)):
        with pytest.raises(ValueError, match="cannot finalize"):
            timeline.finalize(sample, channel)
    assert timeline.cursors == [16_000, 8000]
    timeline.finalize(12_000)  # all that are behind
    assert timeline.cursors == [16_000, 12_000]


def test_a_restart_has_the_lead_of_each_channel() -> None:
    point = of_two_channels(16_000, 8000).finalize(24_000, 1)
    again = Timeline(point)
    assert (again.cursors, again.finalized, again.received) == ([16_000, 24_000], 16_000, 16_000)
    again.append("1-0", bytes(TWO.bytes_per_s * 10), TWO, offset=point.offset)
    assert again.received == 80_000
    assert again.resume_point(16_000) == point


@pytest.mark.parametrize("fmt", [audio_format(8000), LAW], ids=["one channel", "two channels"])
def test_no_lead_crosses_a_border(fmt: Format) -> None:
    """Not even where the stream has lost what a channel was ahead by."""
    timeline = of_two_channels(80_000, 8000)
    timeline.append("2-0", bytes(fmt.bytes_per_s), fmt)
    assert timeline.cursors == [80_000, 8000]
    point = timeline.finalize(80_000, 1)
    assert timeline.cursors == [80_000] * fmt.channels
    assert (point.format, point.cursors) == (fmt, timeline.cursors)

    lost = Timeline(of_two_channels(16_000, 8000).resume_point(8000))
    lost.append("2-0", bytes(fmt.bytes_per_s), fmt)
    assert (lost.finalized, lost.cursors) == (8000, [8000] * fmt.channels)

    lost = Timeline(of_two_channels(16_000, 8000).resume_point(8000))
    lost.append("2-0", bytes(TWO.width * 100), TWO)
    lost.append("3-0", bytes(fmt.bytes_per_s), fmt)
    assert lost.cursors == [16_000, 8000]
    lost.finalize(8100, 1)
    assert lost.cursors == [8100] * fmt.channels


def test_a_format_that_only_a_frame_without_audio_had_is_no_border() -> None:
    """The audio goes on, on the same connection."""
    timeline = of_two_channels(0, 0)
    timeline.append("2-0", b"", LAW)
    timeline.append("3-0", bytes(TWO.bytes_per_s), TWO)
    timeline.finalize(84_000, 0)
    timeline.finalize(80_000, 1)
    assert timeline.cursors == [84_000, 80_000]
    timeline.finalize(82_000, 1)
    assert timeline.cursors == [84_000, 82_000]


@pytest.mark.parametrize("fmt", [TWO, LAW, audio_format(8000, "mulaw", 2), audio_format(8000, "mulaw")])
def test_part_of_a_sample_is_completed_by_the_codecs_silence(fmt: Format) -> None:
    timeline, audio = Timeline(ResumePoint()), bytes(range(1, 42))
    timeline.append("1-0", audio, fmt)
    timeline.append("2-0", bytes(8), audio_format(8000))
    chunk = timeline.take(1000)
    assert chunk is not None
    rest = -len(audio) % fmt.width
    assert chunk.pcm == audio + (fmt.silence[-rest:] if rest else b"")


def test_silence_is_looked_for_from_the_cursor_of_a_channel_on() -> None:
    timeline = Timeline(ResumePoint())
    timeline.append("1-0", b"\1\1\0\0" * 20_000 + b"\0\0\1\1" * 20_000, TWO)
    assert [timeline.silent_until(channel, 40_000) for channel in (0, 1)] == [0, 20_000]
    assert timeline.silent_until(1, 12_345) == 12_345
    timeline.finalize(25_000, 0)
    assert [timeline.silent_until(channel, 39_999) for channel in (0, 1)] == [39_999, 20_000]
    assert timeline.silent_until(0, 25_000) == 25_000
