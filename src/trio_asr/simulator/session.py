"""One stream of Deepgram's live API as a pure state machine: client messages in, actions out.

The rules, with the page of Deepgram's documentation that states them:

* audio comes in binary messages, control messages are JSON in text messages; control JSON in a binary message
  is audio ("Audio Keep Alive");
* an interim restates the open segment about every second of its audio ("Interim Results"); a final freezes
  it, and ends the utterance if a pause was heard ("Endpointing");
* "Utterance End" goes by the gaps between words, independently of endpointing, so it also comes, late, for an
  utterance that was closed long ago;
* Finalize flushes, but not if little is buffered ("Finalize"); CloseStream flushes, followed by Metadata and
  close 1000 ("Close Stream"), as does an empty binary message, its predecessor;
* neither audio nor text for 10 s: Metadata and close 1011 NET-0001; nothing to answer for 25 s, whatever
  KeepAlive says: 1011 NET-0000 ("STT Troubleshooting WebSocket, NET, and DATA Errors", "Audio Keep Alive");
* a text message that is not understood is answered with an `Error`; the stream continues ("Configure").

How the audio is split into messages affects only when something is said.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Final

from trio_asr.simulator import control, render
from trio_asr.simulator.actions import Action, Close, Recognise, Send
from trio_asr.simulator.audio import Decoder
from trio_asr.simulator.engines import Ear, Mark, SegmentEnds, SpeechBegan, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.wire import Message

NET_0000: Final = (
    "Deepgram did not provide a response message within the timeout window. See https://dpgr.am/net0000"
)
NET_0001: Final = "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
#: The most recognitions outstanding before reading of audio pauses.
_MAX_OUTSTANDING: Final = 4


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


class Session:
    """A `Peer` for one stream, from its 101 to its close frame."""

    def __init__(
        self, query: ListenQuery, ear: Ear, *, about: render.About, now: float, timing: Timing | None = None
    ) -> None:
        self._query = query
        self._ear = ear
        self._about = about
        self._timing = timing or Timing()
        self._rate = query.sample_rate
        self._interim = max(1, round(self._rate * self._timing.interim_s))
        self._decoder = Decoder(query.encoding)
        self._sha256 = hashlib.sha256()
        self._opened = self._last_heard = now
        self._answered = False  # whether anything was ever sent
        self._ending = False  # the client ended the stream, or a close is on its way
        self._total = 0  # samples received
        self._segment = 0  # first sample of the open segment
        self._next_interim = self._interim
        self._utterance = render.Utterance(query)
        self._outbox: deque[render.Draft | Message | Close] = deque()  # in order; drafts may wait for words
        self._waiting: dict[int, render.Draft] = {}
        self._jobs: list[Action] = []
        self._tickets = 0

    @property
    def backlogged(self) -> bool:
        """See `Peer`."""
        return len(self._waiting) > _MAX_OUTSTANDING

    def audio(self, data: bytes, now: float) -> list[Action]:
        """Handle a binary message: audio of any length; an empty one ends the stream."""
        if self._ending:
            return []
        self._last_heard = now
        if not data:
            self._end_stream()
        elif pcm := self._take(data):
            self._total += len(pcm) // 2
            for mark in self._ear.hear(pcm):
                self._apply(mark)
            self._interims(self._total)
        return self._drain()

    def text(self, data: str, now: float) -> list[Action]:
        """Handle a text message: control JSON."""
        if self._ending:
            return []
        self._last_heard = now
        match control.parse(data):
            case control.Request.KEEP_ALIVE:
                pass
            case control.Request.FINALIZE:
                self._finalize()
            case control.Request.CLOSE_STREAM:
                self._end_stream()
            case control.Configure() as configure:
                self._outbox.append(configure.answer(self._query, self._about.request_id))
            case error:
                self._outbox.append(error)
        return self._drain()

    def recognised(self, ticket: int, words: Words | None, now: float) -> list[Action]:
        """Take the words that a `Recognise` asked for; None means that it failed, which ends the stream."""
        del now  # the words are as old as their audio
        draft = self._waiting.pop(ticket, None)
        if draft is None:
            return []
        if words is None:
            return self._fail(NET_0000)
        draft.words = words
        return self._drain()

    def next_timeout(self) -> float | None:
        """Return when to call `on_timeout`; see `Peer`."""
        if self._ending:
            return None
        idle = self._last_heard + self._timing.idle_s
        return idle if self._answered else min(idle, self._opened + self._timing.no_response_s)

    def on_timeout(self, now: float) -> list[Action]:
        """Handle the passing of time; see `Peer`."""
        if self._ending:
            return []
        if now >= self._last_heard + self._timing.idle_s:
            return self._fail(NET_0001)
        if not self._answered and now >= self._opened + self._timing.no_response_s:
            return self._fail(NET_0000)
        return []

    def _take(self, data: bytes) -> bytes:
        self._sha256.update(data)
        return self._decoder.feed(data)

    def _apply(self, mark: Mark) -> None:
        match mark:
            case SpeechBegan(at, onset):
                self._interims(at)
                if self._query.vad_events:
                    self._outbox.append(render.speech_started(onset, self._rate))
            case SegmentEnds(at, speech_final):
                self._interims(at - 1)  # one at the very end would only repeat the final
                if at > self._segment:
                    self._final(at, speech_final=speech_final)

    def _interims(self, until: int) -> None:
        """Queue the interims that are due for audio up to `until`."""
        while self._next_interim <= until:
            end, self._next_interim = self._next_interim, self._next_interim + self._interim
            # While words are still being looked for, another interim would only delay them.
            if self._query.interim_results and not self._waiting:
                self._result(render.Draft(self._segment, end))

    def _final(self, at: int, *, speech_final: bool, from_finalize: bool = False) -> None:
        self._result(render.Draft(self._segment, at, final=True, pause=speech_final, flushed=from_finalize))
        self._segment = at
        self._next_interim = at + self._interim

    def _result(self, draft: render.Draft) -> None:
        found = self._ear.words(draft.start, draft.end, final=draft.final)
        if callable(found):
            self._tickets += 1
            self._waiting[self._tickets] = draft
            self._jobs.append(Recognise(self._tickets, found))
        else:
            draft.words = found
        self._outbox.append(draft)

    def _finalize(self) -> None:
        if self._total - self._segment >= max(1, self._rate * self._timing.finalize_min_s):
            self._final(self._total, speech_final=True, from_finalize=True)
            self._ear.cut(self._total)

    def _end_stream(self) -> None:
        """Queue a final for the open segment, one of zero length, Metadata and close 1000.

        This is the end of a stream as recorded from Deepgram.
        """
        self._ending = True
        if self._total:
            if self._total > self._segment:
                self._final(self._total, speech_final=True)
            self._outbox.append(render.Draft(self._total, self._total, final=True, pause=True, words=()))
        self._outbox.append(self._metadata(self._sha256.hexdigest(), channels=1 if self._total else 0))
        self._outbox.append(Close(1000))

    def _fail(self, reason: str) -> list[Action]:
        """Close with 1011. The open segment gets no final: what was not finalised is lost."""
        self._ending = True
        self._waiting.clear()
        self._outbox.clear()
        self._outbox.extend([self._metadata("incomplete", channels=1), Close(1011, reason)])
        return self._drain()

    def _metadata(self, sha256: str, *, channels: int) -> Message:
        return render.metadata(
            self._about, sha256=sha256, total=self._total, rate=self._rate, channels=channels
        )

    def _drain(self) -> list[Action]:
        """Return everything that can be sent now, in order, followed by the jobs."""
        actions: list[Action] = []
        while self._outbox:
            head = self._outbox[0]
            if isinstance(head, render.Draft):
                if head.words is None:
                    break
                actions += map(Send, self._utterance.tell(head, head.words, self._about))
            else:
                actions.append(head if isinstance(head, Close) else Send(head))
            self._answered = True
            self._outbox.popleft()
        actions += self._jobs
        self._jobs.clear()
        return actions
