"""What the doctor finds in a deployment: a well one, and one fault after the other."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
import trio

from trio_asr.commands.doctor.command import checks_of
from trio_asr.commands.doctor.findings import Check, Finding, Level, Report, run_checks, threaded
from trio_asr.commands.doctor.local import read_config
from trio_asr.commands.doctor.server import Server, _version
from trio_asr.commands.doctor.state import State
from trio_asr.config import RedisConfig
from trio_asr.config.environment import API_KEY, OLD_VARIABLES
from trio_asr.lab.rig.children import clean_environment
from trio_asr.lab.rig.processes import rig, toml
from trio_asr.lab.rig.valkey import EmbeddedValkey, free_port
from trio_asr.simulator.server import SimulatorSettings, handle

KEY = "a-key-that-nobody-may-see"
MOCK = {"asr": {"provider": "mock"}}


async def diagnose(
    tmp_path: Path, settings: Mapping[str, Mapping[str, Any]], env: Mapping[str, str] | None = None
) -> list[Finding]:
    """All findings of a deployment with these settings."""
    path = tmp_path / "config.toml"
    path.write_text(toml({"http": {"port": 0}, **settings}))
    path.chmod(0o600)
    environment = {API_KEY: KEY} if env is None else env
    findings: list[Finding] = []
    loaded, problems = read_config(path, environment)
    passed = await run_checks(checks_of(environment, loaded, problems), findings.append)
    assert passed == all(finding.level is not Level.FAIL for finding in findings)
    return findings


def tells_rights(url: str) -> bool:
    """Whether the server can say what a user may do (ACL DRYRUN, since Redis 7.0)."""
    client = redis.Redis.from_url(url)
    try:
        return int(client.info("server")["redis_version"].split(".")[0]) >= 7
    finally:
        client.close()


def of(findings: Sequence[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def one(findings: Sequence[Finding], check: str) -> Finding:
    (found,) = of(findings, check)
    return found


@asynccontextmanager
async def simulator() -> AsyncIterator[tuple[str, SimulatorSettings]]:
    settings = SimulatorSettings(api_key=KEY)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, partial(_serve, settings=settings), 0, host="127.0.0.1")
        )
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1/listen", settings
        nursery.cancel_scope.cancel()


async def _serve(stream: trio.SocketStream, *, settings: SimulatorSettings) -> None:
    await handle(stream, settings)


# ---- Redis


async def test_an_empty_server_with_good_settings(
    tmp_path: Path, new_valkey: Callable[..., EmbeddedValkey]
) -> None:
    server = new_valkey(appendonly=True, maxmemory="100mb")
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": server.url}})
    by = {finding.check: finding for finding in findings}
    untold = set() if tells_rights(server.url) else {"permissions"}
    assert {f.check for f in findings if f.level is not Level.OK} == {"ownership"} | untold  # nobody runs
    for check in ("redis", "version", "topology", "durability", "memory", "eviction", "clock"):
        assert by[check].level is Level.OK, by[check]
    assert "everysec" in by["durability"].says
    assert "mock" in by["deepgram"].says


async def test_settings_on_which_no_promise_stands(
    tmp_path: Path, new_valkey: Callable[..., EmbeddedValkey]
) -> None:
    server = new_valkey(maxmemory="10mb", options={"maxmemory-policy": "allkeys-lru"})
    client = redis.Redis.from_url(server.url)
    for i in range(45):  # more than fits
        client.set(f"ballast-{i}", b"x" * 200_000)
    client.close()
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": server.url}})
    assert one(findings, "durability").level is Level.WARN
    assert one(findings, "eviction").level is Level.FAIL
    assert "noeviction" in one(findings, "eviction").advice
    assert one(findings, "memory").level in (Level.WARN, Level.FAIL)


async def test_a_replica_is_the_wrong_server(
    tmp_path: Path, new_valkey: Callable[..., EmbeddedValkey]
) -> None:
    primary = new_valkey()
    replica = new_valkey(options={"replicaof": f"127.0.0.1 {primary.port}"})
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": replica.url}})
    assert one(findings, "topology").level is Level.FAIL


async def test_what_a_user_may_not_do_is_named_and_nothing_is_written(tmp_path: Path, redis_url: str) -> None:
    """The user may read only, so a write of the doctor's would be refused and show up as a finding."""
    if not tells_rights(redis_url):
        pytest.skip("this server cannot tell what a user may do")
    password = "password-that-nobody-may-see"
    client = redis.Redis.from_url(redis_url)
    rules = ("on", f">{password}", "~*", "+@read", "+@connection", "+info", "+config|get", "+time")
    client.execute_command("ACL", "SETUSER", "doc", *rules, "+acl|whoami", "+acl|dryrun")  # type: ignore[no-untyped-call]
    try:
        client.xadd("audio_stream", {"data": "{}"})
        url = redis_url.replace("redis://", f"redis://doc:{password}@")
        findings = await diagnose(tmp_path, MOCK | {"redis": {"url": url}})
        assert [f for f in findings if f.level is Level.FAIL] == of(findings, "permissions")
        for word in ("XADD transcript.doctor", "XGROUP SETID", "EVALSHA", "HSET"):
            assert word in one(findings, "permissions").says
        assert "XREAD" not in one(findings, "permissions").says
        assert client.keys() == [b"audio_stream"]
        assert not any(password in text for finding in findings for text in finding)
    finally:
        client.execute_command("ACL", "DELUSER", "doc")  # type: ignore[no-untyped-call]
        client.close()


