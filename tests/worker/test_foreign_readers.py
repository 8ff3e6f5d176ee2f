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
from tests.worker_harness import RoughBus
from trio.testing import MockClock

from trio_asr.bus.base import BusForbids, Consumer
from trio_asr.bus.memory import MemoryStore
from trio_asr.bus.redis import RedisBus
from trio_asr.config import Config, HttpConfig
from trio_asr.config.sections import RedisConfig
from trio_asr.daemon import Daemon
from trio_asr.deepgram.mock import MockProvider
from trio_asr.lab.rig.processes import rig
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.web.app import not_ready
from trio_asr.worker.foreign_readers import ACTIVE_MS, ForeignConsumerError, advice, latest
from trio_asr.worker.solo import Solo

GROUP = "asr-worker"
OLD = Consumer("audio_stream", GROUP, "consumer-1-sub-1-x", 400)
NEIGHBOUR = OLD._replace(group="agent-assist")


def worker(store: MemoryStore, bus: RoughBus | None = None, **more: Any) -> Daemon:
    config = Config(http=HttpConfig(port=0), redis=RedisConfig(lease_ms=5000, **more))
    return Daemon(config, bus or RoughBus(store), MockProvider(), Metrics(), Notifier({}))


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
    said = advice(OLD)
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
        bus = cast("RoughBus", cast("Solo", daemon.work)._bus)
        assert bus.floors == ("0-0", "0-0")  # the group's position is the other's


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
        client.xadd(stream, {"data": "{}"})  # before 7.2 a read that brings nothing is not seen
        client.xreadgroup(group, "consumer-7-sub-1-abc", {stream: ">"}, count=10, block=10)


async def test_on_a_real_server(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    bus = RedisBus(redis_url, group=GROUP, audio_stream="audio_stream", end_stream="call_end")
    try:
        assert await bus.consumers() == []  # no stream
        await bus.show_lag("0-0", "0-0")
        assert await bus.consumers() == []  # our own group
        assert await bus.neighbours() == []
        read_as_the_old_worker(client, "another")
        assert await bus.consumers() == []
        assert [(one.group, one.stream) for one in await bus.neighbours()] == [("another", "audio_stream")]
        read_as_the_old_worker(client)
        assert {one.stream for one in await bus.consumers()} == {"audio_stream", "call_end"}
        found = latest(await bus.consumers())
        assert found is not None
        assert found.name == "consumer-7-sub-1-abc"
        assert found.idle_ms < 1000
        time.sleep(0.3)  # noqa: ASYNC251 (the server's clock)
        assert min(one.idle_ms for one in await bus.consumers() if one.stream == "audio_stream") >= 300
    finally:
        await bus.aclose()
        client.close()


async def test_on_a_real_server_that_forbids_it(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.execute_command("ACL", "SETUSER", "blind", "on", ">a-password", "~*", "+@all", "-xinfo")  # type: ignore[no-untyped-call]
    url = redis_url.replace("redis://", "redis://blind:a-password@")
    bus = RedisBus(url, group=GROUP, audio_stream="audio_stream", end_stream="call_end")
    try:
        read_as_the_old_worker(client)
        for ask in (bus.consumers, bus.neighbours):
            with pytest.raises(BusForbids, match="xinfo"):
                await ask()
    finally:
        await bus.aclose()
        client.execute_command("ACL", "DELUSER", "blind")  # type: ignore[no-untyped-call]
        client.close()


class BlindBus(RoughBus):
    async def consumers(self) -> list[Consumer]:
        await trio.lowlevel.checkpoint()
        raise BusForbids("no permissions to run XINFO")

    neighbours = consumers


async def test_where_it_may_not_look_it_says_so_once(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user without that right may work; a guard that is off must not look like one that found nobody."""
    store = MemoryStore()
    first, second = worker(store), worker(store, bus=BlindBus(store))
    async with running(first):
        await trio.sleep(1)
        async with running(second):
            await trio.sleep(10)  # a standby asks again and again
            first.stop()
            await trio.sleep(2)
            assert role(second) == "active"
    assert capsys.readouterr().err.count("May not look whether another program reads") == 1


@pytest.mark.parametrize(("neighbour", "told"), [(NEIGHBOUR, 1), (NEIGHBOUR._replace(idle_ms=ACTIVE_MS), 0)])
async def test_beside_another_group_it_starts_and_says_so(
    neighbour: Consumer, told: int, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old worker's group may have another name than is configured; a shadow wants just that."""
    store = MemoryStore()
    store.neighbours = [neighbour]
    daemon = worker(store)
    async with running(daemon):
        await trio.sleep(5)
        assert daemon.role == "active"
        assert daemon.problems(trio.current_time()) == {}
    said = capsys.readouterr().err
    assert said.count("Another group of the audio stream is being read") == told
    assert ("agent-assist" in said) == bool(told)


@pytest.mark.integration
async def test_the_process_ends_with_one_line(tmp_path: Path) -> None:
    async with rig(tmp_path, settings={"asr": {"provider": "mock"}}) as r:
        client = redis.Redis.from_url(r.valkey.url)
        read_as_the_old_worker(client)
        refused = r.worker()
        await refused.start()
        with trio.fail_after(60):
            while refused.running:  # however long the start takes, the other one is at work
                await trio.sleep(0.5)
                read_as_the_old_worker(client)
        assert await refused.ended() == 1
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
