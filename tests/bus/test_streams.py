"""Reading streams that hold anything, on a real server: sizes, types, last ids."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import redis
from tests.bus.bus_harness import AUDIO, ENDS, LONG_MS, RedisBusHarness

from trio_asr.bus import connection, streams
from trio_asr.bus.base import BusUnavailable, KeyMisused, Tenure
from trio_asr.bus.redis import RedisBus
from trio_asr.bus.server import OwnServer
from trio_asr.wire import ids
from trio_asr.wire.frames import MAX_ENTRY_BYTES
from trio_asr.wire.ids import ORIGIN

HUGE = 60_000_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CADENCE_S", 0.0)
    monkeypatch.setattr(streams, "LEAST_CADENCE_S", 0.0)
    monkeypatch.setattr(streams, "BLOCK_MS", 30)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes take as long as they take on a machine that has other work, too."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 60.0)


@asynccontextmanager
async def owned(url: str) -> AsyncIterator[tuple[RedisBusHarness, RedisBus]]:
    harness = RedisBusHarness(url)
    bus = harness.worker()
    assert await bus.acquire(LONG_MS) is Tenure.HELD
    yield harness, bus
    await harness.aclose()


async def read_all(bus: RedisBus, count: int, after: str = ORIGIN) -> list[tuple[str, int]]:
    """Read so many entries; return their ids and the sizes of their data."""
    found: list[tuple[str, int]] = []
    for _ in range(10 * count):
        with suppress(BusUnavailable):
            batch = await bus.read(found[-1][0] if found else after, ORIGIN)
            found += [(raw.decode(), len(ids.field(fields, b"data") or b"")) for raw, fields in batch.audio]
        if len(found) >= count:
            break
    return found


async def read_again_all(bus: RedisBus, after: str = ORIGIN) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    full = True
    while full:
        page = await bus.read_again(found[-1][0] if found else after)
        found += [(raw.decode(), len(ids.field(fields, b"data") or b"")) for raw, fields in page.entries]
        full = page.full
    return found


SIZES = (300, HUGE, 300, 1_800_000, 1_800_000, MAX_ENTRY_BYTES, 300, HUGE, HUGE, *[1_800_000] * 20, 300, 300)


async def test_entries_of_any_size(redis_url: str) -> None:
    """All come, in order, those that are too large cut to what says so; no reply is above its bound."""
    async with owned(redis_url) as (harness, bus):
        added = [(harness.add(AUDIO, bytes(size)), size) for size in SIZES]
        expected = [(entry, min(size, MAX_ENTRY_BYTES + 1)) for entry, size in added]
        least = [0]
        server = cast("OwnServer", bus._server)
        for line in (server._reading, server._behind):
            spy(line._connection, least)
        assert await read_all(bus, len(SIZES)) == expected
        assert await read_again_all(bus) == expected
        assert least[0] >= -(2**20), "one read from the socket over the bound ends it"


async def test_of_an_entry_that_is_too_large_the_field_that_counts_is_told(redis_url: str) -> None:
    cut, none = bytes(MAX_ENTRY_BYTES + 1), b""
    told = [
        ({"m": bytes(HUGE)}, [b"m", cut]),
        ({"data": b"{}", "m": bytes(HUGE)}, [b"m", cut]),
        ({"data": bytes(HUGE), "m": b"\x80"}, [b"m", b"\x80"]),
        ({"x": b"y", "data": bytes(HUGE)}, [b"data", cut]),
        ({"x": bytes(HUGE)}, [b"data", none]),
    ]
    async with owned(redis_url) as (harness, bus):
        for entry, _ in told:
            harness.client.xadd(AUDIO, entry)  # type: ignore[arg-type]
        page = await bus.read_again(ORIGIN)
        found = [fields for _, fields in page.entries]
        while page.full:
            page = await bus.read_again(page.entries[-1][0].decode())
            found += [fields for _, fields in page.entries]
        assert found == [fields for _, fields in told]


def spy(line: Any, least: list[int]) -> None:
    ask = line.ask

    def asked(*args: Any, **kwargs: Any) -> Any:
        try:
            return ask(*args, **kwargs)
        finally:
            least[0] = min(least[0], line._left[0])

    line.ask = asked


async def test_small_entries_after_large_ones_come_many_at_a_time(redis_url: str) -> None:
    async with owned(redis_url) as (harness, bus):
        last = harness.add(AUDIO, bytes(HUGE))
        added = [harness.add(AUDIO, bytes(400)) for _ in range(3000)]
        reads = 0
        read, position = list[str](), ids.before(last)
        while len(read) < 3001 and reads < 200:
            batch = await bus.read(position, ORIGIN)
            read += [raw.decode() for raw, _ in batch.audio]
            position, reads = read[-1], reads + 1
        assert read == [last, *added]
        assert reads <= 12


@pytest.mark.parametrize("name", ["data", "other"])
async def test_a_huge_entry_that_is_the_last_one_comes_once(redis_url: str, name: str) -> None:
    """While nothing else comes, nothing of it is sent again, and the connection stays."""
    async with owned(redis_url) as (harness, bus):
        harness.add(AUDIO, b"small")
        last = harness.client.xadd(AUDIO, {"data": b"x", name: bytes(HUGE)}).decode()  # type: ignore[union-attr]
        assert (await read_all(bus, 2))[-1][0] == last
        await bus.read(last, ORIGIN)

        def sent() -> tuple[int, int]:
            stats: dict[str, int] = harness.client.info("stats")
            return stats["total_connections_received"], stats["total_net_output_bytes"]

        before = sent()
        for _ in range(5):
            assert (await bus.read(last, ORIGIN)).audio == []
        after = sent()
        assert after[0] == before[0]
        assert after[1] - before[1] < 100_000
        following = harness.add(AUDIO, b"x")
        batch = await bus.read(last, ORIGIN)
        assert [raw.decode() for raw, _ in batch.audio] == [following]
        assert batch.trimmed is None


async def test_large_ends_hold_up_no_audio(redis_url: str) -> None:
    async with owned(redis_url) as (harness, bus):
        ends = [harness.add(ENDS, bytes(3_000_000)) for _ in range(10)]
        audio = [harness.add(AUDIO, bytes(400)) for _ in range(200)]
        read: dict[str, list[str]] = {AUDIO: [ORIGIN], ENDS: [ORIGIN]}
        for _ in range(60):
            batch = await bus.read(read[AUDIO][-1], read[ENDS][-1])
            read[AUDIO] += [raw.decode() for raw, _ in batch.audio]
            read[ENDS] += [raw.decode() for raw, _ in batch.ends]
        assert read == {AUDIO: [ORIGIN, *audio], ENDS: [ORIGIN, *ends]}


async def test_a_stream_of_ends_that_is_none(redis_url: str) -> None:
    """Audio is read on; once it is one again, its entries come."""
    async with owned(redis_url) as (harness, bus):
        harness.client.set(ENDS, "x")
        entry = harness.add(AUDIO, b"x")
        batch = await bus.read(ORIGIN, ORIGIN)
        assert [raw.decode() for raw, _ in batch.audio] == [entry]
        assert await bus.misused() == [ENDS]
        harness.client.delete(ENDS)
        end = harness.add(ENDS, b"x")
        batch = await bus.read(entry, ORIGIN)
        assert [raw.decode() for raw, _ in batch.ends] == [end]
        assert await bus.misused() == []


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
async def test_an_audio_stream_that_is_none(redis_url: str, kind: str) -> None:
    async with owned(redis_url) as (harness, bus):
        client: redis.Redis = harness.client
        put = {
            "string": lambda: client.set(AUDIO, "x"),
            "list": lambda: client.rpush(AUDIO, "x"),
            "hash": lambda: client.hset(AUDIO, "x", "y"),
        }
        put[kind]()  # type: ignore[no-untyped-call]
        for _ in range(2):
            with pytest.raises(KeyMisused) as caught:
                await bus.read(ORIGIN, ORIGIN)
            assert caught.value.key == AUDIO
        client.delete(AUDIO)
        entry = harness.add(AUDIO, b"x")
        assert (await read_all(bus, 1)) == [(entry, 1)]


async def test_the_last_ids_are_looked_at_where_nothing_comes(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of entries that are gone; a stream that is not there has none."""
    monkeypatch.setattr(streams, "LOOK_S", 0.0)
    async with owned(redis_url) as (harness, bus):
        assert (await bus.read(ORIGIN, ORIGIN))[5:8] == (None, None, None)
        audio, end = harness.add(AUDIO, b"x"), harness.add(ENDS, b"x")
        harness.client.xdel(AUDIO, audio)
        batch = await bus.read(audio, end)
        assert (batch.last_audio, batch.last_end) == (audio, end)
        batch = await bus.read("9999999999999-0", "9999999999999-0")
        assert (batch.last_audio, batch.last_end) == (audio, end)
        harness.client.delete(AUDIO)
        batch = await bus.read(audio, ORIGIN)
        assert (batch.last_audio, batch.last_end) == (None, None), "ends came, audio has no stream"


