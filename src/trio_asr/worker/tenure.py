"""A tenure: what works while this worker owns the calls of a shard. Built here, for tests as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from trio_asr.bus.base import Bus
from trio_asr.bus.committer import Committer
from trio_asr.bus.lease import Lease
from trio_asr.core.reader_state import ReaderOutbox
from trio_asr.interaction.services import Services
from trio_asr.worker.calls import Calls
from trio_asr.worker.dispatcher import Dispatcher
from trio_asr.worker.housekeeping import Housekeeping
from trio_asr.worker.office import Office, Shard
from trio_asr.worker.restoring import open_reader_outbox, reader_changed


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
    nursery: trio.Nursery, office: Office, bus: Bus, lease: Lease, shard: Shard = None
) -> Tenure:
    """Build the parts, once the bus has told the reader's state. `nursery` will hold the calls.

    The tenure is one of the office's from then on. `WentBack` may end the nursery.
    """

    def on_stale(owner: str) -> None:
        if owner:
            calls.restart(owner, "its stored state was changed by somebody else")
        else:
            nursery.start_soon(reader_changed, bus, calls, services, reader_outbox)

    services = build_services(office, bus, lease, shard, on_stale=on_stale)
    reader_outbox = await open_reader_outbox(bus, services)
    services.config = office.config.of_shard(shard)  # it may have been reloaded meanwhile
    calls = Calls(nursery, bus, services)
    dispatcher = Dispatcher(bus, calls, services, reader_outbox)
    housekeeping = Housekeeping(bus, calls, dispatcher, services)
    tenure = Tenure(services, calls, dispatcher, housekeeping, reader_outbox)
    office.tenures[shard] = tenure
    return tenure


def build_services(
    office: Office, bus: Bus, lease: Lease, shard: Shard = None, *, on_stale: Callable[[str], None]
) -> Services:
    """Build what all calls of a tenure share. `on_stale` is told whose state somebody else has changed."""
    problems = office.problems.of_shard(shard)
    committer = Committer(bus, lease, office.metrics, problems, internal=office.internal, on_stale=on_stale)
    return Services(
        office.config.of_shard(shard), office.admission, committer, lease, office.metrics, problems,
        office.internal, office.totals,
    )  # fmt: skip
