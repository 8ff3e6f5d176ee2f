"""An ear whose segments end elsewhere than its engine would end them (a fault). Pure."""

from __future__ import annotations

from trio_asr.simulator.engines import Ear, Job, Mark, SegmentEnds, Words
from trio_asr.simulator.query import ListenQuery


class RecutEar:
    """An `Ear` around another: it ends segments after every `every_s` of audio, and nowhere else."""

    def __init__(self, inner: Ear, query: ListenQuery, every_s: float) -> None:
        self._inner = inner
        self._width = query.width
        self._pauses = query.endpointing_ms is not None
        self._length = max(1, int(query.sample_rate * every_s))
        self._open = 0  # samples heard of the open segment
        self._heard = 0

    def hear(self, audio: bytes) -> list[Mark]:
        """Take more audio; see `Ear`. The inner ear hears of each end when it comes, as from a client."""
        marks: list[Mark] = []
        while len(audio) >= (left := self._width * (self._length - self._open)):
            marks += self._listen(audio[:left])
            audio = audio[left:]
            self._inner.cut(self._heard)
            self._open = 0
            marks.append(SegmentEnds(self._heard, speech_final=self._pauses))
        return marks + self._listen(audio)

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        """Return the words of a range; see `Ear`."""
        return self._inner.words(start, end, final=final)

    def cut(self, at: int) -> None:
        """Begin the next segment at `at`; see `Ear`."""
        self._inner.cut(at)
        self._open = self._heard - at

    def _listen(self, audio: bytes) -> list[Mark]:
        samples = len(audio) // self._width
        self._heard += samples
        self._open += samples
        return [mark for mark in self._inner.hear(audio) if not isinstance(mark, SegmentEnds)]
