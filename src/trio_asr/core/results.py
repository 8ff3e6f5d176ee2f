"""The results of one connection: each goes to the channel that it is of.

Of a mono connection all results are of its one channel, whatever they say. With several channels Deepgram
names one in each message (guide "Multichannel"); a message that names none is of no use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from trio_asr.core.channel_results import ChannelResults, MessageKind, Publishing, Shared
from trio_asr.core.clock import ClockMap
from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire.messages import Message, Metadata, Results, SpeechStarted, UtteranceEnd
from trio_asr.wire.numbers import whole

MAX_UNCOVERED = 1000  # chunks: minutes of audio
# A channel that is silent, and that another channel's finals have passed by so much, has no result to wait
# for.
SILENT_S = 5.0


class ResultHandler:
    """The receiving side of one connection of one call."""

    def __init__(
        self, timeline: Timeline, outbox: Outbox, publishing: Publishing, speech_reported: Sequence[int] = ()
    ) -> None:
        """Take results for audio of the format at `sent`; `speech_reported` as of earlier connections."""
        self.timeline, self.outbox = timeline, outbox
        self.format = timeline.format()
        self.clock = ClockMap(self.format.rate)
        self._answered = timeline.finalized  # the timeline sample up to which there was any result
        self.metadata: Metadata | None = None
        # Ends of the chunks that no final has covered yet. Those that none ever will drop out.
        self.chunk_ends: deque[int] = deque(maxlen=MAX_UNCOVERED)
        shared = Shared(timeline, outbox, self.clock, publishing, self.chunk_ends)
        channels = self.format.channels
        before = speech_reported if len(speech_reported) == channels else [-1] * channels
        self.channels = [ChannelResults(shared, channel, before[channel]) for channel in range(channels)]

    @property
    def finals(self) -> int:
        """How many finals moved a cursor."""
        return sum(channel.finals for channel in self.channels)

    @property
    def answered(self) -> int:
        """Up to which sample of the timeline there was any result, or none was needed: a void has none."""
        return max(self._answered, self.timeline.finalized)

    @property
    def progressed(self) -> bool:
        """Whether the connection moved a cursor."""
        return self.finals > 0

    @property
    def speech_reported(self) -> list[int]:
        """The last start of speech on each channel, as a sample of the timeline (-1: none)."""
        return [channel.speech_reported for channel in self.channels]

    def handle(self, message: Message) -> MessageKind:
        """Apply one message. Return what it turned out to be."""
        if isinstance(message, Results):
            return self._result(message)
        if isinstance(message, Metadata):
            self.metadata = message
            return MessageKind.METADATA
        if not isinstance(message, UtteranceEnd | SpeechStarted):
            return MessageKind.OTHER
        channel = self._of(message.channel)
        if channel is None:
            return MessageKind.NO_CHANNEL
        if isinstance(message, UtteranceEnd):
            if message.last_word_end is None:
                channel.utterance_end(channel.cursor)
            elif message.last_word_end >= 0:
                channel.utterance_end(self.clock.sample(message.last_word_end))
        elif message.timestamp is None:
            return MessageKind.NO_TIME
        else:
            channel.speech_started(self.clock.sample(message.timestamp))
        return MessageKind.OTHER

    def finish(self) -> None:
        """Finalize what is left after Metadata and close code 1000, if it is less than the tolerance."""
        # Audio that was taken to be sent, but came too late for this connection, does not count.
        end = min(self.clock.end, self.timeline.sent)
        if self.clock.sent:
            for channel in self.channels:
                channel.finish(end)

    def _of(self, index: Sequence[object]) -> ChannelResults | None:
        """Return the channel that a message is of."""
        if len(self.channels) == 1:
            return self.channels[0]
        number = whole(index[0]) if index else None
        return self.channels[number] if number is not None and 0 <= number < len(self.channels) else None

    def _result(self, message: Results) -> MessageKind:
        channel = self._of(message.channel_index)
        if channel is None:
            return MessageKind.NO_CHANNEL
        before = channel.finals
        kind = channel.result(message)
        self._answered = max(self._answered, channel.answered)
        if len(self.channels) > 1 and channel.finals != before:
            self._pass_silence(channel.cursor)
        return kind

    def _pass_silence(self, ahead: int) -> None:
        """Take silence for answered on channels that this one has left far behind."""
        limit = ahead - round(SILENT_S * self.clock.rate)
        for number, channel in enumerate(self.channels):
            if channel.cursor < limit:
                end = self.timeline.silent_until(number, limit)
                if end > channel.cursor:
                    channel.advance(end)
