"""The rig itself: an embedded Valkey, the simulator with its control API, and workers."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from trio_asr.client.http import NoAnswer, ask, get
from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.core.fleet.places import SINGLE, Places
from trio_asr.lab.rig.certificate import certificate
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.cluster import EmbeddedCluster
from trio_asr.lab.rig.gateways import Gateway
from trio_asr.lab.rig.programs import POLL_S, Program, RigError
from trio_asr.lab.rig.valkey import EmbeddedValkey, free_port
from trio_asr.lab.rig.versions import OURS, Version
from trio_asr.lab.rig.ways import Ways

if TYPE_CHECKING:
    from pathlib import Path

START_S = 120.0  # a guard against waiting for ever: on a busy machine an interpreter takes its time
ANSWER_S = 60.0
Settings = Mapping[str, Mapping[str, Any]]


class Simulator:
    """The simulator's process and its control API."""

    def __init__(self, program: Program, url: str, control_port: int) -> None:
        self.program = program
        self.url = url
        self._control = control_port

    async def connections(self) -> dict[str, Any]:
        """Return what it saw: `{"now", "total", "open", "most_open", "connections"}`."""
        answer: dict[str, Any] = await self._ask("GET", "/connections")
        return answer

    async def faults(self, match: Mapping[str, str] | None = None, **faults: Any) -> None:
        """Set the faults of future connections whose query has all of `match`."""
        await self._ask("PUT", "/faults", {"match": dict(match or {}), "faults": faults})

    async def heal(self) -> None:
        """Clear the faults of future connections."""
        await self._ask("DELETE", "/faults")

    async def strike(self, **faults: Any) -> int:
        """Apply faults to all open connections; return how many there were."""
        answer = await self._ask("POST", "/strike", {"faults": faults})
        return int(answer["struck"])

    async def _ask(self, method: str, path: str, document: Any = None) -> Any:
        body = b"" if document is None else msgspec.json.encode(document)
        try:
            with trio.fail_after(ANSWER_S):
                status, answer = await ask(f"http://127.0.0.1:{self._control}{path}", method, body)
        except (NoAnswer, trio.TooSlowError) as error:
            raise self.program.failure(f"did not answer {method} {path}: {error!r}") from error
        if status != HTTPStatus.OK:
            raise self.program.failure(f"answered {status} to {method} {path}: {answer.decode()}")
        return msgspec.json.decode(answer)


class Worker(Program):
    """A process of `trio-asr serve` with its own configuration."""

    def __init__(
        self,
        name: str,
        config: Path,
        environment: Mapping[str, str],
        log: Path,
        http_port: int,
        *,
        version: Version = OURS,
    ) -> None:
        command = version.command("serve", "--config", str(config))
        super().__init__(name, command, {**environment, "PYTHONPATH": version.path}, log)
        self.config = config
        self.http_port = http_port

    async def start_and_wait(self, role: str = "active") -> None:
        """Start it and wait until it has this role."""
        await self.start()
        await self.has_role(role)

    async def has_role(self, role: str, within: float = START_S) -> None:
        """Wait until its role is `role` (`active` or `standby`), for `within` seconds."""
        await self._shows(role, lambda health: health.get("role") == role, within)

    async def is_up(self) -> None:
        """Wait until its pages answer, whatever its role: from then on it ends in order."""
        await self._shows("up", bool, START_S)

    async def _shows(self, what: str, wanted: Callable[[dict[str, Any]], bool], within: float) -> None:
        with trio.move_on_after(within):
            while self.running:
                if wanted(await self.health()):
                    return
                await trio.sleep(POLL_S)
        raise self.failure(f"was not {what} within {within:.0f} s")

    async def health(self) -> dict[str, Any]:
        """Return the document of `/health`; empty if nobody answers."""
        status, body = await get(self.http_port, "/health")
        return json.loads(body) if status else {}

    async def metrics(self) -> str:
        return (await get(self.http_port, "/metrics"))[1]


