"""The results of one channel of one connection, applied to the call's timeline.

A final freezes a range. Where that range lies relative to the channel's cursor decides what it is worth:

=====================  ==========================================================================
begins within 20 ms    contiguous: it finalizes all up to its end (Deepgram's times are float32)
wholly below           a repeat: dropped; so is one that covers no audio sent, wherever it lies
begins later           the hole is committed as a gap first, so that a call can never wedge
straddles              the words from the cursor on count
=====================  ==========================================================================

Nothing is ever passed over that is in neither a final nor a gap, and no sequence of messages raises.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Any, NamedTuple

import msgspec

from trio_asr.core.clock import ClockMap
from trio_asr.core.description import Describer, Said
from trio_asr.core.giving_up import give_up, pass_void
from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire.codes import EventName, GapReason
from trio_asr.wire.messages import Results
from trio_asr.wire.transcripts import Item, Transcript

TOLERANCE_S = 0.02
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
    NO_CHANNEL = "no_channel"  # it names no channel of this connection
    NO_TIME = "no_time"  # it says no time, and is nothing without
    OTHER = "other"


class Publishing(NamedTuple):
    """What the results of one connection are published with: its number and id, and what is wanted."""

    connection: int
    request_id: str
    partials: bool = True
    words: bool = False


class Shared(NamedTuple):
    """What the channels of one connection share."""

    timeline: Timeline
    outbox: Outbox
    clock: ClockMap
    publishing: Publishing
    chunk_ends: deque[int]  # of the chunks that are not finalized yet

    def covered(self) -> int:
        """Drop the chunks that are finalized now, and return how many they are."""
        finalized, ends, covered = self.timeline.finalized, self.chunk_ends, 0
        while ends and ends[0] <= finalized:
            ends.popleft()
            covered += 1
        return covered


class ChannelResults:
    """The receiving side of one channel, number `channel` (from 0)."""

    def __init__(self, shared: Shared, channel: int, speech_reported: int) -> None:
        self.finals = 0  # those that moved the cursor: the connection is of use to this channel
        self.frozen = False  # whether there was a final at all, if only a repeat
        self.answered = shared.timeline.cursors[channel]  # up to which sample there was any result
        self.speech_reported = speech_reported  # the last start of speech, on this connection or before
        self._shared, self._channel = shared, channel
        self._timeline, self._outbox, self._clock, self._publishing, _ = shared
        self._channels = len(self._timeline.cursors)
        self._tolerance = round(TOLERANCE_S * self._clock.rate)
        self._describer = Describer(self._timeline, self._clock)
        self._utterance_open = False  # there were finals with words since the last end of an utterance
        self._closed_until = 0  # where the last utterance ended

    @property
    def _leg(self) -> dict[str, Any]:
        """The fields that name the channel, and who is on it: entries may say that later on."""
        return self._outbox.leg(self._channel, self._channels)

    @property
    def cursor(self) -> int:
        """Up to which sample this channel is finalized."""
        return self._timeline.cursor(self._channel)

    def result(self, message: Results) -> MessageKind:
        """Apply a result. Return what it turned out to be."""
        start, end = self._clock.span(message.start, message.duration)
        self.answered = max(self.answered, end)
        self.frozen |= message.is_final and end > start
        return self._final(message, start, end) if message.is_final else self._interim(message, start, end)

    def finish(self, end: int) -> None:
        """Finalize what is left up to `end` in good order, if it is less than the tolerance."""
        if 0 < end - self.cursor <= self._tolerance:
            self.finals += 1
            self.advance(end)

    def advance(self, end: int, transcript: Transcript | None = None) -> None:
        """Move the cursor, and queue that with what it publishes."""
        point = self._timeline.finalize(end, self._channel)
        self._outbox.put(
            Item(
                resume_point=point,
                transcript=transcript,
                chunks=self._shared.covered(),
                channel=self._channel,
            )
        )
        pass_void(self._timeline, self._outbox)

    def utterance_end(self, end: int) -> None:
        """Queue the end of an utterance that no final marked, unless the utterance is closed already."""
        if self._utterance_open and end > self._closed_until:
            event = {"event": EventName.UTTERANCE_END, "end_ms": self._timeline.ms(end)}
            self._outbox.put(Item(event=event | self._leg))
            self._closed_until = end
            self._utterance_open = False

    def speech_started(self, at: int) -> None:
        """Queue a start of speech, once: a lost connection has its audio replayed."""
        if self.speech_reported < 0 or at > self.speech_reported + SPEECH_APART_S * self._clock.rate:
            self.speech_reported = at
            event = {"event": EventName.SPEECH_STARTED, "start_ms": self._timeline.ms(at)}
            self._outbox.put(Item(event=event | {"connection": self._publishing.connection} | self._leg))

    def _final(self, message: Results, start: int, end: int) -> MessageKind:
        cursor = self.cursor
        if end <= max(cursor, start):  # nothing new, or nothing at all: no length, or beyond what was sent
            if message.speech_final and not message.best.transcript.strip():
                self.utterance_end(cursor)
                return MessageKind.EMPTY_FINAL
            return MessageKind.REPEAT
        cut = None
        if start > cursor + self._tolerance:
            give_up(self._timeline, self._outbox, start, GapReason.SKIPPED, self._channel)
        elif start < cursor - self._tolerance:
            cut = cursor
        begin = self.cursor
        said = self._describer.said(message, cut)
        transcript = self._transcript("final", said, begin, end, speech_final=message.speech_final)
        self.finals += 1
        self.advance(end, transcript)
        if transcript is not None:
            self._utterance_open = not message.speech_final
        else:
            self._found(said, begin, end)
            if message.speech_final:
                self.utterance_end(end)
        if message.speech_final:
            self._closed_until = end
        return MessageKind.EMPTY_FINAL if transcript is None else MessageKind.FINAL

    def _interim(self, message: Results, start: int, end: int) -> MessageKind:
        cursor = self.cursor
        if end <= cursor:
            return MessageKind.REPEAT
        said = self._describer.said(message, cursor if start < cursor - self._tolerance else None)
        transcript = self._transcript("partial", said, max(start, cursor), end, speech_final=False)
        if transcript is None:
            return MessageKind.EMPTY_PARTIAL
        if self._publishing.partials:
            self._outbox.put_partial(transcript)
        return MessageKind.PARTIAL

    def _found(self, said: Said, start: int, end: int) -> None:
        """Queue search hits where no text was recognised that could carry them."""
        if (hits := said.more.get("search")) is not None:
            event = {
                "event": EventName.SEARCH,
                "start_ms": self._timeline.ms(start),
                "end_ms": self._timeline.ms(end),
                "search": hits,
                "connection": self._publishing.connection,
            }
            self._outbox.put(Item(event=event | self._leg))

    def _transcript(
        self, kind: str, said: Said, start: int, end: int, *, speech_final: bool
    ) -> Transcript | None:
        if not said.text:
            return None
        outbox, publishing = self._outbox, self._publishing
        # Who said what, and in which language, is paid for: nothing but the words can say it of several.
        shown = publishing.words or (said.mixed and kind == "final")
        return Transcript(
            interaction_id=outbox.interaction_id,
            tenant_id=outbox.tenant_id,
            seq=0,
            type=kind,
            text=said.text,
            confidence=DEFAULT_CONFIDENCE if said.confidence is None else said.confidence,
            timestamp_ms=0,
            start_ms=self._timeline.ms(start),
            end_ms=self._timeline.ms(end),
            speech_final=speech_final,
            connection=publishing.connection,
            request_id=publishing.request_id,
            words=self._describer.words(said.words) if shown else msgspec.UNSET,
            trace_id=msgspec.UNSET if outbox.trace_id is None else outbox.trace_id,
            **self._leg,
            **said.more,
        )
