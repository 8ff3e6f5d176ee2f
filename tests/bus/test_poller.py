"""Shards that are read together: what one of them holds costs the others nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
import trio

from trio_asr.bus import poller, streams
from trio_asr.bus.base import Batch, BusUnavailable, KeyMisused
from trio_asr.bus.connection import PipelinedConnection, options
from trio_asr.bus.poller import Poller
from trio_asr.bus.streams import StreamReader
from trio_asr.wire.ids import ORIGIN

COUNT = 6


class Shards:
    """Some shards on one server, read over one poller."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self.connection = PipelinedConnection(url, options(), streams.MOST_BYTES)
        self.poller = Poller("test-read", self.connection)
        self.readers = [StreamReader(f"{{{i}}}:audio", f"{{{i}}}:ends", polled=True) for i in range(COUNT)]
        self.read: list[list[bytes]] = [[] for _ in range(COUNT)]  # the ids
        self.errors: list[list[BusUnavailable]] = [[] for _ in range(COUNT)]

    def add(self, shard: int, data: bytes = b"x", *, stream: str = "audio") -> bytes:
        added: bytes = self.client.xadd(f"{{{shard}}}:{stream}", {"m": data})  # type: ignore[assignment]
        return added

    async def once(self, shard: int, after: str = ORIGIN) -> Batch:
        return await self.poller.read(self.readers[shard], after, ORIGIN)

    async def keep_reading(self, shard: int) -> None:
        while True:
            try:
                batch = await self.once(shard, (self.read[shard] or [ORIGIN.encode()])[-1].decode())
            except BusUnavailable as error:
                self.errors[shard].append(error)
                await trio.sleep(0.01)
            else:
                self.read[shard] += [raw for raw, _ in batch.audio]


@pytest.fixture
async def shards(redis_url: str) -> AsyncIterator[Shards]:
    one = Shards(redis_url)
    yield one
    one.poller.close()
    one.client.close()


async def test_all_shards_are_read_and_none_waits_for_another(shards: Shards) -> None:
    """Large entries in one shard, another that is no stream, one that is empty."""
    shards.client.set("{1}:audio", "no stream")
    shards.client.set("{4}:ends", "no stream")
    added: list[list[bytes]] = [[] for _ in range(COUNT)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for shard in range(COUNT):
                nursery.start_soon(shards.keep_reading, shard)
            for _ in range(5):
                for shard in (0, 3, 4, 5):
                    data = bytes(3_000_000) if shard == 0 else bytes(400)
                    added[shard] += [shards.add(shard, data) for _ in range(1 + 20 * (shard > 0))]
                while shards.read != added:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert {type(error) for error in shards.errors[1]} == {KeyMisused}
    assert [len(errors) for errors in shards.errors if errors] == [len(shards.errors[1])]


async def test_much_to_catch_up_with_comes_in_bearable_replies(shards: Shards) -> None:
    """However many shards are behind: no reply is cut off, once the size of the entries is known."""
    with shards.client.pipeline(transaction=False) as pipe:
        for shard in range(COUNT):
            for _ in range(3000):
                pipe.xadd(f"{{{shard}}}:audio", {"m": bytes(2300)})
        pipe.execute()
    least, ask = [0], shards.connection._round_trip

    def spied(*args: object) -> list[object]:
        try:
            return ask(*args)  # type: ignore[arg-type]
        finally:
            least[0] = min(least[0], shards.connection._left[0])

    shards.connection._round_trip = spied  # type: ignore[method-assign,assignment]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for shard in range(COUNT):
                nursery.start_soon(shards.keep_reading, shard)
            while {len(read) for read in shards.read} != {3000}:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert least[0] >= 0


async def test_a_shard_without_entries_is_answered_all_the_same(
    shards: Shards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And asked for less often, once it has been quiet for a while."""
    monkeypatch.setattr(streams, "BLOCK_MS", 100)
    asked, ask = list[int](), shards.connection._round_trip

    def spied(commands: list[object]) -> list[object]:
        asked.append(sum(command[0] == "XREAD" for command in commands))  # type: ignore[index]
        return ask(commands)  # type: ignore[arg-type]

    shards.connection._round_trip = spied  # type: ignore[method-assign,assignment]
    with trio.fail_after(60):
        assert not any(await shards.once(0))
        monkeypatch.setattr(poller, "QUIET_CADENCE_S", 100.0)
        asked.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shards.keep_reading, 0)
            while not asked:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await trio.sleep(0.3)
            assert sum(asked) == 1
            nursery.cancel_scope.cancel()


async def test_a_closed_poller_lets_nobody_wait(shards: Shards) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shards.keep_reading, 0)
            await trio.sleep(0.1)
            shards.poller.close()
            while not shards.errors[0]:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert "closed" in str(shards.errors[0][-1])