class Rig:
    """A Valkey, a simulator and their workers; with shards, these are members of a fleet.

    `work` holds the logs and configurations. On a cluster `valkey` is the node that all are told of, but for
    members with `ways` of their own.
    """

    def __init__(
        self,
        work: Path,
        valkey: EmbeddedValkey,
        simulator: Simulator,
        settings: Settings,
        environment: Mapping[str, str],
        *,
        places: Places = SINGLE,
        cluster: EmbeddedCluster | None = None,
    ) -> None:
        self.places = places
        self.cluster = cluster
        self.ways = Ways()
        self.work = work
        self.valkey = valkey
        self.simulator = simulator
        self.settings = settings
        self.workers: list[Worker] = []
        self.gateways: list[Gateway] = []
        self._environment = {**environment, API_KEY: "rig"}

    def member(self, name: str, places: Places | None = None, **fleet: Any) -> Worker:
        """Return another member of the fleet, or of one at other places, with these keys of `[fleet]`.

        It is not started yet.
        """
        places = places or self.places
        own = {"shards": places.shards, "member": name} | fleet
        return self.worker({"fleet": own, "redis": {"consumer_group": places.group}}, name=name)

    def worker(self, settings: Settings | None = None, version: Version = OURS, name: str = "") -> Worker:
        """Return another worker, not started yet, with `settings` on top of the rig's."""
        port = free_port()
        name = name or f"worker-{len(self.workers) + 1}"
        own: Settings = {
            "redis": {"url": self.ways.url(name) or self.valkey.url},
            "deepgram": {"url": self.simulator.url},
            "publish": {"words": True},
            "http": {"port": port},
        }
        config = self.work / f"{name}.toml"
        config.write_text(toml(merged(self.settings, own, settings or {})))
        log = self.work / f"{name}.log"
        worker = Worker(name, config, self._environment, log, port, version=version)
        self.workers.append(worker)
        return worker

    def gateway(self, routes: Sequence[Mapping[str, Any]], **ingest: Any) -> Gateway:
        """Return another gateway, not started yet, with these routes and keys of `[ingest]`."""
        port, pages_port = free_port(), free_port()
        name = f"gateway-{len(self.gateways) + 1}"
        config = self.work / f"{name}.toml"
        own = {"port": port, "pages_port": pages_port, "route": routes}
        settings: Settings = {
            "redis": {"url": self.valkey.url},
            "fleet": {"shards": self.places.shards},
            "ingest": own | ingest,
        }
        config.write_text(toml(settings))
        gateway = Gateway(name, config, self._environment, port=port, pages_port=pages_port)
        self.gateways.append(gateway)
        return gateway

    async def aclose(self) -> None:
        for program in (*self.workers, *self.gateways):
            await program.aclose()


@asynccontextmanager
async def rig(
    work: Path,
    *,
    settings: Settings | None = None,
    simulate: tuple[str, ...] = ("--segment-ms", "1000"),
    places: Places = SINGLE,
    valkey_options: Mapping[str, str] | None = None,
    cluster: EmbeddedCluster | None = None,
    wss: bool = False,
) -> AsyncIterator[Rig]:
    """Run a simulator and a Valkey with an append-only file, or a cluster; yield the rig without a worker."""
    environment = clean_environment(OLD_VARIABLES)
    command = [sys.executable, "-m", "trio_asr", "simulate", "--port", "0", "--control-port", "0", *simulate]
    if wss:
        issued = await trio.to_thread.run_sync(certificate, work)
        command += issued.options
        environment |= issued.trust
    valkey = cluster.primaries[0] if cluster else EmbeddedValkey(appendonly=True, options=valkey_options)
    servers = cluster or valkey
    program = Program("simulator", command, environment, work / "simulator.log")
    built: Rig | None = None
    try:
        await trio.to_thread.run_sync(servers.start)
        await program.start()
        control = await program.said("http://", within=START_S)
        url = await program.said("wss://" if wss else "ws://", within=START_S)
        simulator = Simulator(program, url.split()[0], int(control.rsplit(":", 1)[1]))
        built = Rig(work, valkey, simulator, settings or {}, environment, places=places, cluster=cluster)
        yield built
    finally:
        with trio.CancelScope(shield=True):  # bounded by the programs' own time limits
            if built is not None:
                await built.aclose()
            await program.aclose()
            await trio.to_thread.run_sync(servers.stop)


def merged(*layers: Settings) -> dict[str, dict[str, Any]]:
    """Return the layers merged section by section; later ones win."""
    out: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, keys in layer.items():
            out.setdefault(section, {}).update(keys)
    return out


def toml(settings: Settings) -> str:
    """Return sections as TOML. Lists and mappings in them are written on one line."""
    lines = []
    for section, keys in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {_value(value)}" for name, value in keys.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if not isinstance(value, bool | int | float | str):
        raise RigError(f"cannot write {value!r} as TOML")
    return json.dumps(value)  # JSON literals of these types are valid TOML
