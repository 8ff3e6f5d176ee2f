"""That a second connection of a call would be seen."""

from typing import cast

import trio

from trio_asr.bus.lease import Lease
from trio_asr.connections import Connections
from trio_asr.metrics import Metrics
from trio_asr.mock import MockProvider
from trio_asr.troubles import Troubles


async def test_a_second_open_connection_of_a_call_is_counted() -> None:
    """Requirements 19: it pulls the new version back, so it must be seen although nothing here allows it."""
    await trio.lowlevel.checkpoint()
    metrics = Metrics()
    lease = cast("Lease", None)  # nobody dials here
    connections = Connections(
        MockProvider(), limit=5, connect_timeout_s=1, lease=lease, metrics=metrics, troubles=Troubles()
    )
    connections.opened(8000, "a")
    connections.opened(8000, "b")
    connections.closed("a")
    connections.opened(8000, "a")  # a reconnect is none
    assert metrics.duplicate_connections.value == 0
    connections.opened(8000, "b")
    assert metrics.duplicate_connections.value == 1
