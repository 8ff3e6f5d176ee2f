"""The page on fleets: its formula and examples, names of keys, rights, and the manifest that it explains."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import yaml
from tests.test_docs import rights

from trio_asr.bus.base import Tenure
from trio_asr.bus.calls import PREFIX
from trio_asr.bus.keys import FleetKeys, Keys
from trio_asr.bus.router import RedisRouter
from trio_asr.commands.doctor.findings import Finding, Level, Report
from trio_asr.commands.doctor.fleet import commands
from trio_asr.commands.doctor.server import Server
from trio_asr.config import Config, FleetConfig, RedisConfig, load, shard_prefix
from trio_asr.config.environment import API_KEY, OVERRIDES
from trio_asr.core.fleet.places import DEFAULT_GROUP, Places
from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.wire.records import Commit, Outcome, Write

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "fleet.md").read_text()
SHARDS = 64  # in its examples
VECTOR = re.compile(r"^\| `([^`]+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
VECTORS = [(name, *map(int, numbers)) for name, *numbers in VECTOR.findall(PAGE)]
NAMES = [name for name, *_ in VECTORS]
PYTHON, *SCRIPTS = re.findall(r"^```(?:python|js)\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_vectors_are_what_members_and_tools_go_by() -> None:
    assert len(VECTORS) == 6
    for name, crc, *shards in VECTORS:
        assert shard_of(name, 2**32) == crc
        assert [shard_of(name, number) for number in (8, 64, 1000)] == shards


def test_the_python_example() -> None:
    space: dict[str, Any] = {}
    exec(PYTHON, space)
    places = Places(SHARDS)
    assert [space["place"](name) for name in NAMES] == [places.of(name) for name in NAMES]
    assert places.of("call-17") == "{asr-worker.0}:"
    assert "`{asr-worker.0}:transcript.call-17`" in PAGE


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node (Debian: nodejs)")
@pytest.mark.parametrize("crc32", ["zlib", "table"])
def test_the_node_examples(tmp_path: Path, crc32: str) -> None:
    formula, table = SCRIPTS
    tell = f"for (const name of {json.dumps(NAMES)}) console.log(place(name));\n"
    if crc32 == "table":
        formula = re.sub(r"^import .*\n", table, formula)
    script = tmp_path / "place.mjs"
    script.write_text(formula + tell)
    done = subprocess.run(["node", script], capture_output=True, text=True, check=False)
    if crc32 == "zlib" and "crc32" in done.stderr:
        pytest.skip("this node is older")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [Places(SHARDS).of(name) for name in NAMES]


def test_the_names_of_keys_are_those_in_use() -> None:
    table = PAGE.partition("\n## Names on Redis\n")[2].partition("\n## ")[0]
    config = Config(redis=RedisConfig(consumer_group="GROUP"), fleet=FleetConfig(shards=SHARDS)).of_shard(7)
    keys, shared = Keys("GROUP", shard_prefix("GROUP", 7)), FleetKeys("GROUP")
    used = {
        config.redis.audio_stream, config.redis.call_end_stream, config.redis.events_stream,
        config.redis.dead_letter_stream, config.redis.transcript_key("ID"), keys.lease,
        shard_prefix("GROUP", 7) + PREFIX + "ID", shared.fleet, shared.beats, shared.beat("MEMBER"),
    }  # fmt: skip
    named = re.findall(r"`(\{GROUP\.k\}:[^`]+|trio_asr:[^`]+)`", table)
    assert {name.replace(".k}", ".7}") for name in named} == used
    for rest in (keys.fence, keys.live, keys.reader, keys.state("ID")):
        assert f"`{rest.removeprefix(keys.lease.removesuffix('lease'))}`" in table


async def test_the_rights_it_lists_are_enough(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    server, (user, *rules) = new_valkey(), rights("trio-asr-fleet", PAGE)
    admin: Any = redis.Redis(port=server.port)
    admin.execute_command("ACL", "SETUSER", user, *rules)
    url = f"redis://{user}:a-password@127.0.0.1:{server.port}/0"
    config = Config(redis=RedisConfig(url=url), fleet=FleetConfig(shards=2, member="a"))
    router = RedisRouter(config)
    try:
        control, bus = router.control, router.bus(1)
        assert await control.found(2) == 2
        await control.beat("a", b"{}", 4000)
        assert await control.beats() == [b"{}"]
        assert await bus.acquire(60_000) is Tenure.HELD
        assert await control.holders() == ["", "a"]
        written = (Write("{asr-worker.1}:transcript.7", b"{}", 10),)
        assert [one.outcome for one in await bus.commit([Commit("7", 1, b"{}", written)])] == [
            Outcome.APPLIED
        ]
        admin.xadd("{asr-worker.1}:audio_stream", {"data": "x"})
        assert len((await bus.read("0-0", "0-0")).audio) == 1
        await bus.show_lag("0-0", "0-0")
        await bus.trim("0-0")
        await bus.pass_on("b")
        await control.leave("a")
    finally:
        await router.aclose()
    if int(admin.info("server")["redis_version"].split(".")[0]) >= 7:
        admin.execute_command("ACL", "SETUSER", user, "+acl|whoami", "+acl|dryrun")
        findings: list[Finding] = []
        checks = Server(msgspec.structs.replace(config.redis, trim=True), commands)
        for check in (checks.reach, checks.permissions):
            check(Report(findings.append))
        assert [(one.check, one.level) for one in findings] == [
            ("redis", Level.OK),
            ("permissions", Level.OK),
        ]
        assert checks.client is not None
        checks.client.close()
    admin.close()


# -- Kubernetes ----------------------------------------------------------------------------------------------


def manifest() -> dict[str, Any]:
    documents = yaml.load_all((ROOT / "ops" / "kubernetes" / "fleet.yaml").read_text(), yaml.CSafeLoader)
    return {document["kind"]: document for document in documents}


def test_the_manifest_s_configuration_is_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(manifest()["ConfigMap"]["data"]["config.toml"])
    loaded = load(file, {API_KEY: "key", "TRIO_ASR_MEMBER": "pod-1", "TRIO_ASR_GENERATION": "2"})
    config = loaded.config
    assert loaded.warnings == ()
    assert (config.fleet.shards, config.fleet.member_name, config.fleet.generation_name) == (64, "pod-1", "2")
    assert config.redis.trim
    assert config.redis.consumer_group == DEFAULT_GROUP
    assert config.deepgram.max_connections == config.fleet.capacity


def test_the_manifest_rolls_out_as_a_fleet_wants_it() -> None:
    deployment = manifest()["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": "10%", "maxUnavailable": 0}
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] == 120
    assert Config().fleet.drain_s + Config().shutdown.grace_ms / 1000 + 4 < 120
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": Config().http.port}]
    own = {one["name"]: one.get("valueFrom") or one["value"] for one in container["env"]}
    assert own.keys() - {API_KEY} <= OVERRIDES.keys()
    assert own["TRIO_ASR_MEMBER"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    labels = deployment["template"]["metadata"]["labels"]
    for one in (deployment, manifest()["PodDisruptionBudget"]["spec"]):
        assert one["selector"]["matchLabels"] == labels