@pytest.fixture
def user(redis_url: str) -> Iterator[Callable[..., str]]:
    """Make a user with these rights; returns the URL as that user, of database 0."""
    client = redis.Redis.from_url(redis_url)

    def make(*rules: str) -> str:
        client.execute_command("ACL", "SETUSER", "doc", "on", ">a-password", "~*", *rules)  # type: ignore[no-untyped-call]
        return redis_url.replace("redis://", "redis://doc:a-password@")

    yield make
    client.execute_command("ACL", "DELUSER", "doc")  # type: ignore[no-untyped-call]
    client.close()


async def test_a_user_who_may_not_ping_is_looked_at_all_the_same(
    tmp_path: Path, redis_url: str, user: Callable[..., str]
) -> None:
    """The daemon needs no PING; without CLIENT SETNAME it could not connect at all."""
    if not tells_rights(redis_url):
        pytest.skip("this server cannot tell what a user may do")
    url = user("+@all", "-ping", "-client|setname")
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": url}})
    assert one(findings, "redis").level is Level.OK
    assert one(findings, "version").level is Level.OK
    denied = one(findings, "permissions")
    assert denied.level is Level.FAIL
    assert "may not: CLIENT SETNAME" in denied.says


async def test_a_user_who_may_not_select_the_database(tmp_path: Path, user: Callable[..., str]) -> None:
    host = user("+@all", "-select").rpartition("/")[0]
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": f"{host}/5"}})
    found = one(findings, "redis")
    assert found.level is Level.FAIL
    assert "'select'" in found.says
    assert "not reachable" not in found.says


async def test_no_redis_and_a_silent_one(tmp_path: Path) -> None:
    url = f"redis://user:{KEY}@127.0.0.1:{free_port()}"
    findings = await diagnose(tmp_path, MOCK | {"redis": {"url": url}})
    assert one(findings, "redis").level is Level.FAIL
    assert "refused" in one(findings, "redis").says
    assert not any(KEY in text for finding in findings for text in finding)
    assert one(findings, "deepgram").level is Level.OK  # the checks after it are made all the same


