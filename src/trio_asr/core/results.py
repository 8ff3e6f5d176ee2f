"""The results of one connection, applied to the call's timeline.

A final freezes a range. Where that range lies relative to `finalized` decides what it is worth:

=====================  ==========================================================================
begins within 20 ms    contiguous: it finalizes all up to its end (Deepgram's times are float32)
wholly below           a repeat: dropped; so is one that covers no audio sent, wherever it lies
begins later           the hole is committed as a gap first, so that a call can never wedge
straddles              the words from `finalized` on count
=====================  ==========================================================================

Nothing is ever passed over that is in neither a final nor a gap, and no sequence of messages raises.
"""

from __future__ import annotations

import enum
from collections import deque

import msgspec

from trio_asr.core.clock import ClockMap
from trio_asr.core.description import Describer, Said
from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire.codes import EventName, GapReason
from trio_asr.wire.messages import Message, Metadata, Results, SpeechStarted, UtteranceEnd
from trio_asr.wire.transcripts import Item, Transcript

TOLERANCE_S = 0.02
MAX_UNCOVERED = 1000  # chunks: minutes of audio
SPEECH_APART_S = 0.1  # the least between two starts of speech that are reported
DEFAULT_CONFIDENCE = 0.9  # what the old worker publishes when the provider gives none


class MessageKind(enum.Enum):
    """What a message turned out to be, for the counters."""

    FINAL = "final"
    EMPTY_FINAL = "empty_final"
    PARTIAL = "partial"
    EMPTY_PARTIAL = "empty_partial"
    REPEAT = "repeat"
    METADATA = "metadata"
    OTHER = "other"


