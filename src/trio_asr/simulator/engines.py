"""What recognises the audio: the protocol that a session speaks with an engine, and the engines by name.

An *engine* is shared by all streams of a simulator. For each stream it opens an *ear*, which is pure: it
hears the audio, says where segments begin and end, and tells the words of a range. Ears must not let it
matter how the audio was split into messages. Words that take long to find are returned as a *job*, which the
shell runs in a thread; the session keeps the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from trio_asr.simulator.query import ListenQuery


class RecognitionError(Exception):
    """An engine could not do its work; the stream is closed with 1011."""


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word, from sample ``start`` to ``end`` (exclusive) of the audio received on the
    connection.
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
    """Speech that began at sample ``onset`` was noticed at sample ``at``."""

    at: int
    onset: int


@dataclass(frozen=True, slots=True)
class SegmentEnds:
    """The open segment ends at sample ``at``; ``speech_final`` when a pause ended it."""

    at: int
    speech_final: bool


Mark = SpeechBegan | SegmentEnds


class Ear(Protocol):
    """One stream's listener. All positions are samples since the stream began."""

    def hear(self, pcm: bytes) -> list[Mark]:
        """Take more audio (linear16, whole samples); what became certain by it, in the order of ``at``.

        No mark lies beyond what was heard. The ear treats an end that it announces as done.
        """
        ...

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        """The words from ``start`` to ``end``. After a final nothing before ``end`` is asked for again."""
        ...

    def cut(self, at: int) -> None:
        """The client ended the open segment at ``at`` (Finalize); the next one begins there."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Makes ears. ``threads`` bounds the jobs that run at once, over all streams."""

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def open(self, query: ListenQuery) -> Ear:
        """A listener for a new stream."""
        ...
