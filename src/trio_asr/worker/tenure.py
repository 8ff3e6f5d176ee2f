"""A tenure: what works while this worker owns the calls. Built here, for the daemon and for tests alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_asr.bus.base import Bus
from trio_asr.bus.committer import Committer
from trio_asr.bus.lease import Lease
from trio_asr.config import Config
from trio_asr.core.reader_state import ReaderOutbox
from trio_asr.deepgram.admission import Admission
from trio_asr.deepgram.provider import Provider
from trio_asr.interaction.services import Services
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.problems import Problems
from trio_asr.worker.calls import Calls
from trio_asr.worker.dispatcher import Dispatcher
from trio_asr.worker.housekeeping import Housekeeping
from trio_asr.worker.restoring import open_reader_outbox


@dataclass(frozen=True)
class Tenure:
    """The parts of one tenure. None of their tasks runs yet."""

    services: Services
    calls: Calls
    dispatcher: Dispatcher
    housekeeping: Housekeeping
    reader_outbox: ReaderOutbox

    async def run(self) -> None:
        """Read, dispatch and look after the calls. Never returns.

        The committer outlives this, and runs by itself.

        Raises:
            ExceptionGroup: A bug in a task that no call contains.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.dispatcher.run)
            nursery.start_soon(self.housekeeping.run)


async def build_tenure(
    nursery: trio.Nursery, config: Config, bus: Bus, lease: Lease, *, provider: Provider, metrics: Metrics,
    problems: Problems, internal: InternalErrors,
) -> Tenure:  # fmt: skip
    """Build the parts, once the bus has told the reader's state. `nursery` will hold the calls."""

    def on_stale(owner: str) -> None:
        calls.stale(owner)

    services = build_services(
        config,
        bus,
        lease,
        provider=provider,
        metrics=metrics,
        problems=problems,
        internal=internal,
        on_stale=on_stale,
    )
    reader_outbox = await open_reader_outbox(bus, services)
    calls = Calls(nursery, bus, services)
    dispatcher = Dispatcher(bus, calls, services, reader_outbox)
    housekeeping = Housekeeping(bus, calls, dispatcher, services)
    return Tenure(services, calls, dispatcher, housekeeping, reader_outbox)


def build_services(
    config: Config, bus: Bus, lease: Lease, *, provider: Provider, metrics: Metrics, problems: Problems,
    internal: InternalErrors, on_stale: Callable[[str], None],
) -> Services:  # fmt: skip
    """Build what all calls share. `on_stale` is told whose stored state somebody else has changed."""
    connections = Admission(
        provider,
        limit=config.deepgram.max_connections,
        connect_timeout_s=config.deepgram.connect_timeout_ms / 1000,
        metrics=metrics,
        problems=problems,
    )
    committer = Committer(bus, lease, metrics, problems, internal=internal, on_stale=on_stale)
    return Services(config, connections, committer, lease, metrics, problems, internal)
