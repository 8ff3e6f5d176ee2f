"""Who gets a permit: on the clock, with exact times; first alone, then with the real tasks of calls."""

from __future__ import annotations

import pytest
import trio
from tests.call_harness import CallFeed, call_harness, config, start_call, whole
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_asr.deepgram.permits import Permits
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings


class Caller:
    """Holds a permit until told to let go."""

    def __init__(self, name: str, *, flows: bool = True) -> None:
        self.name, self.flows = name, flows
        self.asked = 0
        self.scope = trio.CancelScope()
        self.leave = trio.Event()

    def flowing(self) -> bool:
        return self.flows

    def permit_wanted(self) -> None:
        self.asked += 1

    async def run(self, permits: Permits, order: list[str]) -> None:
        with self.scope:
            async with permits.permit(self):
                order.append(self.name)
                await self.leave.wait()


async def test_flowing_goes_before_still_and_first_come_first_within_each() -> None:
    permits, order = Permits(1), list[str]()
    callers = [Caller("holder"), Caller("still-1", flows=False), Caller("flowing-1")]
    callers += [Caller("still-2", flows=False), Caller("flowing-2"), Caller("gone"), Caller("flowing-3")]
    async with trio.open_nursery() as nursery:
        for caller in callers:
            nursery.start_soon(caller.run, permits, order)
            await wait_all_tasks_blocked()
        assert (permits.waiting, callers[0].asked) == (6, 1)
        callers[5].scope.cancel()
        await wait_all_tasks_blocked()
        assert permits.waiting == 5
        for name in ("holder", "flowing-1", "flowing-2", "flowing-3", "still-1", "still-2"):
            assert order[-1] == name
            next(caller for caller in callers if caller.name == name).leave.set()
            await wait_all_tasks_blocked()
    assert permits.waiting == 0


async def test_more_permits_let_more_in_and_fewer_take_none_away() -> None:
    permits, order = Permits(1), list[str]()
    callers = [Caller(str(n)) for n in range(4)]
    async with trio.open_nursery() as nursery:
        for caller in callers:
            nursery.start_soon(caller.run, permits, order)
            await wait_all_tasks_blocked()
        permits.resize(3)
        await wait_all_tasks_blocked()
        assert sorted(order) == ["0", "1", "2"]
        permits.resize(1)
        for caller in callers[:2]:
            caller.leave.set()
        await wait_all_tasks_blocked()
        assert sorted(order) == ["0", "1", "2"]
        callers[2].leave.set()
        await wait_all_tasks_blocked()
        assert order[-1] == "3"
        callers[3].leave.set()


async def test_who_is_cancelled_as_the_permit_is_given_passes_it_on() -> None:
    permits, order = Permits(1), list[str]()
    first, second, third = Caller("1"), Caller("2"), Caller("3")
    async with trio.open_nursery() as nursery:
        for caller in (first, second, third):
            nursery.start_soon(caller.run, permits, order)
            await wait_all_tasks_blocked()
        second.scope.cancel()
        first.leave.set()
        await wait_all_tasks_blocked()
        assert order[-1] == "3"
        third.leave.set()


# -- calls ---------------------------------------------------------------------------------------------------


def speaking(handshake_s: float = 0.0) -> SimulatorSettings:
    return SimulatorSettings(
        engine=EchoEngine(segment_ms=1000), faults_for=lambda i, q: Faults(handshake_delay_s=handshake_s)
    )


async def connected(line: CallFeed) -> float:
    """Wait until a call is connected; return how long that took."""
    began = trio.current_time()
    while not line.interaction.sender.connected:  # noqa: ASYNC110 (the clock jumps)
        await trio.sleep(0.01)
    return trio.current_time() - began


@pytest.mark.parametrize("handshake_s", [0.0, 0.2])
@pytest.mark.soak
async def test_a_live_call_amid_new_ids_for_each_frame_is_served(
    handshake_s: float, autojump_clock: MockClock
) -> None:
    """50 new ids a second, 4 permits. Before: each kept its permit for a minute, the call got nothing."""
    async with call_harness(speaking(handshake_s), config(max_connections=4)) as (on, nursery):

        async def flood() -> None:
            for n in range(10_000):
                line = await start_call(on, nursery, f"noise-{n}")
                line.say(bytes(320))
                await trio.sleep(0.02)

        nursery.start_soon(flood)
        for at in (0.5, 4.5, 3.7):
            await trio.sleep(at)
            line = await start_call(on, nursery, f"call-{at}")
            async with trio.open_nursery() as talker:
                talker.start_soon(line.talk, 8)
                waited = await connected(line)
                assert waited <= 2 + 3 * handshake_s + 0.05
            assert line.call.connection == 1, "its permit is its own while it talks"
            line.hang_up()
            await line.done.wait()
            assert whole(on.finals(f"call-{at}"), 8 * 8000)
        assert on.simulator.ledger.most_open <= 4


