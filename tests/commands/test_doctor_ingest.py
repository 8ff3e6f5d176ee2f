"""What the doctor finds at an ingest: a well one, and one fault after the other."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from tests.client.answer_server import serve_answer

from trio_asr.commands.doctor.command import ingest_checks_of
from trio_asr.commands.doctor.findings import Finding, Level, run_checks
from trio_asr.commands.doctor.local import read_config
from trio_asr.lab.rig.processes import rig, toml
from trio_asr.lab.rig.valkey import free_port

SECRET = "secret-that-nobody-may-see"
TWILIO = {"path": "/twilio", "platform": "twilio", "tenant": "acme"}


async def diagnose(work: Path, redis_url: str, **ingest: Any) -> list[Finding]:
    """All findings of an ingest with these settings; without other ports, any free ones."""
    file = work / "config.toml"
    own = {"port": 0, "pages_port": 0, "public_url": "wss://asr.test"}
    file.write_text(toml({"redis": {"url": redis_url}, "ingest": {"route": [twilio(work)], **own, **ingest}}))
    return await examine(file)


async def examine(file: Path) -> list[Finding]:
    findings: list[Finding] = []
    loaded, problems = read_config(file, {}, ingest=True)
    secrets = loaded.config.secrets if loaded is not None else []
    passed = await run_checks(ingest_checks_of({}, loaded, problems), findings.append, secrets)
    assert passed == (not failed(findings))
    assert SECRET not in str(findings)
    return findings


def twilio(work: Path, mode: int = 0o600) -> dict[str, Any]:
    """A route whose secret is in a file of this mode."""
    file = work / f"auth-token-{mode:o}"
    file.write_text(SECRET)
    file.chmod(mode)
    return TWILIO | {"auth_token_file": str(file)}


def failed(findings: Sequence[Finding]) -> set[str]:
    return {finding.check for finding in findings if finding.level is Level.FAIL}


def one(findings: Sequence[Finding], check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found


@pytest.mark.integration
async def test_an_ingest_at_work(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        gateway = r.gateway([twilio(tmp_path)], public_url="wss://asr.test")
        before = await examine(gateway.config)
        assert {f.says.partition(":")[0] for f in before if f.check == "ports"} == {
            f"port {gateway.port} is free", f"port {gateway.pages_port} is free",
        }  # fmt: skip
        await gateway.start_and_wait()
        findings = await examine(gateway.config)
        assert failed(findings) == set()
        assert one(findings, "routes").says == (
            "/twilio: twilio, auth twilio, signed over wss://asr.test/twilio, tenant acme"
        )
        assert [f.says for f in findings if f.check == "ports"] == [
            f"an ingest answers on port {gateway.pages_port}: HTTP 200, healthy, 0 calls, and is ready",
            f"it takes calls on port {gateway.port}",
        ]
        assert one(findings, "clock").level is Level.OK


@pytest.mark.parametrize(
    ("rules", "denied"),
    [
        ("+@all ~*", ()),
        ("+@all -xadd ~*", ("XADD audio_stream", "XADD call_end")),
        ("+@all ~audio_stream", ("EVALSHA", "HSET trio_asr:ingest:doctor", "PEXPIRE", "XADD call_end")),
    ],
)
async def test_what_its_scripts_may_do(
    tmp_path: Path, redis_url: str, rules: str, denied: tuple[str, ...]
) -> None:
    client = redis.Redis.from_url(redis_url)
    if int(client.info("server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("this server cannot tell what a user may do")
    user = ("reset", "on", ">a-password", *rules.split())
    client.execute_command("ACL", "SETUSER", "gate", *user)  # type: ignore[no-untyped-call]
    try:
        url = redis_url.replace("redis://", "redis://gate:a-password@")
        found = one(await diagnose(tmp_path, url), "permissions")
        assert found.level is (Level.FAIL if denied else Level.OK)
        assert [word for word in denied if word not in found.says] == []
        assert client.keys() == []
    finally:
        client.execute_command("ACL", "DELUSER", "gate")  # type: ignore[no-untyped-call]
        client.close()


@pytest.mark.parametrize(
    ("days", "level", "says"),
    [(60, Level.OK, "is valid from"), (5, Level.WARN, "4 days more"), (-1, Level.FAIL, "not now")],
)
async def test_how_long_the_certificate_is_valid(
    tmp_path: Path, redis_url: str, days: int, level: Level, says: str
) -> None:
    issued = trustme.CA().issue_cert("asr.test", not_after=datetime.now(UTC) + timedelta(days=days))
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(files[0]))
    issued.private_key_pem.write_to_path(str(files[1]))
    files[1].chmod(0o600)
    keys = {"tls_certificate_file": str(files[0]), "tls_key_file": str(files[1])}
    found = one(await diagnose(tmp_path, redis_url, **keys), "tls")
    assert (found.level, says in found.says) == (level, True)


async def test_a_key_of_another_certificate(tmp_path: Path, redis_url: str) -> None:
    for name in ("one", "other"):
        issued = trustme.CA().issue_cert("asr.test")
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        (tmp_path / f"{name}.key").chmod(0o600)
    keys = {"tls_certificate_file": str(tmp_path / "one.pem"), "tls_key_file": str(tmp_path / "other.key")}
    findings = await diagnose(tmp_path, redis_url, **keys)
    assert failed(findings) == {"config"}
    assert "KEY_VALUES_MISMATCH" in one(findings, "config").says


async def test_a_signature_without_its_url(tmp_path: Path, redis_url: str) -> None:
    """What is wrong with the ingest hides nothing else."""
    file = tmp_path / "config.toml"
    file.write_text(toml({"redis": {"url": redis_url}, "ingest": {"port": 0, "route": [twilio(tmp_path)]}}))
    findings = await examine(file)
    assert failed(findings) == {"config"}
    assert "needs ingest.public_url" in one(findings, "config").says
    assert one(findings, "redis").level is Level.OK


async def test_files_that_anybody_may_read(tmp_path: Path, redis_url: str) -> None:
    route = twilio(tmp_path, 0o644)
    findings = await diagnose(tmp_path, redis_url, route=[route])
    (found,) = [finding for finding in findings if route["auth_token_file"] in finding.says]
    assert (found.level, found.advice) == (Level.WARN, f"chmod o-r {route['auth_token_file']}")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "is taken by something that is no ingest"),
        (
            b'HTTP/1.1 503 No\r\n\r\n{"status":"degraded","service":"ingest","calls":3}',
            'is not ready: {"status":"degraded"',
        ),
    ],
)
async def test_pages_that_say_no(tmp_path: Path, redis_url: str, answer: bytes, says: str) -> None:
    async with serve_answer(answer) as (port, _):
        findings = await diagnose(tmp_path, redis_url, port=free_port(), pages_port=port)
    assert failed(findings) == {"ports"}
    assert says in next(finding.says for finding in findings if finding.check == "ports")


async def test_a_port_that_is_taken(tmp_path: Path, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = await diagnose(tmp_path, redis_url, port=port, pages_port=free_port())
    (found,) = [finding for finding in findings if finding.level is Level.FAIL]
    assert (found.check, f"port {port}: Address already in use" in found.says) == ("ports", True)
