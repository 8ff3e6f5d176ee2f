"""The two servers, and workers that own them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.bus.bus_harness import LONG_MS, BusHarness, MemoryBusHarness, RedisBusHarness
from trio.abc import Clock
from trio.testing import MockClock

from trio_asr.bus import memory, streams
from trio_asr.bus.base import Bus, Tenure

READ_COUNT = 5
BLOCK_MS = 60


@pytest.fixture(params=["memory", "redis"])
def clock(request: pytest.FixtureRequest) -> Clock | None:
    """One that jumps for the server in memory, trio's own for the real one: threads and jumps do not mix."""
    return MockClock(autojump_threshold=0) if request.param == "memory" else None


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that wait briefly and have a limit that a test can reach."""
    monkeypatch.setattr(streams, "BLOCK_MS", BLOCK_MS)
    monkeypatch.setattr(streams, "FIRST_COUNT", READ_COUNT)
    monkeypatch.setattr(streams, "READ_COUNT", READ_COUNT)
    monkeypatch.setattr(streams, "LOOK_S", 0.0)
    monkeypatch.setattr(memory, "BLOCK_S", BLOCK_MS / 1000)
    monkeypatch.setattr(memory, "READ_COUNT", READ_COUNT)


@pytest.fixture
async def harness(
    clock: Clock | None, request: pytest.FixtureRequest, quick: None
) -> AsyncIterator[BusHarness]:
    """An empty server of either kind."""
    if clock is not None:
        yield MemoryBusHarness()
        return
    harness = RedisBusHarness(request.getfixturevalue("redis_url"))
    yield harness
    await harness.aclose()


@pytest.fixture
async def bus(harness: BusHarness) -> Bus:
    """A worker that owns the calls."""
    worker = harness.worker()
    assert await worker.acquire(LONG_MS) is Tenure.HELD
    return worker
