"""The `echo` engine: words that name the samples they cover, for exact tests.

Each 100 ms of audio (on the connection's clock) is a word. Where the audio carries position stamps (`stamps`;
in linear16, mu-law or A-law), the word names what was decoded from the *audio*: `c7:1600-2400` is call 7,
samples 1600 to 2400 (exclusive). Its times are where that stretch stood on the connection. Several runs
within the 100 ms are several words. Other audio is named by the connection's clock: `s0-800`. Digital silence
has no words.

A segment ends after every `segment_ms` of audio, counted from the last end, whatever is in it. Where
stamped audio begins just before that end, it is told only when those samples can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trio_asr.simulator.audio import is_silent, linear16
from trio_asr.simulator.engines import Mark, SegmentEnds, SpeechBegan, Word, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.stamps import Reader, window


@dataclass(frozen=True)
class EchoEngine:
    """The engine of position words.

    `speech_final_every` 1 sets `speech_final` on every final, 3 on every third; endpointing=false on none.
    """

    segment_ms: int = 2000
    word_ms: int = 100
    speech_final_every: int = 1
    name: str = "echo"
    threads: int = 1

    def open(self, query: ListenQuery) -> EchoEar:
        """Return a listener for a channel of a new stream."""
        return EchoEar(self, query)


class EchoEar:
    """An `Ear` that names samples; see the module."""

    def __init__(self, engine: EchoEngine, query: ListenQuery) -> None:
        self._segment = max(1, query.sample_rate * engine.segment_ms // 1000)
        self._word = max(1, query.sample_rate * engine.word_ms // 1000)
        self._every = engine.speech_final_every if query.endpointing_ms is not None else 0
        self._vad = query.vad_events
        self._floats = query.encoding == "linear32"  # which no stamps are made for: it is read as linear16
        self._encoding = "linear16" if self._floats else query.encoding
        self._width = 2 if self._floats else query.width
        self._reader = Reader(self._width)
        self._audio = bytearray()  # from sample `_kept` on
        self._kept = self._heard = 0
        self._segment_start = 0
        self._finals = 0
        self._judged = 0  # whether there was speech is known up to this sample
        self._speaking = False

    def hear(self, audio: bytes) -> list[Mark]:
        """Take more audio; see `Ear`."""
        if self._floats:
            audio = linear16(audio, "linear32")
        self._reader.feed(audio)
        self._audio += audio
        self._heard += len(audio) // self._width
        marks: list[Mark] = []
        while True:
            segment_end = self._segment_start + self._segment
            word_end = self._judged - self._judged % self._word + self._word
            if min(segment_end, word_end) > self._heard:
                return marks
            if word_end <= segment_end:
                marks += self._judge(word_end)
            if segment_end <= word_end:
                if self._undecided(segment_end):
                    return marks
                marks.append(self._end(segment_end))

    def _judge(self, word_end: int) -> list[Mark]:
        """Detect the start of speech: the first word after silence, or after the end of an utterance."""
        onset, self._judged = word_end - self._word, word_end
        if not self._vad:
            return []
        was, self._speaking = self._speaking, not self._silent(onset, word_end)
        return [SpeechBegan(word_end, onset)] if self._speaking and not was else []

    def _undecided(self, at: int) -> bool:
        """Whether a run may have begun just before `at`, behind silence or another one: more will tell."""
        start = self._heard - self._reader.undecided
        if start >= at or self._silent(start, at):
            return False
        if self._reader.undecided < window(self._width) - 1:
            return True
        return self._silent(start - 1, start) or self._silent(start, start + 1)

    def _end(self, at: int) -> SegmentEnds:
        self._segment_start = at
        self._finals += 1
        speech_final = bool(self._every) and self._finals % self._every == 0
        if speech_final:
            self._speaking = False
        return SegmentEnds(at, speech_final)

    def _silent(self, start: int, end: int) -> bool:
        width, kept = self._width, self._kept
        audio = self._audio[width * max(0, start - kept) : width * max(0, end - kept)]
        return is_silent(audio, self._encoding)

    def words(self, start: int, end: int, *, final: bool) -> Words:
        """Return the words of a range; see `Ear`."""
        words = tuple(self._read(start, end))
        if final:
            self._reader.forget(end)
            # One word's worth stays: speech is judged by whole words, and an end may cut one.
            drop = max(0, end - self._word - self._kept)
            del self._audio[: self._width * drop]
            self._kept += drop
        return words

    def _read(self, start: int, end: int) -> Iterator[Word]:
        while start < end:
            stop = min(end, start - start % self._word + self._word)
            stamped = [run for run in self._reader.runs if run.at < stop and run.end > start]
            for run in stamped:
                a, b = max(start, run.at), min(stop, run.end)
                shift = run.first - run.at
                yield Word(f"c{run.call}:{a + shift}-{b + shift}", a, b)
            if not stamped and not self._silent(start, stop):
                yield Word(f"s{start}-{stop}", start, stop)
            start = stop

    def cut(self, at: int) -> None:
        """Begin the next segment at `at`; see `Ear`."""
        self._segment_start = at
        self._speaking = False
