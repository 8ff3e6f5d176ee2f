"""The `script` engine: the same words at the same times on every channel, whatever the audio.

A script is text. A line is an utterance: its words follow each other, and a pause after the last one ends the
segment with `speech_final`. ` | ` within a line freezes what was said so far in a final without
`speech_final`. An empty line is a longer silence. Lines that begin with `#` are comments. At its end the
script starts over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from trio_asr.simulator.engines import Mark, SegmentEnds, SpeechBegan, Word, Words
from trio_asr.simulator.query import ListenQuery

BUILT_IN: Final = """\
Thank you for calling, my name is Susan. | How may I help you?
Hello, I would like to change the address on my account.
Of course. | May I have your account number, please?

It is four seven one one.
Thank you. | I have changed it for you. Is there anything else?
No, that is all. Goodbye.

"""
_CUT: Final = "|"
_NOTICED_MS: Final = 100  # from the first sample of speech to its detection
_PAUSE_MS: Final = 500  # of silence, which ends an utterance
_REST_MS: Final = 300  # before the next utterance begins
_SILENCE_MS: Final = 2000


@dataclass(frozen=True)
class ScriptEngine:
    """The engine of a script. `word_ms` is the pace: a word lasts four fifths of it.

    Raises:
        ValueError: The script has no words.
    """

    text: str = BUILT_IN
    word_ms: int = 400
    name: str = "script"
    threads: int = 1

    def __post_init__(self) -> None:
        if not any(kind == "word" for _, kind, _ in self.round()):
            raise ValueError("the script has no words")

    def round(self) -> list[tuple[int, str, str]]:
        """Return one round of the script: `(milliseconds, kind, word)` in order, with `end` last."""
        steps: list[tuple[int, str, str]] = []
        now = _REST_MS
        for line in self.text.splitlines():
            words = line.split()
            if line.startswith("#"):
                continue
            if not words:
                now += _SILENCE_MS
                continue
            steps.append((now, "began", ""))
            for word in words:
                if word == _CUT:
                    steps.append((now, "cut", ""))
                else:
                    steps.append((now, "word", word))
                    now += self.word_ms
            now += _PAUSE_MS
            steps.append((now, "pause", ""))
            now += _REST_MS
        return [*steps, (now, "end", "")]

    def open(self, query: ListenQuery) -> ScriptEar:
        """Return a listener for a channel of a new stream."""
        return ScriptEar(self, query)


class ScriptEar:
    """An `Ear` that recites a script; see the module."""

    def __init__(self, engine: ScriptEngine, query: ListenQuery) -> None:
        self._width = query.width
        self._endpointing = query.endpointing_ms is not None
        self._plan = _plan(engine, query.sample_rate)
        self._next = next(self._plan)
        self._heard = 0
        self._words: list[Word] = []

    def hear(self, audio: bytes) -> list[Mark]:
        """Take more audio; see `Ear`."""
        self._heard += len(audio) // self._width
        marks: list[Mark] = []
        while _certain(step := self._next) <= self._heard:
            if isinstance(step, Word):
                self._words.append(step)
            elif isinstance(step, SegmentEnds):
                marks.append(SegmentEnds(step.at, step.speech_final and self._endpointing))
            else:
                marks.append(step)
            self._next = next(self._plan)
        return marks

    def words(self, start: int, end: int, *, final: bool) -> Words:
        """Return the words of a range; a word belongs to the segment it ends in; see `Ear`."""
        words = tuple(word for word in self._words if start < word.end <= end)
        if final:
            self._words = [word for word in self._words if word.end > end]
        return words

    def cut(self, at: int) -> None:
        """Ignore the cut: the script continues as it is; see `Ear`."""


def _certain(step: Word | Mark) -> int:
    return step.end if isinstance(step, Word) else step.at


def _plan(engine: ScriptEngine, rate: int) -> Iterator[Word | Mark]:
    """Generate the script endlessly, in the order in which its parts become certain; positions in samples."""
    once = engine.round()
    length = once[-1][0]
    for again in count():
        for at_ms, kind, text in once:
            at = (again * length + at_ms) * rate // 1000
            if kind == "word":
                end = at + engine.word_ms * 4 * rate // 5000
                yield Word(text.lower().strip(".,;:!?"), at, end, punctuated=text)
            elif kind == "began":
                yield SpeechBegan(at + _NOTICED_MS * rate // 1000, at)
            elif kind != "end":
                yield SegmentEnds(at, speech_final=kind == "pause")


def read_script(path: Path) -> ScriptEngine:
    """Return the engine for a script file.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: It is not UTF-8.
        ValueError: It has no words.
    """
    return ScriptEngine(path.read_text(encoding="utf-8"))
