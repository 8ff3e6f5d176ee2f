"""Until when a worker may dial and send, on the autojump clock."""

from __future__ import annotations

import pytest
import trio
from tests.worker_harness import RoughBus
from trio.testing import MockClock

from trio_asr.bus.base import BusUnavailable, Tenure
from trio_asr.bus.lease import Lease, OwnershipLost
from trio_asr.bus.memory import MemoryStore

TTL_MS = 5_000
HOLDS_S = 4.0  # less its margin of a fifth


def lose_data(store: MemoryStore) -> None:
    store.lease = store.fence = None


class SlowBus(RoughBus):
    """Answers take their time."""

    answer_s = 0.0
    lost = 0  # answers to `acquire` that do not arrive

    async def acquire(self, ttl_ms: int, *, patient: bool = False) -> Tenure:
        tenure = await super().acquire(ttl_ms, patient=patient)
        if self.lost:
            self.lost -= 1
            raise BusUnavailable("the answer is lost")
        return tenure

    async def renew(self, ttl_ms: int) -> Tenure:
        tenure = await super().renew(ttl_ms)
        await trio.sleep(self.answer_s)
        return tenure


async def test_it_holds_for_less_than_redis_keeps_it(autojump_clock: MockClock) -> None:
    lease = Lease(RoughBus(MemoryStore()), TTL_MS)
    assert not lease.valid(trio.current_time())
    assert await lease.acquire()
    assert lease.valid(HOLDS_S - 0.001)
    assert not lease.valid(HOLDS_S)
    assert lease.period_s <= HOLDS_S / 3, "some renewals may fail"


async def test_a_renewal_counts_from_when_it_was_asked_for(autojump_clock: MockClock) -> None:
    """Its answer may come late: Redis counts from before that."""
    bus = SlowBus(MemoryStore())
    lease = Lease(bus, TTL_MS)
    await lease.acquire()
    bus.answer_s = 3.0
    await trio.sleep(1)
    await lease.renew()
    assert lease.valid(1 + HOLDS_S - 0.001)
    assert not lease.valid(1 + HOLDS_S)


async def test_it_runs_out_while_redis_is_away(autojump_clock: MockClock) -> None:
    """Those who wait to dial go on when it holds again."""
    bus = RoughBus(MemoryStore())
    lease = Lease(bus, TTL_MS)
    await lease.acquire()
    bus.away = True
    await trio.sleep(HOLDS_S)
    with pytest.raises(BusUnavailable):
        await lease.renew()
    assert not lease.valid(trio.current_time())
    dialled = []

    async def dial() -> None:
        await lease.wait_valid()
        dialled.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.sleep(10)
        assert dialled == []
        bus.away = False
        await lease.renew()
    assert dialled == [HOLDS_S + 10]


async def test_another_owner(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    mine, theirs = Lease(RoughBus(store), TTL_MS), Lease(RoughBus(store), TTL_MS)
    assert await mine.acquire()
    assert not await theirs.acquire()
    await trio.sleep(TTL_MS / 1000)
    assert not mine.valid(trio.current_time())
    assert await theirs.acquire()
    with pytest.raises(OwnershipLost):
        await mine.renew()
    assert not mine.valid(trio.current_time())


async def test_released(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    mine, theirs = Lease(RoughBus(store), TTL_MS), Lease(RoughBus(store), TTL_MS)
    await mine.acquire()
    await mine.release()
    assert not mine.valid(trio.current_time())
    assert await theirs.acquire()


@pytest.mark.parametrize("lost", [0, 1, 3])
async def test_the_fence_is_set_again_where_data_was_lost(autojump_clock: MockClock, lost: int) -> None:
    """And those who hold something to save are told once, when it is there for sure."""
    store, told = MemoryStore(), list[str | None]()
    bus = SlowBus(store)
    lease = Lease(bus, TTL_MS, lambda: told.append(store.fence))
    await lease.acquire()
    lose_data(store)
    bus.lost = lost
    for _ in range(lost):
        with pytest.raises(BusUnavailable):
            await lease.renew()
        assert told == []
        if lost > 1:
            lose_data(store)
    await lease.renew()
    assert told == [store.fence]
    assert store.fence is not None
    await lease.renew()
    assert len(told) == 1


async def test_two_who_find_it_missing_set_it_once(autojump_clock: MockClock) -> None:
    """The committer and the keeper may find out together."""
    store, told = MemoryStore(), list[str | None]()
    bus = SlowBus(store)
    lease = Lease(bus, TTL_MS, lambda: told.append(store.fence))
    await lease.acquire()
    lose_data(store)
    bus.answer_s = 0.5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.renew)
        nursery.start_soon(lease.renew)
    assert len(told) == 1


async def test_somebody_else_was_faster_where_data_was_lost(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    bus = SlowBus(store)
    lease = Lease(bus, TTL_MS)
    await lease.acquire()
    lose_data(store)
    bus.answer_s = 0.5
    async with trio.open_nursery() as nursery:

        async def renew() -> None:
            with pytest.raises(OwnershipLost):
                await lease.renew()

        nursery.start_soon(renew)
        await trio.sleep(0.2)
        assert await RoughBus(store).acquire(TTL_MS) is Tenure.HELD


# -- where the server was emptied ----------------------------------------------------------------------------


async def test_a_standby_that_has_seen_an_owner_lets_it_set_the_fence_again(
    autojump_clock: MockClock,
) -> None:
    """For the length of a lease from when it finds it missing; then the owner is dead."""
    store = MemoryStore()
    owner, standby = Lease(RoughBus(store), TTL_MS), Lease(RoughBus(store), TTL_MS)
    assert await owner.acquire()
    assert not await standby.acquire()
    lose_data(store)
    missing = trio.current_time()
    while not await standby.acquire():  # noqa: ASYNC110 (the clock jumps)
        await trio.sleep(standby.period_s)
    assert trio.current_time() - missing == TTL_MS / 1000


async def test_the_owner_is_back_before_that(autojump_clock: MockClock) -> None:
    store, told = MemoryStore(), list[float]()
    owner = Lease(RoughBus(store), TTL_MS, lambda: told.append(trio.current_time()))
    standby = Lease(RoughBus(store), TTL_MS)
    assert await owner.acquire()
    assert not await standby.acquire()
    lose_data(store)
    for _ in range(8):
        assert not await standby.acquire()
        await trio.sleep(standby.period_s)
    await owner.renew()
    assert told == [4.0]
    for _ in range(4):
        assert not await standby.acquire()
        await trio.sleep(standby.period_s)
    lose_data(store)
    lost = trio.current_time()
    while not await standby.acquire():  # noqa: ASYNC110 (the clock jumps)
        await trio.sleep(standby.period_s)
    assert trio.current_time() - lost == TTL_MS / 1000, "it counts anew"


async def test_who_has_seen_no_owner_does_not_wait(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    assert await Lease(RoughBus(store), TTL_MS).acquire()
    lose_data(store)
    assert await Lease(RoughBus(store), TTL_MS).acquire()


async def test_an_owner_that_died_is_succeeded_at_once(autojump_clock: MockClock) -> None:
    """Its fence is there: nothing was lost, and its lease has run out."""
    store = MemoryStore()
    owner, standby = Lease(RoughBus(store), TTL_MS), Lease(RoughBus(store), TTL_MS)
    assert await owner.acquire()
    assert not await standby.acquire()
    await trio.sleep(TTL_MS / 1000)
    assert await standby.acquire()
