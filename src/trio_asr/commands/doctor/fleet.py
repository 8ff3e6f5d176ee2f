"""Checks of a fleet: what it has in common, its members, and each of its shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trio_asr.bus.keys import FleetKeys, Keys, holder_of
from trio_asr.commands.doctor.findings import MOST, Alike, Report
from trio_asr.commands.doctor.server import Commands, Server, daemons, refused_script
from trio_asr.commands.doctor.state import State
from trio_asr.config import Config, RedisConfig
from trio_asr.config.fleet import shard_prefix
from trio_asr.core.fleet.beat import Beat
from trio_asr.core.fleet.view import HEIR, View


class Fleet:
    """The checks of a fleet on one server."""

    def __init__(self, config: Config, server: Server) -> None:
        self._config, self._server = config, server
        self._group, self._shards = config.redis.consumer_group, config.fleet.shards
        self._keys = FleetKeys(self._group)
        self._each = [Keys(self._group, shard_prefix(self._group, shard)) for shard in range(self._shards)]

    def shared(self, report: Report) -> None:
        """Check what all members have to agree on: the number of shards, scripts, and the cutting."""
        client: Any = self._server.client
        if client is None:
            return
        found = client.hget(self._keys.fleet, "shards")
        if found is None:
            report.warn("fleet", f"group {self._group} has not begun: no member has ever joined")
        elif found != str(self._shards).encode():
            says = f"fleet.shards is {self._shards}, and this fleet has {found.decode('utf-8', 'replace')}"
            report.fail("fleet", says, "set it right, here and at every producer")
        else:
            report.ok("fleet", f"{self._shards} shards, as configured")
        if why := refused_script(client, self._keys.fleet):
            report.fail("scripts", f"EVALSHA is refused: {why}", "no worker can run on this server")
        else:
            report.ok("scripts", "EVALSHA is allowed")
        if self._config.redis.trim:
            report.ok("trim", "workers cut off the audio that is transcribed")
        else:
            says = "redis.trim is off: the audio of all calls stays in memory until producers cut it"
            report.warn("trim", says, "set redis.trim = true: a fleet has too many calls for anything else")

    def members(self, report: Report) -> None:
        """Check the beats, and the holders of the shards against them."""
        if self._server.client is None:
            return
        beats = self._beats(report)
        leases = [holder_of(one) for one in self._values(self._each_lease)]
        if not beats:
            report.warn("members", "nobody beats: no member is alive", "start some: trio-asr serve")
        else:
            report.ok("members", f"{len(beats)} beat: {_some(_told(beat) for beat in beats)}")
            _generations(report, beats)
        alive = {beat.member for beat in beats}
        dead = Counter(one for one in leases if one and one.removeprefix(HEIR) not in alive)
        for member, count in dead.items():
            says = f"{count} shards are held by {member}, which does not beat"
            report.warn("members", says, "it has just died, or reaches no control keys: see its log")
        if free := View(leases, beats).free:
            says = f"nobody holds {spans(free)}"
            report.warn("shards", says, "others take it within seconds: ask again, then see /health")
        else:
            report.ok("shards", f"all {self._shards} have a holder")

    def each(self, check: Callable[[State, Report], None], name: str) -> Callable[[Report], None]:
        """Return the check of each shard by a check of a single worker; alike findings are told once."""

        def job(report: Report) -> None:
            if self._server.client is None:
                return
            alike = Alike()
            for shard, keys in enumerate(self._each):
                state = State(self._config.redis.of_shard(shard), self._server, keys)
                check(state, alike.report(str(shard)))
            well = f"in all {self._shards} shards as it should be"
            alike.tell(report, name, lambda shards: spans([*map(int, shards)]), well)

        return job

    @property
    def _each_lease(self) -> list[str]:
        return [keys.lease for keys in self._each]

    def _beats(self, report: Report) -> list[Beat]:
        """Return the beats; one that cannot be read is reported."""
        client: Any = self._server.client
        members = sorted(one.decode("utf-8", "replace") for one in client.smembers(self._keys.beats))
        beats = []
        for member, data in zip(members, self._values(map(self._keys.beat, members)), strict=True):
            try:
                beats += [] if data is None else [Beat.read(data)]
            except ValueError as error:
                report.fail("members", f"{member}: its beat cannot be read: {error}", "which version is it?")
        return beats

    def _values(self, keys: Iterable[str]) -> list[bytes | None]:
        """Return the values of keys; a key of another type has none."""
        client: Any = self._server.client
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.get(key)
        found = pipe.execute(raise_on_error=False)
        return [value if isinstance(value, bytes) else None for value in found]


def commands(redis: RedisConfig) -> Commands:
    """Yield the commands of a member, each with keys of the kinds that it uses."""
    keys, prefix = FleetKeys(redis.consumer_group), shard_prefix(redis.consumer_group, 0)
    yield from daemons(redis.of_shard(0), Keys(redis.consumer_group, prefix))
    yield from (("HSETNX", keys.fleet, "shards", 1), ("HGET", keys.fleet, "shards"))
    yield from (("SADD", keys.beats, "x"), ("SREM", keys.beats, "x"), ("SMEMBERS", keys.beats))
    beat = keys.beat("doctor")
    yield from (("SET", beat, "x", "PX", 1), ("MGET", beat), ("DEL", beat))


def spans(shards: Sequence[int]) -> str:
    """Return numbers of shards, rising, as people write them: `shards 0-3, 7`."""
    out: list[list[int]] = []
    for shard in shards:
        if out and shard == out[-1][1] + 1:
            out[-1][1] = shard
        else:
            out.append([shard, shard])
    told = _some(f"{first}-{last}" if last > first else str(first) for first, last in out)
    return f"shard {told}" if len(shards) == 1 else f"shards {told}"


def _generations(report: Report, beats: Sequence[Beat]) -> None:
    found = Counter(beat.generation for beat in sorted(beats, key=lambda beat: beat.order))
    if len(found) > 1:
        says = ", ".join(f"{count} of {name}" for name, count in found.items())
        report.warn(
            "generation",
            f"members of {len(found)} deployments: {says}",
            "end the older ones, unless one is on",
        )
    else:
        report.ok("generation", f"all members are of {beats[0].generation}")


def _told(beat: Beat) -> str:
    calls = sum(load.calls for load in beat.held.values())
    leaving = "" if beat.draining is None else ", leaving"
    return f"{beat.member} ({len(beat.held)} shards, {calls} of {beat.capacity} calls{leaving})"


def _some(names: Iterable[str]) -> str:
    every = [*names]
    return ", ".join(every[:MOST]) + (f" and {len(every) - MOST} more" if len(every) > MOST else "")
