"""Faults around a session: they filter what comes in, what goes out, and the passing of time. Pure."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from trio_asr.simulator.actions import Abort, Action, Close, Peer, Recognise, Send, StopReading
from trio_asr.simulator.engines import Words
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.wire import (
    Metadata,
    Raw,
    Results,
    SpeechStarted,
    UtteranceEnd,
    WordOut,
    looks_float32,
)

_GARBAGE: Final = bytes(range(256))


class FaultyPeer:
    """A `Peer` with faults around another. After Close, Abort or StopReading it sends nothing more."""

    def __init__(self, inner: Peer, faults: Faults, *, now: float) -> None:
        self._inner = inner
        self._faults = faults
        self._over = False
        self._bytes = self._messages = 0
        self._results, self._finals = Counter[int](), Counter[int]()  # by channel
        self._mute_at = _at(now, faults.mute_after_s)
        timers: list[tuple[float, Action]] = [
            (_at(now, faults.abort_after_s), Abort()),
            (_at(now, faults.close_after_s), Close(faults.close_code, faults.close_reason)),
            (_at(now, faults.stop_reading_after_s), StopReading()),
        ]
        self._timer, self._timer_action = min(timers, key=lambda timer: timer[0])
        self._held: list[tuple[float, int, Action]] = []  # a heap: due time, sequence number, action
        self._count = 0
        self._last_word: dict[int, WordOut | None] = {}  # of the previous final of a channel

    @property
    def backlogged(self) -> bool:
        """See `Peer`."""
        return self._inner.backlogged

    def audio(self, data: bytes, now: float) -> list[Action]:
        """Handle a binary message; see `Peer`."""
        self._bytes += len(data)
        limit = self._faults.abort_after_bytes
        if limit is not None and self._bytes >= limit and not self._over:
            self._over = True
            return [Abort()]
        return self._pass(self._inner.audio(data, now), now)

    def text(self, data: str, now: float) -> list[Action]:
        """Handle a text message; see `Peer`."""
        return self._pass(self._inner.text(data, now), now)

    def recognised(self, ticket: int, words: Words | None, now: float) -> list[Action]:
        """Handle the result of a job; see `Peer`."""
        return self._pass(self._inner.recognised(ticket, words, now), now)

    def next_timeout(self) -> float | None:
        """Return when to call `on_timeout`; see `Peer`."""
        if self._over:
            return None
        held = self._held[0][0] if self._held else math.inf
        inner = self._inner.next_timeout()
        soonest = min(held, self._timer, math.inf if inner is None else inner)
        return None if soonest == math.inf else soonest

    def on_timeout(self, now: float) -> list[Action]:
        """Handle the passing of time; see `Peer`."""
        if self._over:
            return []
        out: list[Action] = []
        while self._held and self._held[0][0] <= now:
            out += self._spoil(heapq.heappop(self._held)[2], now)
        inner = self._inner.next_timeout()
        if inner is not None and inner <= now:
            out += self._pass(self._inner.on_timeout(now), now)
        if now >= self._timer and not self._over:
            self._over = True
            out.append(self._timer_action)
        return out

    def _pass(self, actions: list[Action], now: float) -> list[Action]:
        """Return the actions that may go out now; hold late finals, and the end of the stream behind them."""
        out: list[Action] = []
        for action in actions:
            if isinstance(action, Recognise):
                out.append(action)
            elif (due := self._due(action, now)) > now:
                self._count += 1
                heapq.heappush(self._held, (due, self._count, action))
            else:
                out += self._spoil(action, now)
        return out

    def _due(self, action: Action, now: float) -> float:
        """Return when an action may go out; the end of the stream waits for whatever is held."""
        if _is_end(action):
            return max((due for due, _, _ in self._held), default=now)
        if not self._concerned(action):
            return now
        due = now + self._faults.channel_delay_s
        match action:
            case Send(Results(is_final=True)):
                return due + self._faults.final_delay_s
            case Send(UtteranceEnd()):
                return due + self._faults.utterance_end_delay_s
        return due

    def _spoil(self, action: Action, now: float) -> list[Action]:
        if self._over or now >= self._mute_at:
            return []
        if not isinstance(action, Send):
            self._over = True
            return [action]
        message, sends = action.message, [action]
        if isinstance(message, Results) and self._concerned(action):
            sends = [Send(spoilt) for spoilt in self._spoil_results(message)]
        return [out for send in sends for out in (*self._junk(), send)]

    def _concerned(self, action: Action) -> bool:
        """Return whether an action is about a channel that the faults of channels concern."""
        channel = _channel(action)
        return channel is not None and self._faults.concern(channel)

    def _spoil_results(self, results: Results) -> Iterator[Results]:
        channel = results.channel_index[0]
        self._results[channel] += 1
        if _nth(self._results[channel], self._faults.drop_result_every):
            return
        if results.is_final:
            yield from self._spoil_final(results, channel)
        else:
            yield results

    def _spoil_final(self, final: Results, channel: int) -> Iterator[Results]:
        self._finals[channel] += 1
        count, faults = self._finals[channel], self._faults
        words = final.channel.alternatives[0].words
        before, self._last_word[channel] = self._last_word.get(channel), words[-1] if words else None
        if before is not None and _nth(count, faults.overlap_final_every):
            final = _overlapping(final, before)
        if _nth(count, faults.drop_final_every):
            return
        yield from _shrunk(final) if _nth(count, faults.shrink_final_every) else (final,)
        if _nth(count, faults.duplicate_final_every):
            yield final
        if _nth(count, faults.zero_final_every):
            yield _part(final, final.start + final.duration, final.start + final.duration)

    def _junk(self) -> Iterator[Send]:
        self._messages += 1
        if _nth(self._messages, self._faults.unknown_every):
            yield Send(Raw({"type": "Weather", "channel": [0, 1], "forecast": {"degrees": 21.5}}))
        if _nth(self._messages, self._faults.garbage_every):
            yield Send(Raw(_GARBAGE))


def _at(now: float, after: float | None) -> float:
    return math.inf if after is None else now + after


def _nth(count: int, every: int) -> bool:
    return every > 0 and count % every == 0


def _channel(action: Action) -> int | None:
    """Return the channel that an action is about; None if it is about the stream."""
    match action:
        case Send(Results(channel_index=place)):
            return place[0]
        case Send(SpeechStarted(channel=place) | UtteranceEnd(channel=place)):
            return place[0]
    return None


def _is_end(action: Action) -> bool:
    return isinstance(action, Close) or (isinstance(action, Send) and isinstance(action.message, Metadata))


def _part(final: Results, start: float, end: float) -> Results:
    """Return the final for a part of its window, with the words that begin there."""
    whole = final.channel.alternatives[0]
    words = [word for word in whole.words if start <= word.start < end]
    text = " ".join(word.punctuated_word or word.word for word in words)
    alternative = msgspec.structs.replace(
        whole, transcript=text, words=words, confidence=whole.confidence if words else 0.0
    )
    return msgspec.structs.replace(
        final,
        start=looks_float32(start),
        duration=looks_float32(end - start),
        channel=msgspec.structs.replace(final.channel, alternatives=[alternative]),
    )


def _overlapping(final: Results, before: WordOut) -> Results:
    """Return the final, extended to begin with the last word of the one before it."""
    words = [before, *final.channel.alternatives[0].words]
    whole = msgspec.structs.replace(
        final,
        start=before.start,
        duration=looks_float32(final.start + final.duration - before.start),
        channel=msgspec.structs.replace(
            final.channel,
            alternatives=[msgspec.structs.replace(final.channel.alternatives[0], words=words)],
        ),
    )
    return _part(whole, before.start, final.start + final.duration)


def _shrunk(final: Results) -> Iterator[Results]:
    """Split a final in two; the pause, if any, comes after the second."""
    words = final.channel.alternatives[0].words
    if len(words) < 2:
        yield final
        return
    cut = words[-1].start
    yield msgspec.structs.replace(_part(final, final.start, cut), speech_final=False, from_finalize=False)
    yield _part(final, cut, final.start + final.duration)