async def test_what_was_cut_off_unread_is_told(redis_url: str) -> None:
    async with owned(redis_url) as (harness, bus):
        added = [harness.add(AUDIO, bytes(300)) for _ in range(6)]
        assert len(await read_all(bus, 6)) == 6
        harness.client.xtrim(AUDIO, minid=added[4], approximate=False)
        batch = await bus.read(added[2], ORIGIN)
        assert batch.trimmed == ids.before(added[4])
        assert [raw.decode() for raw, _ in batch.audio] == added[4:]


async def test_ids_at_the_end_of_their_range(redis_url: str) -> None:
    """Somebody has used up the ids of a stream: it is read to its very end, and again."""
    top = f"{2**64 - 1}-{2**64 - 1}"
    async with owned(redis_url) as (harness, bus):
        harness.client.xadd(AUDIO, {"data": b"a"}, id=f"{2**64 - 1}-{2**64 - 2}")
        harness.client.xadd(AUDIO, {"data": b"b"}, id=top)
        assert [size for _, size in await read_all(bus, 2)] == [1, 1]
        assert (await bus.read(top, ORIGIN)).audio == []
        with suppress(BusUnavailable):
            assert (await bus.read_again(top)).entries == []
        assert [entry for entry, _ in itertools.islice(await read_again_all(bus), 2)][-1] == top
