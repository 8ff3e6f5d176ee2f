"""A fleet in one process: whole daemons over a bus in memory, on the autojump clock."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from tests.whole_daemon import DaemonHarness, complete
from tests.worker_harness import EchoLink, EchoProvider, Producer, read

from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.memory import MemoryBus
from trio_asr.bus.memory_fleet import MemoryFleet, MemoryRouter
from trio_asr.config import Config, FleetConfig, HttpConfig, RedisConfig, shard_prefix
from trio_asr.core.fleet.route import shard_of
from trio_asr.daemon import Daemon
from trio_asr.simulator import stamps
from trio_asr.telemetry.labels import Role
from trio_asr.telemetry.metrics import Metrics
from trio_asr.telemetry.systemd import Notifier
from trio_asr.worker.member import Member

LEASE_S = 5.0
GROUP = "asr-worker"


def member_config(name: str, shards: int, **fleet: Any) -> Config:
    return Config(
        http=HttpConfig(port=0),
        redis=RedisConfig(lease_ms=round(LEASE_S * 1000)),
        fleet=FleetConfig(member=name, shards=shards, **fleet),
    )


class RoughRouter(MemoryRouter):
    """A member's way to the shards on a rough network.

    Requests of a member that is frozen do not leave it until it wakes. Of the next `deaf` ones that write,
    the answers are lost. With `echo_s`, each of them arrives a second time so many seconds later.
    """

    def __init__(self, fleet: MemoryFleet, config: Config, nursery: trio.Nursery) -> None:
        super().__init__(fleet, config)
        self.awake = trio.Event()
        self.awake.set()
        self.deaf = 0
        self.echo_s = 0.0
        self._nursery = nursery
        parts: list[Any] = [self.control, *self._buses]
        for part in parts:
            part._arrive = self._gate(part._arrive)
        for bus in self._buses:
            for name in ("acquire", "renew", "release", "pass_on", "commit"):
                setattr(bus, name, self._rough(bus, name))

    def cut_off(self, *shards: int) -> Callable[[], None]:
        """Let no request to these shards arrive; return what ends that."""
        before: dict[MemoryBus, Any] = {}

        async def nowhere() -> None:
            await trio.lowlevel.checkpoint()
            raise BusUnavailable("cut off")

        for bus in (self._buses[shard] for shard in shards):
            before[bus], bus._arrive = bus._arrive, nowhere  # type: ignore[method-assign]

        def end() -> None:
            for bus, arrive in before.items():
                bus._arrive = arrive  # type: ignore[method-assign]

        return end

    def _gate(self, arrive: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def gate() -> None:
            await self.awake.wait()
            await arrive()

        return gate

    def _rough(self, bus: MemoryBus, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(type(bus), name)

        async def again(twin: MemoryBus, *args: Any, **options: Any) -> None:
            await trio.sleep(self.echo_s)
            with suppress(BusUnavailable):
                await method(twin, *args, **options)

        async def request(*args: Any, **options: Any) -> Any:
            twin = copy.copy(bus)  # it goes on with the token of now
            answer = await method(bus, *args, **options)
            if self.echo_s and name != "acquire":
                self._nursery.start_soon(partial(again, twin, *args, **options))
            if self.deaf:
                self.deaf -= 1
                raise BusUnavailable("the answer is lost")
            return answer

        return request


@dataclass(kw_only=True)
class MemberHarness(DaemonHarness):
    """One member, and the sockets that it opens."""

    name: str
    router: RoughRouter

    @property
    def member(self) -> Member:
        assert isinstance(self.daemon.work, Member)
        return self.daemon.work

    @property
    def held(self) -> list[int]:
        return sorted(self.member.holdings)

    @property
    def role(self) -> Role:
        return self.daemon.role

    def freeze(self) -> None:
        if self.router.awake.is_set():  # what waits in a frozen one waits for its own event
            self.router.awake = trio.Event()

    def wake(self) -> None:
        self.router.awake.set()


class FleetHarness:
    """The servers, the members, and calls that their producers put into the shard of the formula."""

    def __init__(self, nursery: trio.Nursery, shards: int) -> None:
        self.shards, self.fleet = shards, MemoryFleet(shards)
        self.members: dict[str, MemberHarness] = {}
        self.producers: list[Producer] = []
        self._fed: dict[int, dict[EchoLink, list[float]]] = defaultdict(dict)
        self._nursery = nursery

    async def start(self, *names: str, **fleet: Any) -> list[MemberHarness]:
        """Let members join together, and wait until they share the shards."""
        members = [self.join(name, **fleet) for name in names]
        await self.balanced(*names)
        return members

    def join(self, name: str, **fleet: Any) -> MemberHarness:
        member = self.members[name] = self.make(name, **fleet)
        self._nursery.start_soon(member.run)
        return member

    def make(self, name: str, **fleet: Any) -> MemberHarness:
        config = member_config(name, fleet.pop("shards", self.shards), **fleet)
        router, provider = RoughRouter(self.fleet, config, self._nursery), EchoProvider()
        provider.inspect = self._note_feeding
        daemon = Daemon(config, router, provider, Metrics(), Notifier({}))
        return MemberHarness(name=name, daemon=daemon, router=router, provider=provider)

    def _note_feeding(self, link: EchoLink, pcm: bytes) -> None:
        for number in {number for number, _, _ in stamps.read(pcm)}:
            times = self._fed[number].setdefault(link, [trio.current_time(), 0.0])
            times[1] = trio.current_time()

    def overlaps(self) -> list[int]:
        """Return the numbers of the calls of which two sockets were fed at one time."""
        return [
            number
            for number, links in self._fed.items()
            for one, next_one in itertools.pairwise(sorted(links.values()))
            if next_one[0] < one[1]
        ]

    def producer(self, interaction_id: str) -> Producer:
        shard = shard_of(interaction_id, self.shards)
        number = len(self.producers) + 1
        made = Producer(self.fleet.stores[shard], interaction_id, number, prefix=shard_prefix(GROUP, shard))
        self.producers.append(made)
        return made

    def messages(self, producer: Producer, stream: str) -> list[dict[str, Any]]:
        """Return what a stream of the producer's shard has of its call."""
        shard = shard_of(producer.id, self.shards)
        found = read(self.fleet.stores[shard], shard_prefix(GROUP, shard) + stream)
        return [one for one in found if one["interaction_id"] == producer.id]

    def is_complete(self, producer: Producer) -> bool:
        """Say whether every sample of a call is in exactly one final, and each `seq` was used once."""
        return complete(self.messages(producer, f"transcript.{producer.id}"), producer)

    def is_over(self, producer: Producer) -> bool:
        return any(event["event"] == "ended" for event in self.messages(producer, "asr_events"))

    def connections(self, producer: Producer) -> int:
        events = self.messages(producer, "asr_events")
        return sum(event["event"] == "connection_opened" for event in events)

    def all_are_away(self, *, away: bool) -> None:
        """Let no server answer anybody, or all of them again."""
        self.fleet.away = away
        for store in self.fleet.stores:
            store.away = away

    def owners(self) -> list[str]:
        """Return who holds each shard, "" for nobody."""
        by_shard = {shard: name for name, member in self.members.items() for shard in member.held}
        return [by_shard.get(shard, "") for shard in range(self.shards)]

    async def owned(self) -> float:
        """Wait until every shard has an owner; return for how long."""
        began = trio.current_time()
        while not all(self.owners()):  # noqa: ASYNC110 (the clock jumps)
            await trio.sleep(0.01)
        return trio.current_time() - began

    async def balanced(self, *names: str) -> float:
        """Wait until the shards are shared evenly among the members named; return for how long."""
        began = trio.current_time()
        least = self.shards // len(names)
        while (  # noqa: ASYNC110 (the clock jumps)
            min(len(self.members[name].held) for name in names) < least or not all(self.owners())
        ):
            await trio.sleep(0.01)
        return trio.current_time() - began


@asynccontextmanager
async def run_fleet(shards: int = 4) -> AsyncIterator[FleetHarness]:
    async with trio.open_nursery() as nursery:
        yield FleetHarness(nursery, shards)
        nursery.cancel_scope.cancel()