class ResultHandler:
    """The receiving side of one connection of one call."""

    def __init__(
        self,
        timeline: Timeline,
        outbox: Outbox,
        *,
        connection: int,
        request_id: str,
        partials: bool = True,
        words: bool = False,
        speech_reported: int = -1,
    ) -> None:
        self.timeline = timeline
        self.clock = ClockMap(timeline.rate())
        self.answered = timeline.finalized  # the timeline sample up to which there was any result
        self.metadata: Metadata | None = None
        self.finals = 0  # those that moved `finalized`: the connection is of use
        self.speech_reported = speech_reported  # the last start of speech, on this connection or before
        # Ends of the chunks that no final has covered yet. Those that none ever will drop out.
        self.chunk_ends: deque[int] = deque(maxlen=MAX_UNCOVERED)
        self.outbox = outbox
        self._connection = connection
        self._request_id = request_id
        self._partials, self._with_words = partials, words
        self._tolerance = round(TOLERANCE_S * self.clock.rate)
        self._describer = Describer(timeline, self.clock)
        self._utterance_open = False  # there were finals with words since the last end of an utterance
        self._closed_until = 0  # where the last utterance ended

    @property
    def progressed(self) -> bool:
        """Whether the connection moved `finalized`."""
        return self.finals > 0

    def handle(self, message: Message) -> MessageKind:
        """Apply one message. Return what it turned out to be."""
        if isinstance(message, Results):
            start, end = self.clock.span(message.start, message.duration)
            self.answered = max(self.answered, end)
            apply = self._final if message.is_final else self._interim
            return apply(message, start, end)
        if isinstance(message, Metadata):
            self.metadata = message
            return MessageKind.METADATA
        if isinstance(message, UtteranceEnd) and message.last_word_end >= 0:
            self._utterance_end(self.clock.sample(message.last_word_end))
        elif isinstance(message, SpeechStarted) and message.timestamp is not None:
            self._speech_started(self.clock.sample(message.timestamp))
        return MessageKind.OTHER

    def finish(self) -> None:
        """Finalize what is left after Metadata and close code 1000, if it is less than the tolerance."""
        # Audio that was taken to be sent, but came too late for this connection, does not count.
        end = min(self.clock.end, self.timeline.sent)
        if self.clock.sent and 0 < end - self.timeline.finalized <= self._tolerance:
            self._advance(end, None)

    def _final(self, message: Results, start: int, end: int) -> MessageKind:
        cursor = self.timeline.finalized
        if end <= max(cursor, start):  # nothing new, or nothing at all: no length, or beyond what was sent
            if message.speech_final and not message.best.transcript.strip():
                self._utterance_end(cursor)
                return MessageKind.EMPTY_FINAL
            return MessageKind.REPEAT
        cut = None
        if start > cursor + self._tolerance:
            self.gap(start, GapReason.SKIPPED)
        elif start < cursor - self._tolerance:
            cut = cursor
        begin = self.timeline.finalized
        said = self._describer.said(message, cut)
        transcript = self._transcript("final", said, begin, end, speech_final=message.speech_final)
        self._advance(end, transcript)
        if transcript is not None:
            self._utterance_open = not message.speech_final
        else:
            self._found(said, begin, end)
            if message.speech_final:
                self._utterance_end(end)
        if message.speech_final:
            self._closed_until = end
        return MessageKind.EMPTY_FINAL if transcript is None else MessageKind.FINAL

    def _interim(self, message: Results, start: int, end: int) -> MessageKind:
        cursor = self.timeline.finalized
        if end <= cursor:
            return MessageKind.REPEAT
        said = self._describer.said(message, cursor if start < cursor - self._tolerance else None)
        transcript = self._transcript("partial", said, max(start, cursor), end, speech_final=False)
        if transcript is None:
            return MessageKind.EMPTY_PARTIAL
        if self._partials:
            self.outbox.put_partial(transcript)
        return MessageKind.PARTIAL

    def gap(self, end: int, reason: GapReason) -> None:
        """Commit the audio from `finalized` to `end` as a gap."""
        give_up(self.timeline, self.outbox, end, reason)

    def _advance(self, end: int, transcript: Transcript | None) -> None:
        point = self.timeline.finalize(end)
        covered = 0
        while self.chunk_ends and self.chunk_ends[0] <= end:
            self.chunk_ends.popleft()
            covered += 1
        self.finals += 1
        self.outbox.put(Item(resume_point=point, transcript=transcript, chunks=covered))

    def _utterance_end(self, end: int) -> None:
        """Queue the end of an utterance that no final marked, unless the utterance is closed already."""
        if self._utterance_open and end > self._closed_until:
            self.outbox.put(Item(event={"event": EventName.UTTERANCE_END, "end_ms": self.timeline.ms(end)}))
            self._closed_until = end
            self._utterance_open = False

    def _speech_started(self, at: int) -> None:
        """Queue a start of speech, once: a lost connection has its audio replayed."""
        if self.speech_reported < 0 or at > self.speech_reported + SPEECH_APART_S * self.clock.rate:
            self.speech_reported = at
            event = {"event": EventName.SPEECH_STARTED, "start_ms": self.timeline.ms(at)}
            self.outbox.put(Item(event=event | {"connection": self._connection}))

    def _found(self, said: Said, start: int, end: int) -> None:
        """Queue search hits where no text was recognised that could carry them."""
        if (hits := said.more.get("search")) is not None:
            event = {
                "event": EventName.SEARCH,
                "start_ms": self.timeline.ms(start),
                "end_ms": self.timeline.ms(end),
            }
            self.outbox.put(Item(event=event | {"search": hits, "connection": self._connection}))

    def _transcript(
        self, kind: str, said: Said, start: int, end: int, *, speech_final: bool
    ) -> Transcript | None:
        if not said.text:
            return None
        outbox = self.outbox
        return Transcript(
            interaction_id=outbox.interaction_id,
            tenant_id=outbox.tenant_id,
            seq=0,
            type=kind,
            text=said.text,
            confidence=DEFAULT_CONFIDENCE if said.confidence is None else said.confidence,
            timestamp_ms=0,
            start_ms=self.timeline.ms(start),
            end_ms=self.timeline.ms(end),
            speech_final=speech_final,
            connection=self._connection,
            request_id=self._request_id,
            words=[self._describer.word(word) for word in said.words] if self._with_words else msgspec.UNSET,
            trace_id=msgspec.UNSET if outbox.trace_id is None else outbox.trace_id,
            **said.more,
        )


def give_up(timeline: Timeline, outbox: Outbox, end: int, reason: GapReason) -> float:
    """Commit the audio from `finalized` to `end` as a gap. Return its seconds."""
    start = timeline.finalized
    seconds = timeline.seconds(start, end)
    event = {
        "event": EventName.GAP,
        "reason": reason,
        "start_ms": timeline.ms(start),
        "end_ms": timeline.ms(end),
        "samples": end - start,
    }
    outbox.put(Item(resume_point=timeline.finalize(end), event=event))
    return seconds
