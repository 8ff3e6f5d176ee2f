"""One socket: what its dialect makes of its messages, done to a series."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import trio

from trio_asr.bus.calls import Outcome
from trio_asr.core.ingest.series import Series, Terms
from trio_asr.ingest.adder import Adder, Entrant
from trio_asr.ingest.beginning import call_of, new_series, tenant_of
from trio_asr.ingest.dialect import (
    INTERNAL,
    POLICY,
    TOO_BIG,
    Audio,
    Begin,
    Dialect,
    Effect,
    Finish,
    Lost,
    Odd,
    Refusal,
    Say,
)
from trio_asr.ingest.doors import Admitted
from trio_asr.ingest.metrics import IngestMetrics
from trio_asr.telemetry import logs
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.wire.client_frames import Received
from trio_asr.wire.codes import CaughtAt

GONE = 1001  # this side goes away (RFC 6455, 7.4.1)
LINGER_S = 10.0  # for a platform to close its socket, once the call is over
# Some platforms send audio before they say what it is. The dialect keeps it, and says so, but not for long.
EARLY, EARLY_S = "early", 1.0
SAYINGS = 64  # messages for a peer that does not read
NOT_READING = "not_reading"
# A peer may be as much ahead of real time: bursts, and what a client had while it was away. Beyond that it is
# slowed. Other frames and reads count, too: pings want answers, and a byte alone costs as much as a message.
BURST_MESSAGES, MESSAGES_PER_S = 5000, 400
LEAST_PAUSE_S = 0.01
# What becomes of a socket whose call cannot be taken, by the store's answer: a kind, and words for the peer.
_UNAVAILABLE = {
    Outcome.TENANT: ("other_tenant", "this call is another tenant's"),
    Outcome.LEGS: ("other_legs", "another socket brings other legs of this call"),
    Outcome.LOST: ("superseded", "another socket has taken this call"),
    Outcome.STALE: ("stale", "the call's state was changed by somebody else"),
    Outcome.MISUSED: ("stale", "the key of the call's state has another type"),
    Outcome.BROKEN: ("stale", "what is known of the call makes no sense"),
}
# The ends of calls that are not in the platform's words, as counted.
ENDS = ("disconnected", "idle", "shutdown", "replaced", "refused")


class Context:
    """What all sockets of a gateway share."""

    def __init__(
        self, adder: Adder, metrics: IngestMetrics, internal: InternalErrors, terms: Terms, start_s: float
    ) -> None:
        self.adder, self.metrics, self.internal = adder, metrics, internal
        self.terms, self.start_s = terms, start_s
        self.log = logs.get("ingest")


class Session:
    """One socket's session, from the accepted handshake on. It does not touch the socket itself.

    What is to be said waits in `sayings`; once `over` is set nothing more will be, and `close` is the code
    and the reason to close with, or None if the peer has closed.
    """

    def __init__(self, context: Context, admitted: Admitted, dialect: Dialect) -> None:
        self.over = trio.Event()
        self.patience = trio.current_time() + context.start_s  # when `late` is to be called
        self.close: tuple[int, str] | None = 1000, ""
        self.sayings: deque[str] = deque()
        self.woken = trio.Event()
        self.series: Series | None = None
        self.call = ""
        self._context, self._admitted, self._dialect = context, admitted, dialect
        self._route = admitted.route
        self._finished = False  # nothing more is taken for the present call
        self._probed = False
        self._allowance, self._allowed_at = float(BURST_MESSAGES), trio.current_time()

    # -- from the socket -------------------------------------------------------------------------------

    def hear(self, messages: Sequence[Received]) -> None:
        """Take the messages of one read. Whatever they are, no exception gets out."""
        if self.over.is_set():
            return
        now = trio.current_time()
        try:
            for message in messages:
                for effect in self._dialect.hear(message.payload, text=message.text):
                    self._take(effect, now)
            self._settle(now)
        except Refusal as refusal:
            self.refuse(refusal.kind, refusal.reason, refusal.code)
        except Exception as error:  # noqa: BLE001 - a bug costs this socket, and is counted
            self._context.internal.caught(CaughtAt.MESSAGE, error, interaction_id=self.call)
            self.refuse("internal", "an internal error", INTERNAL)

    def too_large(self, reason: str) -> None:
        """Refuse the socket: what it sends is too large."""
        self.refuse("too_large", reason, TOO_BIG)

    def pause_s(self, frames: int) -> float:
        """Return how long the socket is left alone: until an entry may be complete, or it is slower."""
        now = trio.current_time()
        self._allowance = min(BURST_MESSAGES, self._allowance + (now - self._allowed_at) * MESSAGES_PER_S)
        self._allowance -= frames + 1
        self._allowed_at = now
        if self._allowance < 0:
            return -self._allowance / MESSAGES_PER_S
        if self.series is None or self.series.end or self.over.is_set():
            return 0.0
        lacking_s = self.series.lacking_s()
        return lacking_s if lacking_s > LEAST_PAUSE_S else 0.0

    def ended(self) -> None:
        """Learn that the socket is gone, or closing. If the platform has not said why, it may come again."""
        if self.series is not None and not self._finished:
            self.series.leave(trio.current_time())
            self._context.adder.note(self.series)
        if not self.over.is_set():
            self.close = None
        self._finished = True
        self._stop()

    def late(self) -> None:
        """Close the socket: nothing has begun on it, or it was left open though its call is over."""
        if self.series is None and not self._probed:
            self.refuse("no_start", f"no start within {self._context.start_s:g} s")
        self._stop()

    def leave(self) -> None:
        """End the call, because this process stops."""
        if self.over.is_set():
            return
        self.close = GONE, "the server stops"
        self._finish("shutdown", trio.current_time())
        if text := self._dialect.leave("shutdown"):
            self.say(text)  # and the platform closes
        else:
            self._stop()

    # -- inside ----------------------------------------------------------------------------------------

    def _take(self, effect: Effect, now: float) -> None:
        if isinstance(effect, Audio):
            if self.series is not None and not self._finished:
                self.series.hear(effect.audio, now, effect.leg, effect.at_ms, effect.number)
        elif isinstance(effect, Begin):
            self._begin(effect, now)
        elif isinstance(effect, Lost):
            if self.series is not None:
                self.series.lose(effect.ms)
        elif isinstance(effect, Finish):
            self._finish(effect.reason, now)
        elif isinstance(effect, Say):
            self.say(effect.text)
        elif isinstance(effect, Odd):
            self._context.metrics.odd(self._route.platform, effect.kind)
            if effect.kind == EARLY and self.series is None:
                self.patience = min(self.patience, now + EARLY_S)
                self.woken.set()

    def _settle(self, now: float) -> None:
        """Hand on what a read has completed."""
        if self.series is not None and not self._finished:
            if self.series.too_early:  # it has all that it was not told to be stored, and may come again
                raise Refusal(EARLY, "too much audio before the answer to resume_from")
            self.series.alive(now)
            self.series.gather(now)
            self._context.adder.note(self.series)

    def _begin(self, begin: Begin, now: float) -> None:
        if begin.probe:
            self._context.metrics.odd(self._route.platform, "probe")
            self._probed = True
            return
        call = call_of(begin, self._route)
        if self.series is not None:
            if call == self.call:
                self._context.metrics.odd(self._route.platform, "start_again")
                return
            self._finish("replaced: another call on its socket", now)
        tenant, context, platform = tenant_of(begin, self._admitted), self._context, self._route.platform
        self.series = new_series(
            begin,
            self._route,
            call,
            tenant,
            terms=context.terms,
            tally=context.metrics.tally(platform),
            now=now,
        )
        self.call, self._finished, self.patience = call, False, math.inf
        context.metrics.begun(platform)
        context.adder.enter(Entrant(self.series, self._stored, self._unavailable, self._ended))
        context.log.info(
            "Call begins", interaction_id=call, tenant=tenant, platform=platform, path=self._route.path,
            legs=list(begin.legs), **self.series.format.fields,
        )  # fmt: skip

    def _finish(self, reason: str, now: float) -> None:
        self._finished, self.patience = True, now + LINGER_S
        self.woken.set()
        if self.series is None:
            return
        try:
            self.series.finish(reason, now)
        except Exception as error:  # noqa: BLE001 - it may be the very bug for which the call ends
            self._context.internal.caught(CaughtAt.CALL, error, interaction_id=self.call)
            self.series.give_up()
        self._context.adder.note(self.series)

    def refuse(self, kind: str, reason: str, code: int = POLICY) -> None:
        """Close the socket for a fault of the peer's; its call ends."""
        if self.over.is_set():
            return
        self._context.metrics.refused(self._route.platform, kind)
        self._context.log.warning(
            "Socket refused", platform=self._route.platform, path=self._route.path, interaction_id=self.call,
            kind=kind, reason=reason,
        )  # fmt: skip
        self.close = code, reason
        self._finish(f"refused: {kind}", trio.current_time())
        if (text := self._dialect.leave("error")) and kind != NOT_READING:
            self.sayings.append(text)
        self._stop()

    # -- from the store --------------------------------------------------------------------------------

    def _stored(self, number: int) -> None:
        if not self.over.is_set() and (text := self._dialect.stored(number)):
            self.say(text)

    def _unavailable(self, outcome: Outcome | None) -> None:
        self._finished = True
        if outcome is None:
            self.refuse("internal", "an internal error", INTERNAL)
        else:
            self.refuse(*_UNAVAILABLE[outcome])

    def _ended(self, series: Series) -> None:
        if series.ended:
            word = series.end.partition(":")[0]
            self._context.metrics.ended(self._route.platform, word if word in ENDS else "stopped")
            self._context.log.info("Call ends", interaction_id=series.identity.call, reason=series.end)
        if series is self.series and not self._finished:
            self._stop()  # for want of audio: the platform does not know yet

    # -- to the socket ---------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say something to the peer, when its socket takes it."""
        if len(self.sayings) >= SAYINGS:
            self.refuse(NOT_READING, "what is said to this peer is not read")
            return
        self.sayings.append(text)
        self.woken.set()

    def _stop(self) -> None:
        self.over.set()
        self.woken.set()
