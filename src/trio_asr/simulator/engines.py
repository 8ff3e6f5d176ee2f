"""The protocol between a session and a recognition engine.

An *engine* is shared by all streams of a simulator. For each channel that is transcribed on its own it opens
an *ear*, which is pure: it hears the audio as it came (`audio.linear16` decodes it), says where segments
begin and end, and returns the words of a range. How the audio was split into messages must not matter to an
ear. Words that take long to find are returned as a *job*, which the shell runs in a thread; the session keeps
the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trio_asr.simulator.query import ListenQuery


class RecognitionError(Exception):
    """A failure of an engine; the stream is closed with 1011."""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word.

    It covers samples `start` to `end` (exclusive) of the audio received on the connection.
    """

    text: str
    start: int
    end: int
    confidence: float = 0.99
    punctuated: str | None = None


Words = tuple[Word, ...]
#: Runs in a worker thread and may raise RecognitionError.
Job = Callable[[], Words]


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Speech that began at sample `onset`, detected at sample `at`."""

    at: int
    onset: int


@dataclass(frozen=True, slots=True)
class SegmentEnds:
    """The end of the open segment at sample `at`; `speech_final` if a pause ended it."""

    at: int
    speech_final: bool


Mark = SpeechBegan | SegmentEnds


class Ear(Protocol):
    """The listener of one channel. All positions are in samples since the stream began."""

    def hear(self, audio: bytes) -> list[Mark]:
        """Take more audio, whole samples of one channel; return the marks that it made certain.

        They are ordered by `at`, and none lies beyond the audio heard. The ear itself treats a segment end
        that it announces as done.
        """
        ...

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        """Return the words from `start` to `end`. After a final, nothing before `end` is asked for again."""
        ...

    def cut(self, at: int) -> None:
        """End the open segment at `at` because the client did (Finalize); the next one begins there."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A source of ears. `threads` bounds the jobs that run at once, over all streams."""

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def open(self, query: ListenQuery) -> Ear:
        """Return a listener for a channel of a new stream; `query.channels` is 1."""
        ...
