"""Deepgram's messages, made from sample positions. Pure.

Times are computed as Deepgram's are, as 32-bit sums of 32-bit numbers. So a window's end and the next one's
start may differ in the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from trio_asr.simulator.engines import Job, Word, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.wire import (
    Alternative,
    Channel,
    Message,
    Metadata,
    ModelInfo,
    Place,
    ResultMetadata,
    Results,
    SpeechStarted,
    UtteranceEnd,
    WordOut,
    float32,
    looks_float32,
)

_MODEL_UUID: Final = "5a1d7e50-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class About:
    """What all messages of a stream have in common. `created` is an ISO 8601 time in UTC."""

    request_id: str
    created: str
    model: ModelInfo
    extra: Mapping[str, str] = field(default_factory=dict[str, str])
    model_uuid: str = _MODEL_UUID

    @property
    def metadata(self) -> ResultMetadata:
        """The `metadata` of a result."""
        return ResultMetadata(self.request_id, self.model, self.model_uuid, dict(self.extra) or None)


class Utterance:
    """A renderer of one channel's drafts that keeps track of words for UtteranceEnd."""

    def __init__(self, query: ListenQuery, place: Place) -> None:
        self._place = place
        self._rate = query.sample_rate
        self._query = query
        self._gap = None if query.utterance_end_ms is None else query.utterance_end_ms * self._rate // 1000
        self._last_word_end: int | None = None  # of an utterance whose end is not announced yet
        self._announced = 0  # words up to here belong to an utterance whose end was announced

    def tell(self, draft: Draft, words: Words, about: About) -> list[Message]:
        """Return the Results, and an UtteranceEnd if the gap after the last word has become long enough."""
        messages: list[Message] = [self._results(draft, words, about)]
        if self._gap is None:
            return messages
        if words and words[-1].end > self._announced:
            self._last_word_end = words[-1].end
        if self._last_word_end is not None and draft.end - self._last_word_end >= self._gap:
            messages.append(UtteranceEnd(self._place, looks_float32(self._last_word_end / self._rate)))
            self._announced, self._last_word_end = self._last_word_end, None
        return messages

    def _results(self, draft: Draft, words: Words, about: About) -> Results:
        start, end = float32(draft.start / self._rate), float32(draft.end / self._rate)
        said = [self._word(word, draft.start, start) for word in words]
        shown = [word.punctuated_word or word.word for word in said]
        confidence = sum(word.confidence for word in said) / len(said) if said else 0.0
        return Results(
            channel_index=self._place,
            duration=looks_float32(end - start),
            start=looks_float32(start),
            is_final=draft.final,
            speech_final=draft.pause,
            channel=Channel([Alternative(" ".join(shown), looks_float32(confidence), said)]),
            metadata=about.metadata,
            from_finalize=draft.flushed,
        )

    def _word(self, word: Word, origin: int, start: float) -> WordOut:
        """Return a word; its times, relative to its segment's start, are added to that in 32 bits."""
        return WordOut(
            word=word.text,
            start=looks_float32(start + float32((word.start - origin) / self._rate)),
            end=looks_float32(start + float32((word.end - origin) / self._rate)),
            confidence=looks_float32(word.confidence),
            punctuated_word=(word.punctuated or word.text) if self._query.punctuate else None,
            speaker=0 if self._query.diarize else None,
        )


@dataclass(slots=True)
class Draft:
    """A result of `utterance` from sample `start` to `end`; its words are a job until they are found."""

    utterance: Utterance
    start: int
    end: int
    words: Words | Job
    final: bool = False
    pause: bool = False
    flushed: bool = False

    def messages(self, about: About) -> list[Message]:
        """Return what is to be said of it once its words are found."""
        assert not callable(self.words)
        return self.utterance.tell(self, self.words, about)


def speech_started(place: Place, onset: int, rate: int) -> SpeechStarted:
    """Return the message for speech that began at sample `onset`."""
    return SpeechStarted(place, looks_float32(onset / rate))


def metadata(about: About, *, sha256: str, total: int, rate: int, channels: int) -> Metadata:
    """Return the last message, after `total` samples; without any samples it names no models."""
    return Metadata(
        transaction_key="deprecated",
        request_id=about.request_id,
        sha256=sha256,
        created=about.created,
        duration=looks_float32(total / rate),
        channels=channels,
        models=[about.model_uuid] if total else None,
        model_info={about.model_uuid: about.model} if total else None,
    )