async def test_foreign_consumers_lag_and_cut_streams(tmp_path: Path, redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    settings = MOCK | {"redis": {"url": redis_url}}
    try:
        client.xgroup_create("audio_stream", "asr-worker", "0", mkstream=True)
        seconds, _ = client.time()
        now_ms = seconds * 1000
        state = {"audio_floor": f"{now_ms - 100_000}-0", "end_floor": "0-0"}
        client.hset("trio_asr:{asr-worker}:reader", mapping={"rev": 1, "state": msgspec.json.encode(state)})
        for i in range(20):
            client.xadd("audio_stream", {"data": "{}"}, id=f"{now_ms - 20_000 + i * 1000}-0")
        client.xreadgroup("asr-worker", "consumer-9", {"audio_stream": ">"}, count=1)
        client.xtrim("audio_stream", maxlen=10, approximate=False)
        client.set("call_end", "no stream")
        findings = await diagnose(tmp_path, settings)
    finally:
        client.close()
    assert one(findings, "consumers").level is Level.FAIL
    assert "consumer-9" in one(findings, "consumers").says
    audio, ends = of(findings, "progress")
    assert (audio.level, ends.level) == (Level.WARN, Level.FAIL)
    assert "99.0 s behind" in audio.says
    assert "10 entries" in audio.says
    assert one(findings, "cut").level is Level.WARN
    assert "past the floor" in one(findings, "cut").says


def test_a_redis_before_7_is_no_warning() -> None:
    """The bus notices cut audio on any version; the doctor misses `entries-added`."""
    findings: list[Finding] = []
    _version(Report(findings.append), {"redis_version": "6.2.14", "role": "master"})
    state = State(RedisConfig(), Server(RedisConfig()))
    info = {"length": 2, "last-generated-id": b"9000-0", "first-entry": (b"5000-0", {})}
    state._cut(Report(findings.append), info, "5000-0")
    assert {finding.level for finding in findings} == {Level.OK}
    state._cut(Report(findings.append), info, "4000-0")
    assert findings[-1].level is Level.WARN
    assert "past the floor" in findings[-1].says


# ---- Deepgram


async def test_deepgram_accepts(tmp_path: Path, redis_url: str) -> None:
    async with simulator() as (url, seen):
        findings = await diagnose(tmp_path, {"redis": {"url": redis_url}, "deepgram": {"url": url}})
        found = one(findings, "deepgram")
        assert found.level is Level.OK
        (connection,) = [c for c in seen.ledger.connections if c.status == 101]
        assert connection.request_id in found.says
        assert (connection.audio_bytes, connection.close_streams, connection.close_code) == (0, 1, 1000)
        assert {one(findings, name).level for name in ("dns", "tcp")} == {Level.OK}


@pytest.mark.parametrize(
    ("settings", "key", "says"),
    [
        ({}, "wrong-key", ["401", "Invalid credentials", "dg-request-id"]),
        ({"version": "x", "model": "nova-9"}, KEY, ["400", "No such model"]),
    ],
)
async def test_deepgram_refuses(
    settings: dict[str, str], key: str, says: list[str], tmp_path: Path, redis_url: str
) -> None:
    async with simulator() as (url, _):
        findings = await diagnose(
            tmp_path, {"redis": {"url": redis_url}, "deepgram": {"url": url, **settings}}, {API_KEY: key}
        )
    found = one(findings, "deepgram")
    assert found.level is Level.FAIL
    for part in says:
        assert part in found.says
    assert not any(key in text for finding in findings for text in finding)


@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("wss://no-such-host.invalid/v1/listen", "dns"),
        ("ws://127.0.0.1:{closed}/v1/listen", "tcp"),
        ("wss://127.0.0.1:{plain}/v1/listen", "tls"),
        ("ws://127.0.0.1:{plain}/v1/listen", "deepgram"),
        ("ws://127.0.0.1:{mute}/v1/listen", "deepgram"),
    ],
)
async def test_the_step_that_fails_is_named(url: str, check: str, tmp_path: Path, redis_url: str) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"220 a mail server\r\n")
                await stream.receive_some()

    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
            ports = {
                "closed": free_port(),
                "plain": listeners[0].socket.getsockname()[1],
                "mute": mute.getsockname()[1],
            }
            settings = {"url": url.format(**ports), "connect_timeout_ms": 500}
            findings = await diagnose(tmp_path, {"redis": {"url": redis_url}, "deepgram": settings})
            nursery.cancel_scope.cancel()
    failed = [finding.check for finding in findings if finding.level is Level.FAIL]
    assert failed == [check]


# ---- this machine


async def test_a_key_that_is_missing_hides_nothing_else(tmp_path: Path, redis_url: str) -> None:
    async with simulator() as (url, _):
        settings = {"redis": {"url": redis_url}, "deepgram": {"url": url}}
        findings = await diagnose(tmp_path, settings, {})
    assert one(findings, "config").level is Level.FAIL
    assert one(findings, "redis").level is Level.OK
    assert one(findings, "tcp").level is Level.OK
    assert one(findings, "deepgram").level is Level.FAIL


async def test_an_unusable_configuration(tmp_path: Path) -> None:
    findings = await diagnose(tmp_path, {"flush": {"min_chunk_ms": 1, "red": 2}})
    assert [finding.level for finding in of(findings, "config")] == [Level.FAIL] * 2


