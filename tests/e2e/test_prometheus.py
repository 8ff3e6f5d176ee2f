"""A real Prometheus beside a daemon under a real, healthy load: every rule has a value, no alert fires."""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import trio
import yaml

from trio_asr.client.http import get
from trio_asr.lab.load.plan import Plan
from trio_asr.lab.load.run import Load, Where
from trio_asr.lab.rig.page import Page
from trio_asr.lab.rig.processes import Worker
from trio_asr.lab.rig.programs import Program
from trio_asr.lab.rig.valkey import free_port

PROMETHEUS = shutil.which("prometheus")
RULES = Path(__file__).parents[2] / "ops" / "prometheus" / "rules.yml"
START_S = 120.0
SPEED = "asr_overloaded|asr_first_partial_slow|asr_reader_lag|asr_delivery_low|asr_unfinalized_growing"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.integration,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus (Debian: prometheus)"),
]


class Server(Program):
    """Prometheus on loopback, scraping one port and evaluating the shipped rules every second."""

    def __init__(self, work: Path, port: int, rules: Path, target: int) -> None:
        self.port = port
        config = work / "prometheus.yml"
        addresses = [f"127.0.0.1:{target}"]
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "trio-asr", "static_configs": [{"targets": addresses}]}],
        }
        config.write_text(yaml.safe_dump(settings))
        command = [
            str(PROMETHEUS), f"--config.file={config}", f"--storage.tsdb.path={work / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
        ]  # fmt: skip
        super().__init__("prometheus", command, {}, work / "prometheus.log")

    async def up(self) -> None:
        """Start it and wait for its first scrape, which it takes some seconds to come to."""
        await self.start()
        with trio.fail_after(START_S):
            while (await get(self.port, "/-/ready"))[0] != 200 or not await self.ask("up", time.time()):
                assert self.running, self.output()
                await trio.sleep(0.2)

    async def rules(self) -> list[dict[str, Any]]:
        """All rules with their `health` and `lastError`."""
        return [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]

    async def ask(self, expression: str, at: float, back: float | None = None) -> list[dict[str, Any]]:
        """What an expression gave at a moment, or every second of the time `back` from there."""
        query = {"query": expression}
        if back is None:
            answer = await self._get("query", time=str(at), **query)
        else:
            answer = await self._get("query_range", start=str(at - back), end=str(at), step="1", **query)
        result: list[dict[str, Any]] = answer["result"]
        return result

    async def _get(self, what: str, **query: str) -> dict[str, Any]:
        """Ask its HTTP API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urlencode(query)}"
        document = json.loads(await trio.to_thread.run_sync(_read, url))
        assert document["status"] == "success", document
        data: dict[str, Any] = document["data"]
        return data


def _read(url: str) -> bytes:
    with urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body


class Watched(Load):
    """A load run with Prometheus at its side."""

    def __init__(self, plan: Plan, work: Path, rules: Path) -> None:
        super().__init__(plan, Where(), work, lambda _phase, _passed: None)
        self.began = self.full = 0.0  # by the wall clock: from when on it was watched, until when under load
        self._rules = rules

    async def up(self, worker: Program) -> None:
        await super().up(worker)
        assert isinstance(worker, Worker)
        self.prometheus = Server(self.work, free_port(), self._rules, worker.http_port)
        await self.prometheus.up()
        self.began = time.time()

    async def page(self, worker: Program) -> Page:
        self.full = time.time()
        return await super().page(worker)


def every_second(work: Path) -> tuple[Path, dict[str, Any]]:
    """The shipped rules, evaluated as often as possible; where they are, and what they say."""
    document = yaml.safe_load(RULES.read_text())
    for group in document["groups"]:
        del group["interval"]  # the server's own is a second
    path = work / "rules.yml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path, document


async def test_a_healthy_load_fires_nothing_and_every_rule_has_a_value(tmp_path: Path) -> None:
    """Requirements 19, 20 and 21."""
    path, document = every_second(tmp_path)
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    load = Watched(Plan(calls=8, seconds=30, ramp_s=2.0), tmp_path, path)
    report = await load.run()
    try:
        assert not report.failures
        assert [one["health"] for one in await load.prometheus.rules()] == ["ok"] * len(rules)
        await nothing_fired(load)
        await all_recorded(load, [rule["record"] for rule in rules if "record" in rule])
    finally:
        await load.prometheus.aclose()


async def nothing_fired(load: Watched) -> None:
    ask, now = load.prometheus.ask, load.full
    assert await ask("up == 0", now, back=now - load.began) == []
    assert await ask('ALERTS{alertstate="firing"}', now, back=now - load.began) == []
    # While a load begins some conditions hold that an alert waits for, since results follow the audio. At its
    # height none does, but for those that speak of the machine's speed: this one may have other work.
    assert await ask(f'ALERTS{{alertname!~"{SPEED}"}}', now) == []


async def all_recorded(load: Watched, names: list[str]) -> None:
    found = {name: await load.prometheus.ask(name, load.full) for name in names}
    values = {name: [float(one["value"][1]) for one in seen] for name, seen in found.items()}
    assert [name for name, seen in values.items() if not seen or math.isnan(seen[0])] == [], values
    assert values["health_endpoint_status"] == [200]
    assert values["asr_active_workers"] == [1]
    assert values["deepgram_connections_created"][0] == pytest.approx(8, rel=0.3)
    assert values["deepgram_connection_timeouts"] == values["deepgram_duplicate_connections"] == [0]
    assert values["asr_error_ratio"] == [0]
    assert values["asr_delivery_ratio"][0] > 0.8
    assert values["deepgram_reuse_ratio"][0] > 0.9
    assert values["asr_first_partial_latency_ms"][0] > 0
    assert 0 < values["asr_memory_ratio"][0] < 0.8
