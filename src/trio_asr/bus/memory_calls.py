"""The store of an ingest in memory: the same semantics in one process, for tests."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import trio

from trio_asr.bus.calls import ALIVE_MS, Add, Claim, Outcome, Reply
from trio_asr.bus.memory import EPOCH_MS, MemoryStore


@dataclass
class _Call:
    owner: str
    tenant: str
    legs: str
    at_ms: int
    position: int = 0
    about: bytes = b""
    ended: bool = False


class MemoryCallStore:
    """The store over a `MemoryStore`; time is trio's clock."""

    def __init__(self, store: MemoryStore, *, audio_stream: str, end_stream: str) -> None:
        self.calls: dict[str, _Call] = {}
        self._store = store
        self._audio, self._ends = audio_stream, end_stream

    def place(self, call: str) -> Hashable:
        del call
        return None

    async def take(self, steps: Sequence[Claim | Add]) -> list[Reply]:
        await trio.lowlevel.checkpoint()
        return [self._claim(step) if isinstance(step, Claim) else self._add(step) for step in steps]

    async def look(self, call: str) -> None:
        del call
        await trio.lowlevel.checkpoint()

    def _claim(self, step: Claim) -> Reply:
        now, call = _now_ms(), self.calls.get(step.call)
        if call is None:
            self.calls[step.call] = _Call(step.owner, step.tenant, step.legs, now)
            return Reply(Outcome.TAKEN, now)
        if call.tenant != step.tenant:
            return Reply(Outcome.TENANT)
        alive = not call.ended and call.owner != step.owner and now - call.at_ms < ALIVE_MS
        if call.legs != step.legs and alive:
            return Reply(Outcome.LEGS)
        call.owner, call.legs, call.at_ms = step.owner, step.legs, now
        return Reply(Outcome.TAKEN, now, call.position, call.about)

    def _add(self, step: Add) -> Reply:
        call = self.calls.get(step.call)
        if call is None:
            call = self.calls[step.call] = _Call(step.owner, step.tenant, step.legs, _now_ms(), step.before)
        if call.owner != step.owner:
            return Reply(Outcome.LOST)
        if call.position == step.after if step.entries else call.ended:
            return Reply(Outcome.DONE)
        if call.position != step.before:
            return Reply(Outcome.STALE)
        for entry in step.entries:
            self._store.add(self._audio, None, m=entry)
        if step.end:
            self._store.add(self._ends, step.end)
        call.position, call.about, call.legs = step.after, step.about, step.legs
        call.at_ms, call.ended = _now_ms(), bool(step.end)
        return Reply(Outcome.ADDED)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def _now_ms() -> int:
    return EPOCH_MS + round(trio.current_time() * 1000)
