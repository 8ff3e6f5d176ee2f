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
* a text message that is not understood is answered with an `Error`; the stream continues ("Configure");
* with `multichannel` each channel has a transcript of its own ("Multichannel"). None waits for the words of
  another; Metadata, the close and the answers to text messages wait for all that comes before them.

How the audio is split into messages affects only when something is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from trio_asr.simulator import control, render
from trio_asr.simulator.actions import Action, Close, Recognise, Send
from trio_asr.simulator.audio import Splitter
from trio_asr.simulator.engines import Ear, Words
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.transcript import Said, Timing, Transcript
from trio_asr.simulator.wire import Message

NET_0000: Final = (
    "Deepgram did not provide a response message within the timeout window. See https://dpgr.am/net0000"
)
NET_0001: Final = "Deepgram did not receive audio data or a text message within the timeout window. See https://dpgr.am/net0001"
#: The most recognitions outstanding on a channel before reading of audio pauses.
_MAX_OUTSTANDING: Final = 4


class Session:
    """A `Peer` for one stream, from its 101 to its close frame. It has as many ears as transcripts."""

    def __init__(
        self,
        query: ListenQuery,
        ears: Sequence[Ear],
        *,
        about: render.About,
        now: float,
        timing: Timing | None = None,
    ) -> None:
        self._query = query
        self._about = about
        self._timing = timing or Timing()
        self._splitter = Splitter(query.encoding, query.channels, mixed=query.mixed)
        self._transcripts = [
            Transcript(query, ear, (channel, len(ears)), self._timing) for channel, ear in enumerate(ears)
        ]
        self._sha256 = hashlib.sha256()
        self._opened = self._last_heard = now
        self._answered = False  # whether anything was ever sent
        self._ending = False  # the client ended the stream, or a close is on its way
        # What is to be said, in order, and by whom (None: the stream). Drafts may wait for words.
        self._outbox: list[tuple[Transcript | None, Said | Close]] = []
        self._waiting: dict[int, tuple[Transcript, render.Draft]] = {}
        self._jobs: list[Action] = []
        self._tickets = 0

    @property
    def backlogged(self) -> bool:
        """See `Peer`."""
        return not self._ending and any(one.sought > _MAX_OUTSTANDING for one in self._transcripts)

    def audio(self, data: bytes, now: float) -> list[Action]:
        """Handle a binary message: audio of any length; an empty one ends the stream."""
        if self._ending:
            return []
        self._last_heard = now
        if not data:
            self._end_stream()
            return self._drain()
        self._sha256.update(data)
        for transcript, audio in zip(self._transcripts, self._splitter.feed(data), strict=True):
            if audio and (said := transcript.hear(audio)):
                self._queue(transcript, said)
        return self._drain()

    def text(self, data: str, now: float) -> list[Action]:
        """Handle a text message: control JSON."""
        if self._ending:
            return []
        self._last_heard = now
        match control.parse(data, len(self._transcripts)):
            case control.Request.KEEP_ALIVE:
                pass
            case control.Request.CLOSE_STREAM:
                self._end_stream()
            case control.Finalize(channel):
                for transcript in self._transcripts if channel is None else [self._transcripts[channel]]:
                    self._queue(transcript, transcript.finalize())
            case control.Configure() as configure:
                self._outbox.append((None, configure.answer(self._query, self._about.request_id)))
            case error:
                self._outbox.append((None, error))
        return self._drain()

    def recognised(self, ticket: int, words: Words | None, now: float) -> list[Action]:
        """Take the words that a `Recognise` asked for; None means that it failed, which ends the stream."""
        del now  # the words are as old as their audio
        if ticket not in self._waiting:
            return []
        transcript, draft = self._waiting.pop(ticket)
        if words is None:
            return self._fail(NET_0000)
        transcript.found(draft, words)
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

    def _queue(self, transcript: Transcript, said: list[Said]) -> None:
        for one in said:
            if isinstance(one, render.Draft) and callable(one.words):
                self._tickets += 1
                self._waiting[self._tickets] = transcript, one
                self._jobs.append(Recognise(self._tickets, one.words))
            self._outbox.append((transcript, one))

    def _end_stream(self) -> None:
        """Queue a final for each open segment, one of zero length, Metadata and close 1000.

        This is the end of a stream as recorded from Deepgram.
        """
        self._ending = True
        for transcript in self._transcripts:
            self._queue(transcript, transcript.end())
        channels = len(self._transcripts) if self._total else 0
        self._outbox.append((None, self._metadata(self._sha256.hexdigest(), channels)))
        self._outbox.append((None, Close(1000)))

    def _fail(self, reason: str) -> list[Action]:
        """Close with 1011. Open segments get no final: what was not finalised is lost."""
        self._ending = True
        self._waiting.clear()
        self._outbox.clear()
        self._outbox.append((None, self._metadata("incomplete", len(self._transcripts))))
        self._outbox.append((None, Close(1011, reason)))
        return self._drain()

    @property
    def _total(self) -> int:
        """The samples received on each channel."""
        return self._transcripts[0].heard

    def _metadata(self, sha256: str, channels: int) -> Message:
        return render.metadata(
            self._about, sha256=sha256, total=self._total, rate=self._query.sample_rate, channels=channels
        )

    def _drain(self) -> list[Action]:
        """Return everything that can be said now, followed by the jobs."""
        if not self._outbox:
            return []
        actions: list[Action] = []
        waiting: list[tuple[Transcript | None, Said | Close]] = []
        held: set[Transcript | None] = set()
        for speaker, said in self._outbox:
            if _is_sought(said) or speaker in held or (speaker is None and held):
                held.add(speaker)
                waiting.append((speaker, said))
            else:
                self._answered = True
                actions += self._told(said)
        self._outbox = waiting
        actions += self._jobs
        self._jobs.clear()
        return actions

    def _told(self, said: Said | Close) -> list[Action]:
        if isinstance(said, render.Draft):
            return [Send(message) for message in said.messages(self._about)]
        return [said if isinstance(said, Close) else Send(said)]


def _is_sought(said: Said | Close) -> bool:
    """Return whether the words of a draft are still being looked for."""
    return isinstance(said, render.Draft) and callable(said.words)