async def test_files_that_anybody_may_read_or_change(tmp_path: Path, redis_url: str) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644)
    settings = MOCK | {"redis": {"url": redis_url}, "deepgram": {"api_key_file": str(key)}}
    found = next(f for f in of(await diagnose(tmp_path, settings), "files") if str(key) in f.says)
    assert (found.level, found.advice) == (Level.WARN, f"chmod o-r {key}")
    key.chmod(0o602)
    found = next(f for f in of(await diagnose(tmp_path, settings), "files") if str(key) in f.says)
    assert found.level is Level.FAIL
    key.chmod(0o600)
    found = next(f for f in of(await diagnose(tmp_path, settings), "files") if str(key) in f.says)
    assert found.level is Level.OK


async def test_a_port_in_use(tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.close()
    async with trio.open_nursery() as nursery:

        async def other(stream: trio.SocketStream) -> None:
            async with stream:
                await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n<html>")

        listeners = await nursery.start(partial(trio.serve_tcp, other, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        findings = await diagnose(tmp_path, MOCK | {"redis": {"url": redis_url}, "http": {"port": port}})
        nursery.cancel_scope.cancel()
    assert one(findings, "http").level is Level.FAIL


async def test_a_key_where_its_file_belongs_is_not_shown(tmp_path: Path) -> None:
    settings = MOCK | {"bus": {"adapter": "memory"}, "deepgram": {"api_key_file": "0123456789abcdef01234567"}}
    for env in ({API_KEY: KEY}, {}):
        findings = await diagnose(tmp_path, settings, env)
        assert any(finding.level is Level.FAIL for finding in of(findings, "files"))
        assert "0123456789abcdef01234567" not in str(findings)


async def test_the_service_managers_socket(tmp_path: Path) -> None:
    for name, level in ((str(tmp_path / "none"), Level.FAIL), ("relative", Level.FAIL)):
        findings = await diagnose(
            tmp_path, MOCK | {"bus": {"adapter": "memory"}}, {"NOTIFY_SOCKET": name, API_KEY: KEY}
        )
        assert one(findings, "service manager").level is level


async def test_a_check_that_hangs_or_breaks_stops_no_other() -> None:
    async def hang(report: Report) -> None:
        await trio.sleep_forever()

    def broken(report: Report) -> None:
        raise ZeroDivisionError

    async def well(report: Report) -> None:
        await trio.lowlevel.checkpoint()
        report.ok("well", "said\nso")

    findings: list[Finding] = []
    checks = [Check("hang", hang, 0.01), Check("broken", threaded(broken)), Check("well", well)]
    assert not await run_checks(checks, findings.append)
    assert [(f.level, f.check) for f in findings] == [
        (Level.FAIL, "hang"),
        (Level.FAIL, "broken"),
        (Level.OK, "well"),
    ]
    assert findings[-1].says == "said so"


@pytest.mark.integration
async def test_a_deployment_at_work(tmp_path: Path) -> None:
    """As a process, beside a real worker: exit code 0, as JSON and as lines, without the key."""
    async with rig(tmp_path) as r:
        worker = r.worker()
        await worker.start_and_wait()
        await trio.sleep(1.5)  # the first floor is committed
        environment = clean_environment(OLD_VARIABLES) | {API_KEY: KEY}
        command = [sys.executable, "-m", "trio_asr", "doctor", "--config", str(worker.config)]
        said = []
        for more in ([], ["--json"]):
            done = await trio.run_process(
                [*command, *more], capture_stdout=True, check=False, env=environment
            )
            said.append(done.stdout.decode())
            assert done.returncode == 0, said
            assert KEY not in said[-1]
        document = msgspec.json.decode(said[1])
        assert document["ok"] is True
        by = {check["check"]: check for check in document["checks"]}
        assert by["ownership"]["level"] == "ok"
        assert "a worker answers" in by["http"]["says"]
        assert by["deepgram"]["level"] == "ok"
        await worker.stop()
        r.valkey.pause()
        done = await trio.run_process([*command, "--json"], capture_stdout=True, check=False, env=environment)
        r.valkey.resume()
        assert done.returncode == 1
        failed = [c["check"] for c in msgspec.json.decode(done.stdout)["checks"] if c["level"] == "FAIL"]
        assert failed == ["redis"]
