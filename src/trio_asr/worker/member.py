"""A member of a fleet: it beats, looks at the others, and takes, asks for and hands over shards.

Which ones is decided by the rules of `core/fleet`; leases and fences alone keep two members from one shard.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable

import trio

from trio_asr.bus.away import away
from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.control import Router
from trio_asr.config.fleet import program_version
from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import REST_S, Pulling
from trio_asr.core.fleet.quota import Quota
from trio_asr.core.fleet.route import shard_of
from trio_asr.core.fleet.view import View
from trio_asr.telemetry import logs
from trio_asr.telemetry.fleet import FleetPicture, FleetSeries, ShardLoad
from trio_asr.telemetry.groups import leaves
from trio_asr.telemetry.labels import Role
from trio_asr.telemetry.process import CpuShare
from trio_asr.wire.codes import Handover, Problem
from trio_asr.wire.records import NewerState
from trio_asr.worker.beating import BEAT_S, BEAT_TTL_MS, Beating, beats
from trio_asr.worker.holding import Holding, unless
from trio_asr.worker.joining import join, leave
from trio_asr.worker.office import Office
from trio_asr.worker.picture import Counts, LostShards, loads, picture

STEP_S, LEAVING_STEP_S = 1.0, 0.2  # between two steps
POLL_S = 0.05  # a shard that was asked for: between two looks whether it was handed over


class Member:
    """One worker of a fleet. `become` is told each role."""

    def __init__(self, office: Office, router: Router, become: Callable[[Role], None]) -> None:
        fleet = office.config.fleet
        self.name, self._shards = fleet.member_name, fleet.shards
        self.holdings: dict[int, Holding] = {}
        self.view: View | None = None  # as last seen
        self._seen_at = -math.inf
        self._lost = LostShards()
        self._since: dict[int, float] = {}  # since when each has rested here
        self._incarnation = secrets.token_hex(8)
        self._office, self._router, self._become = office, router, become
        self._pulling, self._quota = Pulling(self.name), Quota()
        self._wants, self._within_reach = frozenset[int](), set[int]()  # asked for are those that are in both
        self._taking: set[int] = set()  # shards whose lease is being tried for
        self._beyond: set[int] = set()  # shards with work that only a later version can do
        self._draining_at = math.inf
        self._stopping = trio.Event()
        self._hurry = trio.Event()  # for the next step
        self._beating = Beating(router.control, self._present, self._away)
        self._cpu = CpuShare()
        self._log = logs.get("fleet")
        self._series = FleetSeries(
            office.metrics.registry,
            self.picture,
            self._loads,
            lambda: office.config.fleet.capacity,
        )

    def stop(self) -> None:
        """Stop in order: hand the shards over, and go once all are gone or none of the others is alive."""
        self._draining_at = trio.current_time()
        self._become("draining")
        self._wants = frozenset()
        self._stopping.set()
        self._hurry.set()

    def takes_part(self, now: float) -> bool:
        """Return whether the others count on this member, whether it holds a shard or not."""
        return not self._stopping.is_set() and self._beating.is_heard(now)

    def held(self) -> list[int]:
        """Return the shards whose lease is this member's now; others here may be somebody else's by now."""
        now = trio.current_time()
        return sorted(shard for shard, holding in self.holdings.items() if not holding.lease.expired(now))

    def picture(self) -> FleetPicture:
        """Return the fleet as seen now."""
        handing = sum(holding.leaving for holding in self.holdings.values())
        counts = Counts(self._shards, len(self.held()), len(self._wants), handing)
        return picture(self.name, counts, self._fresh_view())

    def elsewhere(self, interaction_id: str) -> dict[str, object]:
        """Return the shard of a call by the formula, and the member that has it ("": nobody)."""
        shard, view = shard_of(interaction_id, self._shards), self._fresh_view()
        return {"shard": shard, "member": "" if view is None else view.owner(shard)}

    def _fresh_view(self) -> View | None:
        """Return the view, unless it is so old that all members may have changed."""
        return self.view if trio.current_time() - self._seen_at < BEAT_TTL_MS / 1000 else None

    def _loads(self) -> dict[int, ShardLoad]:
        return loads(self.held(), self._office)

    async def run(self) -> None:
        """Be a member until stopped, and until the shards are in other hands.

        Raises:
            FleetError: The fleet has another number of shards, or a member of this name.
            ExceptionGroup: There is a bug that nothing contains.
        """
        if await unless(self._stopping, self._join):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._beating.run)
                await self._pull()
                nursery.cancel_scope.cancel()
            with trio.move_on_after(STEP_S):  # a beat after it would say that this member lives
                await leave(self._router.control, self.name)

    async def aclose(self) -> None:
        """Close the connections to the bus."""
        await self._router.aclose()

    async def _join(self) -> bool:
        """Join the fleet, as soon as the bus answers. Return True.

        Raises:
            FleetError: The fleet has another number of shards, or a living member of this name.
        """
        await join(self._router.control, self.name, self._shards, self._away)
        self._office.problems.resolve(Problem.FLEET, trio.current_time())
        self._become("standby")
        return True

    def _present(self, now: float) -> Beat:
        """Return what this member says of itself."""
        fleet, held = self._office.config.fleet, self.held()  # others may serve the rest better
        present = loads(held, self._office)
        return Beat(
            member=self.name,
            incarnation=self._incarnation,
            generation=fleet.generation_name,
            version=program_version(),
            capacity=fleet.capacity,
            draining=now - self._draining_at if self._stopping.is_set() else None,
            held={
                shard: Load(now - self._since[shard], load.calls, load.lag_s)
                for shard in held
                for load in (present.get(shard, ShardLoad()),)
            },
            handing=frozenset(shard for shard, holding in self.holdings.items() if holding.leaving),
            wants=self._wants & self._within_reach,
            connections=self._office.open_connections,
            limit=max(self._quota.limit, self._office.open_connections),
            cpu=self._cpu.read(now),
        )

    # -- looking and pulling ---------------------------------------------------------------------------

    async def _pull(self) -> None:
        """Follow the rules, once a second, until this member is gone. All holdings end with it."""
        async with trio.open_nursery() as nursery:
            while not self._is_gone():
                self._hurry = trio.Event()
                await self._step(nursery)
                with trio.move_on_after(LEAVING_STEP_S if self._stopping.is_set() else STEP_S):
                    await self._hurry.wait()
            rejoin_ms = round(self._office.config.fleet.rejoin_s * 1000)
            for holding in self.holdings.values():
                holding.leave(self.name if rejoin_ms else "", rejoin_ms)

    def _moved(self) -> None:
        """Take the next step at once, if a member leaves: its calls' audio waits for the end of that."""
        if self.view is not None and self.view.leaving:
            self._hurry.set()

    def _is_gone(self) -> bool:
        if not self._stopping.is_set():
            return False
        now, fleet = trio.current_time(), self._office.config.fleet
        late = bool(fleet.rejoin_s) or now - self._draining_at >= fleet.drain_s
        alone = self.view is not None and not any(beat.member != self.name for beat in self.view.alive)
        # Where Redis is away for long the leases are over: then nothing is left that could be handed over.
        owns_some = any(not holding.lease.expired(now) for holding in self.holdings.values())
        # What is being tried for may come yet, and must be given back as well.
        return not self._taking and (late or alone or not owns_some)

    async def _step(self, nursery: trio.Nursery) -> None:
        try:
            leases = await self._router.control.holders()
            self.view = View(leases, await beats(self._router.control))
        except BusUnavailable as error:  # a view that cannot be read is none: nothing moves
            self._away(error)
            return
        now = self._seen_at = trio.current_time()
        self._lost.look(self.view)
        me = self._present(now)
        seen = self.view.beats.get(self.name, me)
        if seen.incarnation == self._incarnation:
            self._office.problems.resolve(Problem.FLEET, now)
        else:  # it came at the same moment, or `join` had refused one of both
            self._office.problems.report(Problem.FLEET, now, f"another member is called {self.name}, too")
        maximum = self._office.config.fleet.max_connections
        limit = self._quota.step(me, self.view, maximum, now) if maximum else None
        self._office.limit_connections(limit)
        step = self._pulling.step(me, self.view, now, self.holdings.keys() - me.held.keys())
        ours = self.holdings.keys() | self._taking | self._beyond
        self._wants = step.wants - self._beyond
        for shard in self._wants.union(step.acquire) - ours:
            self._taking.add(shard)
            nursery.start_soon(self._take, shard, shard in self._wants)
        for shard, heir in step.hand_over:
            self._log.info("A shard is handed over", shard=shard, heir=heir)
            self.holdings[shard].leave(heir)

    def _away(self, error: BusUnavailable) -> None:
        away(Problem.FLEET, error, self._office.problems, self._office.internal)

    # -- holding ---------------------------------------------------------------------------------------

    async def _take(self, shard: int, asked: bool) -> None:
        """Work on a shard for as long as this member holds it, if it gets it at all."""
        bus = self._router.bus(shard)
        holding = Holding(self._office, bus, shard)
        try:
            held = await (self._await_handover(holding) if asked else self._acquire(holding))
        finally:
            self._taking.discard(shard)
            self._within_reach.discard(shard)
        if held:
            self.holdings[shard] = holding
            # Only a hand-over has disturbed calls: what was nobody's need not rest.
            self._since[shard] = trio.current_time() - (0 if asked else REST_S)
            self._moved()
            self._series.handovers(Handover.GIVEN if asked else Handover.FREE).inc()
            try:
                await self._hold(holding)
            finally:
                del self.holdings[shard], self._since[shard]
                self._moved()
            if not self.holdings and not self._stopping.is_set():
                self._become("standby")
        else:
            self._office.problems.of_shard(shard).resolve_all(trio.current_time())

    async def _acquire(self, holding: Holding) -> bool:
        """Try for a free shard until somebody has it. Return whether it is this member."""
        held = None
        while held is None and not self._stopping.is_set():
            held = await self._try(holding)
            if held is None:
                await trio.sleep(BEAT_S)
        if held:
            self._pulling.won()
        elif held is not None:
            self._pulling.lost(trio.current_time())
        return bool(held)

    async def _await_handover(self, holding: Holding) -> bool:
        """Look whether the shard has become ours, for as long as it is wanted."""
        while (shard := holding.shard) is not None and shard in self._wants:
            held = await self._try(holding)
            if held:
                return True
            if (held is not None) != (shard in self._within_reach):
                self._within_reach ^= {shard}
                self._beating.hurry()
            await trio.sleep(POLL_S)
        return False

    async def _try(self, holding: Holding) -> bool | None:
        """Try for the lease. Return whether this member has got it; None if nobody answers."""
        problems = self._office.problems.of_shard(holding.shard)
        try:
            held = await holding.lease.acquire()
        except BusUnavailable as error:
            away(Problem.REDIS, error, problems, self._office.internal)
            return None
        problems.resolve(Problem.REDIS, trio.current_time())
        return held

    async def _hold(self, holding: Holding) -> None:
        assert holding.shard is not None
        if not self._stopping.is_set():
            self._become("active")
        self._log.info("A shard is held", shard=holding.shard)
        how = Handover.RELEASED
        try:
            if not await holding.run():
                how = Handover.LOST
            elif holding.heir:
                how = Handover.GAVE
                self._series.handover_seconds.observe(trio.current_time() - holding.left_at)
        except* NewerState as errors:
            self._beyond.add(holding.shard)
            self._log.error(
                "A shard is left to a later version", shard=holding.shard, why=str(leaves(errors)[0])
            )
        self._series.handovers(how).inc()
        self._log.info("A shard is no longer held", shard=holding.shard, how=how)
