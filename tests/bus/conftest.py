"""The two servers, and workers that own them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
import redis
from tests.bus.bus_harness import LONG_MS, BusHarness, MemoryBusHarness, RedisBusHarness
from trio.abc import Clock
from trio.testing import MockClock

from trio_asr.bus import memory, streams
from trio_asr.bus.base import Bus, Tenure

READ_COUNT = 5
BLOCK_MS = 60


@pytest.fixture(params=["memory", "redis", "shared"])
def kind(request: pytest.FixtureRequest) -> str:
    """The server in memory, or a real one; the workers have lines of their own there, or share them."""
    kind: str = request.param
    return kind


@pytest.fixture
def clock(kind: str) -> Clock | None:
    """One that jumps for the server in memory, trio's own for the real one: threads and jumps do not mix."""
    return MockClock(autojump_threshold=0) if kind == "memory" else None


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
def counting(kind: str, request: pytest.FixtureRequest) -> None:
    """A server that counts what was ever added to a stream, as Redis does from 7.0 on."""
    if kind == "memory":
        return
    with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client:
        version = cast("dict[str, str]", client.info("server"))["redis_version"]
    if int(version.split(".")[0]) < 7:
        pytest.skip("this server does not count what is added: it is taken for lost (asr_input_trimmed)")


@pytest.fixture
async def harness(kind: str, request: pytest.FixtureRequest, quick: None) -> AsyncIterator[BusHarness]:
    """An empty server of each kind."""
    if kind == "memory":
        yield MemoryBusHarness()
        return
    harness = RedisBusHarness(request.getfixturevalue("redis_url"), shared=kind == "shared")
    yield harness
    await harness.aclose()


@pytest.fixture
async def bus(harness: BusHarness) -> Bus:
    """A worker that owns the calls."""
    worker = harness.worker()
    assert await worker.acquire(LONG_MS) is Tenure.HELD
    return worker
