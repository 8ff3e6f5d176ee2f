"""Any course of events in a fleet: nothing is lost or doubled, or fed twice at once, and all comes to rest.

Whole members on the autojump clock, over the semantics of leases and commits in memory. What happens is up to
Hypothesis: members join, leave, die, freeze and wake; answers are lost, requests arrive twice; the control or
a shard cannot be reached.
"""

from __future__ import annotations

from typing import NamedTuple

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.fleet_harness import FleetHarness, MemberHarness, run_fleet
from tests.worker_harness import Producer
from trio.testing import MockClock

SHARDS = 3
NAMES = ("a", "b", "c")
IDS = ("call-a", "call-b", "call-d", "call-g")
OWNED_S = 12.0  # leases, beats and quiet after the last fault, and a race or two


class Happening(NamedTuple):
    """What happens, to whom, and how long after that before the next."""

    what: str
    whom: int
    pause_s: float


HAPPENINGS = st.builds(
    Happening,
    st.sampled_from(
        ["join", "stop", "kill", "freeze", "wake", "deaf", "echo", "control", "shard", "all back", "wait"]
    ),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.1, 0.7, 2.0, 4.5, 9.0]),
)


def happen(on: FleetHarness, one: Happening) -> None:
    name = NAMES[one.whom]
    if name in on.members and on.members[name].done.is_set():
        del on.members[name]
    if one.what == "control":
        on.fleet.away = True
    elif one.what == "shard":
        on.fleet.stores[one.whom].away = True
    elif one.what == "all back":
        back(on)
    elif name in on.members:
        happen_to(on, on.members[name], one.what)
    elif one.what == "join":
        on.join(name, drain_s=10)


def happen_to(on: FleetHarness, member: MemberHarness, what: str) -> None:
    match what:
        case "stop":
            member.daemon.stop()
        case "kill":
            on.members.pop(member.name).kill()
        case "freeze":
            member.freeze()
        case "wake":
            member.wake()
        case "deaf":
            member.router.deaf = 5
        case "echo":
            member.router.echo_s = 3.0
        case _:
            pass


def back(on: FleetHarness) -> None:
    on.fleet.away = False
    for store in on.fleet.stores:
        store.away = False


async def heal(on: FleetHarness) -> None:
    """End all faults, let those go that leave, and see that somebody lives."""
    back(on)
    for name, member in list(on.members.items()):
        member.wake()
        member.router.deaf, member.router.echo_s = 0, 0.0
        if member.daemon.stopping:
            with trio.fail_after(30):
                await member.done.wait()
            del on.members[name]
    on.join("z")
    with trio.fail_after(OWNED_S):
        await on.owned()


async def play(course: list[Happening]) -> None:
    async with run_fleet(SHARDS) as on, trio.open_nursery() as nursery:
        on.join("a")
        on.join("b")
        await on.owned()
        producers: list[Producer] = [on.producer(interaction_id) for interaction_id in IDS]
        over = trio.Event()

        async def talk(producer: Producer) -> None:
            while not over.is_set():
                producer.speak(0.1)
                await trio.sleep(0.1)

        for producer in producers:
            nursery.start_soon(talk, producer)
        for one in course:
            happen(on, one)
            await trio.sleep(one.pause_s)
        await heal(on)
        await trio.sleep(5)
        over.set()
        await trio.sleep(0.2)
        for producer in producers:
            producer.end()
        with trio.fail_after(60):
            while not all(map(on.is_over, producers)):  # noqa: ASYNC110 (the clock jumps)
                await trio.sleep(0.1)
        assert [producer.id for producer in producers if not on.is_complete(producer)] == []
        assert on.overlaps() == []
        await trio.sleep(260)  # twice the time for which a shard rests
        owners = on.owners()
        assert [store.holder.partition("/")[0] for store in on.fleet.stores if store.holder] == owners
        await trio.sleep(60)
        assert on.owners() == owners
        nursery.cancel_scope.cancel()


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(HAPPENINGS, max_size=12))
def test_any_course_of_events(course: list[Happening]) -> None:
    trio.run(play, course, clock=MockClock(autojump_threshold=0))
