"""Leave to connect: whether dialling makes sense at all, and how many connections there may be.

Calls beyond `deepgram.max_connections` wait (`places`), and their audio waits with them; a call that
reconnects keeps its place while its audio flows. After a refusal that a retry cannot mend, those whom it
concerns wait without a place, and one of them at a time probes, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import trio

from trio_asr.core.refusals import Breaker, Concerns, concerns
from trio_asr.deepgram.permits import Holder, Permits
from trio_asr.deepgram.provider import ConnectFailed, Provider
from trio_asr.telemetry import logs
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Troubles

TROUBLE = "deepgram"


class Gate:
    """Where calls wait while a breaker is open."""

    def __init__(self, patience_s: float) -> None:
        self.breaker = Breaker()
        self._patience_s = patience_s
        self._turn = trio.StrictFIFOLock()
        self._changed = trio.Event()

    async def wait(self, wanted: Callable[[], bool]) -> None:
        """Wait until the breaker is closed, or it is this call's turn to probe, if it still wants to."""
        async with self._turn:
            while self.breaker.next_probe() > trio.current_time():
                with trio.move_on_at(self.breaker.next_probe()):
                    await self._changed.wait()
            if wanted():
                self.breaker.probing(trio.current_time(), self._patience_s)

    def changed(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = trio.Event()


class Admission:
    """The provider, and leave to connect to it."""

    def __init__(
        self,
        provider: Provider,
        *,
        limit: int,
        connect_timeout_s: float,
        metrics: Metrics,
        troubles: Troubles,
    ) -> None:
        self.provider = provider
        self.open = 0
        self.wanted = 0  # calls that wait for a connection, or for leave to make one
        self._permits = Permits(limit)
        self._patience_s = connect_timeout_s + 1
        self._account = Gate(self._patience_s)
        # By sample rate (in all else the query is the same for all calls), of queries that were refused.
        self._queries: dict[int, Gate] = {}
        self._connected: set[str] = set()  # calls
        self._metrics, self._troubles = metrics, troubles
        metrics.connections.read = lambda: self.open
        metrics.waiting_for_slot.read = lambda: self.waiting
        metrics.breaker_open.read = lambda: self.refused
        self._log = logs.get("connections")

    def resize(self, permits: int) -> None:
        """Change how many connections there may be; those that are open stay."""
        self._permits.resize(permits)

    @property
    def refused(self) -> bool:
        """Whether Deepgram refuses the key or the account."""
        return self._account.breaker.open

    @property
    def waiting(self) -> int:
        """Calls that wait for a place."""
        return self._permits.waiting

    async def wait_for_gate(self, rate: int, wanted: Callable[[], bool]) -> None:
        """Wait until an attempt for audio of this rate makes sense."""
        await self._account.wait(wanted)
        if (query := self._queries.get(rate)) is not None:
            await query.wait(wanted)

    def permit(self, holder: Holder) -> AbstractAsyncContextManager[None]:
        """Hold one of the places."""
        return self._permits.permit(holder)

    def opened(self, rate: int, interaction_id: str) -> None:
        """Take note of a connection that opened for audio of this rate."""
        if interaction_id in self._connected:  # nothing here allows that: this is the proof
            self._metrics.duplicate_connections.inc()
        self._connected.add(interaction_id)
        self.open += 1
        for gate in (self._account, self._queries.pop(rate, None)):
            if gate is not None and gate.breaker.succeeded():
                self._log.info("Deepgram accepts connections again", sample_rate=rate)
                gate.changed()
        self._troubles.end(TROUBLE, trio.current_time())

    def closed(self, interaction_id: str) -> None:
        """Take note of a connection that closed."""
        self._connected.discard(interaction_id)
        self.open -= 1

    def failed(self, failure: ConnectFailed, rate: int) -> bool:
        """Take note of an attempt that failed; return whether trying again soon makes sense."""
        now = trio.current_time()
        self._metrics.failed("connect", time.time())
        whom = concerns(failure.status)
        if whom is Concerns.ATTEMPT:
            if not self.open:
                self._troubles.begin(TROUBLE, now, str(failure))
            return True
        gate = self._account if whom is Concerns.ACCOUNT else self._query(rate)
        opened = gate.breaker.refused(failure.status, now)
        gate.changed()
        # A refused query, beside calls that go well, is this one's trouble.
        if gate.breaker.open if whom is Concerns.ACCOUNT else not self.open:
            self._troubles.begin(TROUBLE, now, str(failure))
        if opened:
            self._log.error(
                f"Deepgram refuses the {whom.value}; audio is kept, one call at a time tries again",
                status=failure.status,
                reason=failure.reason,
                request_id=failure.request_id,
                sample_rate=rate,
            )
        return not gate.breaker.open

    def nobody_waits(self) -> None:
        """Nothing is in trouble for want of a connection any more, unless the account is refused."""
        if not self.wanted and not self._account.breaker.open:
            self._troubles.end(TROUBLE, trio.current_time())

    def _query(self, rate: int) -> Gate:
        return self._queries.setdefault(rate, Gate(self._patience_s))
