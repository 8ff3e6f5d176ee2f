"""Admission control in front of the provider: a circuit breaker's gate, then a semaphore.

Calls beyond `deepgram.max_connections` wait for a permit (`permits`), and their audio waits with them. A call
that reconnects keeps its permit while its audio flows. After a refusal that no retry can mend, the calls it
concerns wait at a gate without holding a permit. One of them at a time, first in, first out, probes whether
the refusal still stands.
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
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import ErrorKind, Problem


class Gate:
    """The queue of calls that wait while one circuit breaker is open."""

    def __init__(self, patience_s: float) -> None:
        self.breaker = Breaker()
        self._patience_s = patience_s
        self._turn = trio.StrictFIFOLock()
        self._changed = trio.Event()

    async def wait(self, wanted: Callable[[], bool]) -> None:
        """Wait until the breaker is closed, or until it is this call's turn to probe.

        Turns are first in, first out. `wanted` is asked once the turn comes: a call that no longer wants a
        connection does not use the probe up.
        """
        async with self._turn:
            while self.breaker.next_probe() > trio.current_time():
                with trio.move_on_at(self.breaker.next_probe()):
                    await self._changed.wait()
            if wanted():
                self.breaker.probing(trio.current_time(), self._patience_s)

    def changed(self) -> None:
        """Wake the call at the head of the queue, after the breaker has changed."""
        self._changed.set()
        self._changed = trio.Event()


class Admission:
    """The provider behind its admission control, and the record of which calls are connected.

    `provider` makes the connections. `open` counts those that are open. `wanted` counts the calls that have
    audio to connect for, whether they are connected or still wait.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        limit: int,
        connect_timeout_s: float,
        metrics: Metrics,
        problems: Problems,
    ) -> None:
        self.provider = provider
        self.open = 0
        self.wanted = 0
        self._permits = Permits(limit)
        self._patience_s = connect_timeout_s + 1
        self._account = Gate(self._patience_s)
        # Gates of refused queries, by format: in all else the query is the same for all calls.
        self._queries: dict[Format, Gate] = {}
        self._connected: set[str] = set()  # calls
        self._metrics, self._problems = metrics, problems
        self._log = logs.get("connections")

    def resize(self, permits: int) -> None:
        """Set the number of permits. Connections that are open stay open."""
        self._permits.resize(permits)

    @property
    def refused(self) -> bool:
        """Whether the account's breaker is open: Deepgram refuses the key or the account."""
        return self._account.breaker.open

    @property
    def waiting(self) -> int:
        """The number of calls that wait for a permit."""
        return self._permits.waiting

    async def wait_for_gate(self, fmt: Format, wanted: Callable[[], bool]) -> None:
        """Wait until an attempt makes sense for audio of a format.

        First at the account's gate, then at that of the query. There is no limit on the wait: the caller's
        audio waits with it, within the bounds of the call.
        """
        await self._account.wait(wanted)
        if (query := self._queries.get(fmt)) is not None:
            await query.wait(wanted)

    def permit(self, holder: Holder) -> AbstractAsyncContextManager[None]:
        """Return a context manager that holds a permit. Entering it waits, first in, first out."""
        return self._permits.permit(holder)

    def opened(self, fmt: Format, interaction_id: str) -> None:
        """Record that a call's connection for audio of a format has opened.

        This closes the account's breaker and drops the query's, and wakes the calls that wait at them.
        """
        if interaction_id in self._connected:  # nothing here allows that: this is the proof
            self._metrics.duplicate_connections.inc()
        self._connected.add(interaction_id)
        self.open += 1
        for gate in (self._account, self._queries.pop(fmt, None)):
            if gate is not None and gate.breaker.succeeded():
                self._log.info("Deepgram accepts connections again", **fmt.fields)
                gate.changed()
        self._problems.resolve(Problem.DEEPGRAM, trio.current_time())

    def closed(self, interaction_id: str) -> None:
        """Record that a call's connection has closed."""
        self._connected.discard(interaction_id)
        self.open -= 1

    def failed(self, failure: ConnectFailed, fmt: Format) -> bool:
        """Record an attempt that failed; return whether a retry after a backoff makes sense.

        False means that the breaker is open: the call gives its permit back and waits at the gate.
        """
        now = trio.current_time()
        self._metrics.failed(ErrorKind.CONNECT, time.time())
        whom = concerns(failure.status)
        if whom is Concerns.ATTEMPT:
            if not self.open:
                self._problems.report(Problem.DEEPGRAM, now, str(failure))
            return True
        gate = self._account if whom is Concerns.ACCOUNT else self._query(fmt)
        opened = gate.breaker.refused(failure.status, now)
        gate.changed()
        # While other calls are connected, a refused query is one call's problem, not the daemon's.
        if gate.breaker.open if whom is Concerns.ACCOUNT else not self.open:
            self._problems.report(Problem.DEEPGRAM, now, str(failure))
        if opened:
            self._log.error(
                f"Deepgram refuses the {whom.value}; audio is kept, one call at a time tries again",
                status=failure.status,
                reason=failure.reason,
                request_id=failure.request_id,
                **fmt.fields,
            )
        return not gate.breaker.open

    def nobody_waits(self) -> None:
        """End the trouble once no call wants a connection, unless the account is still refused."""
        if not self.wanted and not self._account.breaker.open:
            self._problems.resolve(Problem.DEEPGRAM, trio.current_time())

    def _query(self, fmt: Format) -> Gate:
        return self._queries.setdefault(fmt, Gate(self._patience_s))