async def test_who_stands_still_closes_in_order_when_others_wait(autojump_clock: MockClock) -> None:
    """2 s after its last audio, with its results; its next audio is one more connection."""
    async with call_harness(speaking(), config(max_connections=1)) as (on, nursery):
        first = await start_call(on, nursery, "first")
        await first.talk(2.5)  # the last frame comes at 2.48 s
        second = await start_call(on, nursery, "second")
        second.speak(1.0)
        await trio.sleep(10)
        assert [round(c.opened_at, 3) for c in on.connections] == [0.0, 4.48]
        assert (on.connections[0].close_streams, on.connections[0].close_code) == (1, 1000)
        assert whole(on.finals("first"), 20_000)
        await trio.sleep(10)
        assert on.connections[1].closed_at is None, "nobody waits: it stays for what may come"
        await first.talk(1)
        assert len(on.connections) == 3
        assert on.connections[1].close_code == 1000
        first.hang_up()
        second.hang_up()
        await first.done.wait()
        await second.done.wait()
        assert whole(on.finals("first"), 28_000)
        assert whole(on.finals("second"), 8000)
        assert not [e for e in on.events() if e["event"] == "gap"]


async def test_who_stood_still_for_long_gives_way_at_once(autojump_clock: MockClock) -> None:
    async with call_harness(speaking(), config(max_connections=1)) as (on, nursery):
        first = await start_call(on, nursery, "first")
        first.speak(1.0)
        await trio.sleep(30)
        second = await start_call(on, nursery, "second")
        second.speak(1.0)
        await trio.sleep(0.1)
        assert [round(c.opened_at, 3) for c in on.connections] == [0.0, 30.0]


async def test_who_gets_a_permit_standing_still_sends_what_it_has_and_closes(
    autojump_clock: MockClock,
) -> None:
    async with call_harness(speaking(), config(max_connections=1)) as (on, nursery):
        first = await start_call(on, nursery, "first")
        async with trio.open_nursery() as talkers:
            talkers.start_soon(first.talk, 10)
            await trio.sleep(1)
            others = [await start_call(on, nursery, f"other-{n}") for n in range(5)]
            for other in others:
                other.speak(0.4)
        first.hang_up()
        await trio.sleep(1)
        opened_at = [round(c.opened_at, 3) for c in on.connections[1:]]
        assert opened_at == [10.0] * 5, "each is sent at once, and closes for the next"
        for n, other in enumerate(others):
            other.hang_up()
            await other.done.wait()
            assert whole(on.finals(f"other-{n}"), 3200)
        assert len(on.connections) == 6


async def test_a_live_call_that_reconnects_keeps_its_permit(autojump_clock: MockClock) -> None:
    faults = [Faults(abort_after_s=1), Faults(refuse_status=503)]
    simulator = SimulatorSettings(
        engine=EchoEngine(segment_ms=1000),
        faults_for=lambda i, q: faults[i] if i < len(faults) else Faults(),
    )
    async with call_harness(simulator, config(max_connections=1)) as (on, nursery):
        first = await start_call(on, nursery, "first")
        second = await start_call(on, nursery, "second")
        async with trio.open_nursery() as talkers:
            talkers.start_soon(first.talk, 8)
            await trio.sleep(0.1)
            talkers.start_soon(second.talk, 8)
        assert second.call.connection == 0
        first.hang_up()
        await first.done.wait()
        assert (first.call.connection, whole(on.finals("first"), 8 * 8000)) == (2, True)


async def test_a_call_that_is_over_does_not_keep_its_permit_while_it_is_refused(
    autojump_clock: MockClock,
) -> None:
    refusing = {"first": True}
    simulator = SimulatorSettings(
        engine=EchoEngine(segment_ms=1000),
        faults_for=lambda i, q: Faults(refuse_status=503) if refusing["first"] else Faults(),
    )
    async with call_harness(simulator, config(max_connections=1)) as (on, nursery):
        first = await start_call(on, nursery, "first")
        first.speak(1)
        first.hang_up()
        await trio.sleep(20)
        refusing["first"] = False
        second = await start_call(on, nursery, "second")
        async with trio.open_nursery() as talker:
            talker.start_soon(second.talk, 2)
            assert await connected(second) <= 0.5
        second.hang_up()
        await first.done.wait()
        await second.done.wait()
        assert whole(on.finals("first"), 8000)
        assert whole(on.finals("second"), 2 * 8000)
