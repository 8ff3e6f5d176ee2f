"""The transcript of one channel: its open segment, and the results that its ear's words become. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from trio_asr.simulator import render
from trio_asr.simulator.engines import Ear, Job, Mark, SegmentEnds, SpeechBegan, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.wire import Message, Place


@dataclass(frozen=True)
class Timing:
    """The timing of a stream, in seconds.

    Documented are an idle timeout of 10 s (12 s has been seen) and 20-30 s without anything to answer.
    """

    idle_s: float = 10.0
    no_response_s: float = 25.0
    interim_s: float = 1.04
    #: Finalize is not answered if less audio than this, in seconds, is open.
    finalize_min_s: float = 0.1


Said = render.Draft | Message


class Transcript:
    """A channel's transcript. Its methods return what is to be said, in order.

    `heard` counts the samples received, `sought` the drafts whose words are still being looked for.
    """

    def __init__(self, query: ListenQuery, ear: Ear, place: Place, timing: Timing) -> None:
        self.heard = 0
        self.sought = 0
        self._ear = ear
        self._place = place
        self._rate = query.sample_rate
        self._width = query.for_ear().width
        self._interim_results, self._vad_events = query.interim_results, query.vad_events
        self._interim = max(1, round(self._rate * timing.interim_s))
        self._least = max(1, self._rate * timing.finalize_min_s)
        self._segment = 0  # first sample of the open segment
        self._next_interim = self._interim
        self._utterance = render.Utterance(query, place)
        self._said: list[Said] = []

    def hear(self, audio: bytes) -> list[Said]:
        """Take more audio."""
        self.heard += len(audio) // self._width
        for mark in self._ear.hear(audio):
            self._apply(mark)
        self._interims(self.heard)
        return self._take()

    def finalize(self) -> list[Said]:
        """Flush the open segment, unless little is open."""
        if self.heard - self._segment >= self._least:
            self._final(self.heard, speech_final=True, from_finalize=True)
            self._ear.cut(self.heard)
        return self._take()

    def end(self) -> list[Said]:
        """Flush the open segment, and end with a final of zero length; without any audio say nothing."""
        if self.heard:
            if self.heard > self._segment:
                self._final(self.heard, speech_final=True)
            self._result(self.heard, self.heard, (), final=True, pause=True)
        return self._take()

    def found(self, draft: render.Draft, words: Words) -> None:
        """Take the words of a draft."""
        self.sought -= 1
        draft.words = words

    def _apply(self, mark: Mark) -> None:
        match mark:
            case SpeechBegan(at, onset):
                self._interims(at)
                if self._vad_events:
                    self._said.append(render.speech_started(self._place, onset, self._rate))
            case SegmentEnds(at, speech_final):
                self._interims(at - 1)  # one at the very end would only repeat the final
                if at > self._segment:
                    self._final(at, speech_final=speech_final)

    def _interims(self, until: int) -> None:
        """Say the interims that are due for audio up to `until`."""
        while self._next_interim <= until:
            end, self._next_interim = self._next_interim, self._next_interim + self._interim
            # While words are still being looked for, another interim would only delay them.
            if self._interim_results and not self.sought:
                self._result(self._segment, end, self._ear.words(self._segment, end, final=False))

    def _final(self, at: int, *, speech_final: bool, from_finalize: bool = False) -> None:
        words = self._ear.words(self._segment, at, final=True)
        self._result(self._segment, at, words, final=True, pause=speech_final, flushed=from_finalize)
        self._segment = at
        self._next_interim = at + self._interim

    def _result(self, start: int, end: int, words: Words | Job, **kind: bool) -> None:
        self.sought += callable(words)
        self._said.append(render.Draft(self._utterance, start, end, words, **kind))

    def _take(self) -> list[Said]:
        said, self._said = self._said, []
        return said
