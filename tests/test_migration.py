"""The old worker reads in the consumer group: this one does not start beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import trio
from tests.office import RoughBus
from trio.testing import MockClock

from trio_asr.bus.base import Consumer
from trio_asr.bus.memory import MemoryStore
from trio_asr.bus.redis import RedisBus, consumers_of
from trio_asr.config import Config, HttpConfig
from trio_asr.config.sections import RedisConfig
from trio_asr.daemon import Daemon
from trio_asr.metrics import Metrics
from trio_asr.migration import ACTIVE_MS, ForeignConsumerError, advice, foreign_consumer
from trio_asr.mock import MockProvider
from trio_asr.notify import Notifier
from trio_asr.tools.rig.processes import rig
from trio_asr.web.app import not_ready

GROUP = "asr-worker"
OLD = Consumer("audio_stream", "consumer-1-sub-1-x", 400)


def worker(store: MemoryStore, **more: Any) -> Daemon:
    config = Config(http=HttpConfig(port=0), redis=RedisConfig(lease_ms=5000, **more))
    return Daemon(config, RoughBus(store), MockProvider(), Metrics(), Notifier({}))


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.run)
        yield
        daemon.stop()


async def test_it_does_not_start_beside_an_active_one(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    store.consumers = [OLD]
    with pytest.RaisesGroup(ForeignConsumerError, flatten_subgroups=True):
        await worker(store).run()
    assert store.lease is None


def test_what_it_says() -> None:
    said = advice(OLD, GROUP)
    for part in (GROUP, OLD.name, "audio_stream", "0.4 s ago", "REDIS_CONSUMER_GROUP", "transcript_stream"):
        assert part in said
    assert "\n" not in said


async def test_an_idle_one_is_no_hindrance(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    store.consumers = [OLD._replace(idle_ms=ACTIVE_MS)]
    daemon = worker(store)
    async with running(daemon):
        await trio.sleep(1)
        assert daemon.role == "active"


async def test_it_can_be_allowed(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    store.consumers = [OLD]
    daemon = worker(store, allow_foreign_consumers=True)
    async with running(daemon):
        await trio.sleep(3)
        assert daemon.role == "active"
        assert cast("RoughBus", daemon._bus).floor == "0-0"  # the group's position is the other's


async def test_a_standby_does_not_take_over_beside_one(autojump_clock: MockClock) -> None:
    """It stays, says so, and takes over once the other is gone: nobody need start it again."""
    store = MemoryStore()
    first, second = worker(store), worker(store)
    async with running(first):
        await trio.sleep(1)
        async with running(second):
            await trio.sleep(2)
            store.consumers = [OLD]
            first.stop()
            await trio.sleep(10)
            assert (store.lease, role(second)) == (None, "standby")
            assert any("foreign consumer" in reason for reason in not_ready(second, trio.current_time()))
            store.consumers = []
            await trio.sleep(2)
            assert role(second) == "active"
            assert second.problems(trio.current_time()) == {}


def role(daemon: Daemon) -> str:
    return daemon.role


def read_as_the_old_worker(client: redis.Redis, group: str = GROUP) -> None:
    for stream in ("audio_stream", "call_end"):
        with suppress(redis.ResponseError):  # it is there
            client.xgroup_create(stream, group, "0", mkstream=True)
        client.xreadgroup(group, "consumer-7-sub-1-abc", {stream: ">"}, count=10, block=10)


async def test_on_a_real_server(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    bus = RedisBus(redis_url, group=GROUP, audio_stream="audio_stream", end_stream="call_end")
    try:
        assert await bus.consumers() == []  # no stream
        await bus.show_lag("0-0")
        assert await bus.consumers() == []  # our own group
        read_as_the_old_worker(client, "another")
        assert await bus.consumers() == []
        read_as_the_old_worker(client)
        assert {one.stream for one in await bus.consumers()} == {"audio_stream", "call_end"}
        found = await foreign_consumer(bus)
        assert found is not None
        assert found.name == "consumer-7-sub-1-abc"
        assert found.idle_ms < 1000
        time.sleep(0.3)  # noqa: ASYNC251 (the server's clock)
        assert min(one.idle_ms for one in consumers_of(client, GROUP, ["audio_stream"])) >= 300
    finally:
        await bus.aclose()
        client.close()


@pytest.mark.integration
async def test_the_process_ends_with_one_line(tmp_path: Path) -> None:
    async with rig(tmp_path, settings={"asr": {"provider": "mock"}}) as r:
        client = redis.Redis.from_url(r.valkey.url)
        read_as_the_old_worker(client)
        refused = r.worker()
        await refused.start()
        assert await refused.ended(20) == 1
        last = refused.output().splitlines()[-1]
        assert "Traceback" not in refused.output()
        for part in ("consumer-7-sub-1-abc", f"'{GROUP}'", "s ago", "REDIS_CONSUMER_GROUP"):
            assert part in last
        # The way out that it names: in the shadow of the other one.
        shadow = r.worker(
            {"redis": {"consumer_group": "shadow", "transcript_stream": "shadow.{interaction_id}"}}
        )
        await shadow.start_and_wait()
        client.close()
