"""What takes series to the store: rounds of steps, each of many calls, and the clock of all series.

There is one task for the rounds at each place of the store where something is to be done, and one for the
clock, however many calls there are. A series has at most one step in flight; a round that gets no answer is
asked again, as it was, and only the calls of its place wait for that. A place that is away is looked at until
it answers, also where no call waits for it: until then no call should be sent here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import NamedTuple, NoReturn

import trio

from trio_asr.bus.away import RETRY_BASE_S, RETRY_CAP_S, away
from trio_asr.bus.base import BusUnavailable
from trio_asr.bus.calls import Add, CallStore, Claim, Outcome, Reply
from trio_asr.core.backoff import Backoff
from trio_asr.core.ingest.series import Series
from trio_asr.telemetry.counters import PlainHistogram
from trio_asr.telemetry.internal import InternalErrors
from trio_asr.telemetry.problems import Problems
from trio_asr.wire.codes import CaughtAt, Problem

ROUND_S = 0.01  # between two rounds, so that each has the steps of many calls
CLOCK_S = 0.05  # between two looks at what is due though nothing came
ROUND = 200  # steps: what one script gets of the server's time, others have to wait for


class Entrant(NamedTuple):
    """A series, and who wants to know what becomes of it.

    `on_stored` learns up to which number messages are stored, at first once the call is taken; `on_refused`
    that the call cannot be had, or not any longer (None: for a bug); `on_over` that nothing more will happen.
    """

    series: Series
    on_stored: Callable[[int], None]
    on_refused: Callable[[Outcome | None], None]
    on_over: Callable[[Series], None]


_Call = tuple[str, str]  # id and tenant: sockets of another tenant concern nobody


def _call_of(series: Series) -> _Call:
    return series.identity.call, series.identity.tenant


class _Turn(NamedTuple):
    """Of the sockets of a call, by number, the first that has audio and the last that wants to take it."""

    has_audio: float
    wants_call: float


@dataclass(eq=False)
class _Lane:
    """The way to one place of the store: the sockets that may have a step for it, in the order they came."""

    place: Hashable
    call: str  # one that is there
    ready: dict[str, None] = field(default_factory=dict)


class Adder:
    """All series of a gateway, by the tokens of their sockets."""

    def __init__(
        self,
        store: CallStore,
        problems: Problems,
        internal: InternalErrors,
        *,
        max_buffered_bytes: int,
        delay: PlainHistogram,
    ) -> None:
        self.entrants: dict[str, Entrant] = {}
        self._store, self._problems, self._internal = store, problems, internal
        self._max_bytes, self._delay = max_buffered_bytes, delay
        self._of_call: dict[_Call, dict[str, int]] = {}  # the sockets' tokens, and how many had come before
        self._numbers = itertools.count()
        self._ready: dict[str, _Lane] = {}  # by socket: it stays in its lane as long as it is ready
        self._lanes: dict[Hashable, _Lane] = {}  # those that somebody is in
        self._away: set[_Lane] = set()
        self._opening, self._opened = trio.open_memory_channel[_Lane](math.inf)
        self._left = trio.Event()  # set and replaced whenever a series is over

    def enter(self, entrant: Entrant) -> None:
        """Take a series on, until it is over."""
        owner = entrant.series.identity.owner
        self.entrants[owner] = entrant
        self._of_call.setdefault(_call_of(entrant.series), {})[owner] = next(self._numbers)
        self.note(entrant.series)

    def note(self, series: Series) -> None:
        """Note that a series may have a step to take, or is over."""
        owner = series.identity.owner
        if series.over:
            if (entrant := self.entrants.pop(owner, None)) is not None:
                owners = self._of_call[_call_of(series)]
                del owners[owner]
                if not owners:
                    del self._of_call[_call_of(series)]
                entrant.on_over(series)
                self._left.set()
                self._left = trio.Event()
        elif owner in self.entrants and owner not in self._ready and (series.wants_call or series.has_batch):
            place = self._store.place(call := series.identity.call)
            if (lane := self._lanes.get(place)) is None:
                lane = self._lanes[place] = _Lane(place, call)
                self._opening.send_nowait(lane)
            self._ready[owner] = lane
            lane.ready[owner] = None

    @property
    def buffered_bytes(self) -> int:
        """Audio that is not stored."""
        return sum(one.series.backlog.size for one in self.entrants.values())

    @property
    def buffered_s(self) -> float:
        """The longest that any series has waiting, in seconds of audio."""
        return max((one.series.waiting_s for one in self.entrants.values()), default=0.0)

    def hasten(self, until: float) -> None:
        """Have calls whose sockets are gone end by then, though their grace may be longer."""
        for series, *_ in self.entrants.values():
            series.hasten(until)

    async def over(self) -> None:
        """Wait until there is no series left."""
        while self.entrants:
            await self._left.wait()

    async def keep_time(self) -> NoReturn:
        """Let every series do what is due, for ever."""
        while True:
            await trio.sleep(CLOCK_S)
            now = trio.current_time()
            for entrant in [*self.entrants.values()]:
                with self._only(entrant):
                    if now >= entrant.series.due_at():
                        entrant.series.tick(now)
                        self.note(entrant.series)
            self._bound()

    @contextmanager
    def _only(self, entrant: Entrant) -> Iterator[None]:
        """Have a bug in a series cost that series alone."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - it is counted and logged
            self._internal.caught(CaughtAt.CALL, error, interaction_id=entrant.series.identity.call)
            entrant.series.give_up()
            entrant.on_refused(None)
            self.note(entrant.series)

    def _bound(self) -> None:
        """Drop the oldest of whoever has most, while all together have too much."""
        excess = self.buffered_bytes - self._max_bytes
        if excess <= 0:
            return
        # Thousands of calls may have to drop something at each look: none is looked at again for another.
        most = [(-one.series.backlog.samples, n, one.series) for n, one in enumerate(self.entrants.values())]
        heapify(most)
        while excess > 0 and most[0][0]:
            _, n, series = most[0]
            size = series.backlog.size
            series.drop_oldest()
            excess -= size - series.backlog.size
            heapreplace(most, (-series.backlog.samples, n, series))

    async def run(self) -> NoReturn:
        """Take whatever is ready to the store, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await self._opened.receive())

    async def _serve(self, lane: _Lane) -> None:
        """Take whatever is ready to one place, until nothing is and the place is not away."""
        backoff = Backoff(RETRY_BASE_S, RETRY_CAP_S)
        while lane.ready or lane in self._away:
            began = trio.current_time()
            try:
                await self._round(lane, began)
            except BusUnavailable as error:
                self._away.add(lane)
                away(Problem.REDIS, error, self._problems, self._internal)
                await trio.sleep(backoff.next())
                self._sort(lane)
            else:
                backoff.reset()
                self._away.discard(lane)
                if not self._away:
                    self._problems.resolve(Problem.REDIS, trio.current_time())
                await trio.sleep_until(began + ROUND_S)
        del self._lanes[lane.place]

    def _sort(self, lane: _Lane) -> None:
        """Have those that are ready go to where their calls are by now."""
        for owner in [*lane.ready]:
            self._rest(owner)
            if (entrant := self.entrants.get(owner)) is not None:
                self.note(entrant.series)

    def _rest(self, owner: str) -> None:
        """Have a socket be ready no more, until that is noted again."""
        if (lane := self._ready.pop(owner, None)) is not None:
            del lane.ready[owner]

    async def _round(self, lane: _Lane, now: float) -> None:
        """Ask for one step of each series that is ready at a place; if there is none, whether it answers.

        Raises:
            BusUnavailable: There was no answer. What was asked for is asked for again.
        """
        asked: list[Entrant] = []
        steps: list[Claim | Add] = []
        turns: dict[_Call, _Turn] = {}  # worked out once a round: a call may have a thousand sockets
        for owner in [*lane.ready]:
            if len(steps) == ROUND:
                break
            entrant = self.entrants.get(owner)
            step = None
            if entrant is not None:
                # Those that wait for others take no place in the round, or nobody might be left to go on.
                if self._must_wait(entrant.series, turns):
                    continue
                with self._only(entrant):
                    step = _step(entrant.series, now)
            if entrant is None or step is None:
                self._rest(owner)
            else:
                asked.append(entrant)
                steps.append(step)
        if not steps:
            if lane in self._away:
                await self._store.look(lane.call)
            return
        replies = await self._store.take(steps)
        now = trio.current_time()
        for entrant, step, reply in zip(asked, steps, replies, strict=True):
            self._rest(entrant.series.identity.owner)
            with self._only(entrant):
                self._answered(entrant, step, reply, now)
                self.note(entrant.series)

    def _must_wait(self, series: Series, turns: dict[_Call, _Turn]) -> bool:
        """Return whether a series must wait for another socket of its call and tenant.

        It does not take the call while an earlier one has audio, which would be lost. And a call does not end
        because its socket is gone, if a later one has audio and is about to take it.
        """
        if not series.wants_call and not series.only_disconnects:
            return False
        call = _call_of(series)
        if (turn := turns.get(call)) is None:
            turn = turns[call] = self._turn(call)
        number = self._of_call[call][series.identity.owner]
        return turn.has_audio < number if series.wants_call else turn.wants_call > number

    def _turn(self, call: _Call) -> _Turn:
        sockets = [(number, self.entrants[owner].series) for owner, number in self._of_call[call].items()]
        return _Turn(
            min((number for number, one in sockets if one.has_audio), default=math.inf),
            max((number for number, one in sockets if one.wants_call), default=-1),
        )

    def _answered(self, entrant: Entrant, step: Claim | Add, reply: Reply, now: float) -> None:
        series = entrant.series
        if series.over:
            return
        if isinstance(step, Claim) and reply.outcome is Outcome.TAKEN:
            series.take(reply.now_ms, reply.position, reply.about, now)
            entrant.on_stored(series.stored)
        elif isinstance(step, Add) and reply.outcome in (Outcome.ADDED, Outcome.DONE):
            self._delay.observe(max(0.0, now - series.added().oldest_at))
            entrant.on_stored(series.stored)
        else:
            series.give_up()
            entrant.on_refused(reply.outcome)


def _step(series: Series, now: float) -> Claim | Add | None:
    call, tenant, owner, legs = series.identity
    if series.wants_call:
        series.asks_for_call(now)
        return Claim(call, owner, tenant, legs)
    batch = series.batch()
    if batch is None:
        return None
    return Add(call, owner, tenant, legs, batch.before, batch.after, batch.about, batch.entries, batch.end)
