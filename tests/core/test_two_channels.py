"""A call of two channels against the model of it: `model_harness` has the rules; here are those of several.

Some of its audio has one channel, and some of it is silent on one.
"""

from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.core.model_harness import OFF, PARTS, CallMachine
from tests.examples import examples

from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import GapReason


class Machine(CallMachine):
    """Samples of 20 and 10 ms: few enough to say each of them where a channel lags by several seconds."""

    formats: ClassVar[list[Format]] = [
        audio_format(50, channels=2),
        audio_format(100, channels=2),
        audio_format(50),
        audio_format(100),
    ]
    most_s = 20.0

    @precondition(lambda self: not self.ending)
    @rule(silent=st.sampled_from([0, 1, None]), seconds=st.integers(1, 6))
    def somebody_talks(self, silent: int | None, seconds: int) -> None:
        self.producer.frame(self.producer.format.bytes_per_s * seconds, 0, silent)
        self.tell()

    @precondition(lambda self: not self.ending)
    @rule(silent=st.sampled_from([0, 1, None]), seconds=st.integers(1, 6))
    def audio_flows(self, silent: int | None, seconds: int) -> None:
        """It is read and sent as it comes."""
        self.somebody_talks(silent, seconds)
        while self.read < len(self.producer.stream):
            self.some_frames_are_read(12)
        if self.call is not None and self.line is None and self.call.timeline.unfinalized:
            self.a_connection_opens()
        if self.line is not None:
            for _ in range(3):
                self.a_chunk_is_sent(1000)

    @precondition(lambda self: self.line)
    @rule(results=st.lists(st.tuples(st.integers(0, 1), PARTS, st.one_of(OFF, st.none())), max_size=6))
    def results_come(self, results: list[tuple[int, float, int | None]]) -> None:
        """Finals, and interims in between."""
        for channel, part, off in results:
            if off is None:
                self.an_interim_comes(channel, part)
            else:
                self.a_final_comes(channel, part, off, silent=False, speech_final=True)

    @precondition(lambda self: self.call)
    @rule(fate=st.sampled_from(["answered", "lost"]))
    def the_worker_is_killed_after_a_commit(self, fate: str) -> None:
        self.a_commit_is_made(fate)
        self.the_worker_is_killed()

    @precondition(lambda self: self.line)
    @rule(channel=st.integers(0, 1), part=PARTS)
    def a_channel_is_given_up(self, channel: int, part: float) -> None:
        """As far as it was sent, or less far, as that of a channel that does not answer."""
        assert self.call is not None
        assert self.line is not None
        handler = self.line.handler
        if channel < len(handler.channels) and handler.clock.sent:
            cursor = handler.channels[channel].cursor
            until = cursor + round(part * max(0, handler.clock.end - cursor))
            self.call.give_up_until(until, GapReason.NO_RESULT, channel)


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=examples(300), stateful_step_count=50, deadline=None)
