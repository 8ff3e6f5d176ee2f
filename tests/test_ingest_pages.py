"""The pages of the ingest: their tables load, their commands parse, and they name all that the code says."""

from __future__ import annotations

import re
import shlex
import time
import tomllib
from pathlib import Path

import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client.metrics_core import Metric
from tests.ingest.gateway_harness import recording, run_gateway
from trio.testing import MockClock

from trio_asr.config import IngestConfig, Route, Secret, load
from trio_asr.ingest import media_stream, server, session
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.metrics import IngestMetrics
from trio_asr.lab.dial.caller import place
from trio_asr.lab.dial.command import dial
from trio_asr.lab.dial.platforms import PLATFORMS, fitted
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.wire import client_frames, meta
from trio_asr.wire.audio_format import audio_format

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ingest.md").read_text()
PAGES = [ROOT / "docs" / "ingest.md", *sorted((ROOT / "docs" / "telephony").glob("*.md"))]
CODE = "\n".join(path.read_text() for path in (ROOT / "src" / "trio_asr" / "ingest").rglob("*.py"))
CREDENTIALS = "/run/credentials/trio-asr-ingest.service"
# What pages say to write, and to dial on a line of its own. What the shell puts in is the secret.
SECRET, HALF_UUID = "T" * 32, "0" * 16


def secret_of(path: Path) -> str:
    """The secret of a page: half of a UUID, where nothing else can be shown."""
    return HALF_UUID if path.stem == "audiosocket" else SECRET


TABLES = [
    (path, block)
    for path in PAGES
    for block in re.findall(r"^```toml\n(.+?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
]
DIALS = [
    (path, re.sub(r"\$\([^)]*\)|\$\w+", secret_of(path), line))
    for path in PAGES
    for line in re.findall(r"^ +((?:TRIO\S+=.+ )?trio-asr dial .+)$", path.read_text(), re.MULTILINE)
]


def name(value: Path | str) -> str:
    return value.stem if isinstance(value, Path) else ""


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def first_cells(text: str) -> set[str]:
    """The names in the first cells of a table's rows."""
    return {
        name
        for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)", row)
    }


# -- what they say to write -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, 2048)


def public(key: rsa.RSAPrivateKey) -> str:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(*form).decode()


def test_every_page_has_a_table_and_a_call_to_try_it() -> None:
    assert {path for path, _ in TABLES} == {path for path, _ in DIALS} == set(PAGES)


@pytest.mark.parametrize(("path", "block"), TABLES, ids=name)
def test_tables_load(path: Path, block: str, tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    """By the loader of `trio-asr ingest`, with secrets of each key's kind; and without a doubt."""
    for secret, name in re.findall(rf'(\w+)_file = "{CREDENTIALS}/(\w[\w.]*)"', block):
        (tmp_path / name).write_text(public(key) if secret == "public_key" else secret_of(path))
    assert "/etc/" not in block  # which the service cannot read
    file = tmp_path / "config.toml"
    file.write_text(block.replace(CREDENTIALS, str(tmp_path)))
    loaded = load(file, {}, ingest=True)
    assert loaded.warnings == ()
    assert loaded.config.ingest.route


def configured(path: Path, secrets: dict[str, str]) -> IngestConfig:
    """All that a page says to write, with secrets by their names."""
    tables = [tomllib.loads(block)["ingest"] for page, block in TABLES if page == path]
    routes = tuple(
        msgspec.structs.replace(
            msgspec.convert(one, Route),
            secrets={name: Secret(text) for name, text in secrets.items() if f"{name}_file" in one},
            sources=(),  # there are no addresses here
        )
        for table in tables
        for one in table.get("route", [])
    )
    origin = next((table["public_url"] for table in tables if "public_url" in table), None)
    return IngestConfig(route=routes, public_url=origin)


def asked(line: str, token: str, folder: Path) -> Dial:
    """The call of a command line; `token` is what a client of the generic protocol shows."""
    before, _, arguments = line.partition("trio-asr dial ")
    for file in (folder / one for one in shlex.split(arguments) if one.endswith(".wav")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    said = dial.make_context("dial", shlex.split(arguments)).params
    traits = PLATFORMS[said["platform"]].TRAITS
    secret = (token if said["platform"] == "generic" else SECRET) if before else None
    return fitted(
        Dial(
            said["platform"],
            said["url"],
            said["call"] or "call-1",
            recording(3, audio_format(traits.rates[0], channels=min(2, traits.channels))),
            account=said["account"],
            caller=said["caller"],
            called=said["called"],
            parameters=said["parameters"],
            secret=None if secret is None else Secret(secret),
            key=said["key"],
            reconnect_after_s=said["reconnect_after"],
            faults=Faults(drop_at_s=said["drop_at"] and 1.0),
        )
    )


@pytest.mark.parametrize(("path", "line"), DIALS, ids=name)
async def test_what_pages_say_to_dial_is_taken_by_what_they_say_to_write(
    path: Path,
    line: str,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: rsa.RSAPrivateKey,
    autojump_clock: MockClock,
) -> None:
    monkeypatch.chdir(tmp_path)
    token = jwt.encode({"exp": time.time() + 3600, "tenant_id": "acme"}, key, "RS256")
    names = ("password", "token", "auth_token", "api_key", "client_secret", "shared_secret")
    config = configured(path, dict.fromkeys(names, secret_of(path)) | {"public_key": public(key)})
    wanted = asked(line, token, tmp_path)
    async with run_gateway(*config.route, public_url=config.public_url) as on:
        report = await place(wanted, on.reach, time.time)
        await trio.sleep(5)
        assert report.as_wished, report.lines()
        entries = on.entries(wanted.call)
        assert {entry["tenant_id"] for entry in entries} == {"acme"}
        assert len(on.ends(wanted.call)) == 1
        seconds = entries[-1]["position"] / entries[-1]["sample_rate"]
        assert 2.5 < seconds < 5
        platform = {"freeswitch": "jambonz", "vobiz": "plivo"}.get(wanted.platform, wanted.platform)
        assert on.count("ingest_calls_begun_total", platform=platform) == len(report.sockets)
        roles = entries[0].get("roles")
        one = wanted.recording.format.channels == 1
        assert roles == (None if one or platform == "generic" else ["customer", "agent"])


# -- what they say of the code -----------------------------------------------------------------------------


def families() -> dict[str, Metric]:
    found = {family.name: family for family in IngestMetrics(["twilio"]).registry.collect()}
    return {
        name + ("_total" if family.type == "counter" else ""): family
        for name, family in found.items()
        if name.startswith("ingest_")
    }


def test_the_page_has_all_series() -> None:
    table = section("Health and metrics").partition("| series |")[2]
    named = set(
        re.findall(r"`(ingest_\w+)", "".join(row.split("|")[1] for row in table.splitlines() if "|" in row))
    )
    assert named == set(families())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_series_that_pages_name_exist(path: Path) -> None:
    for name in re.findall(r"`(ingest_\w+?)(?:\{[^`]*)?`", path.read_text()):
        assert name in families() or f"### {name}" in (ROOT / "docs" / "operations.md").read_text(), name


def test_the_page_has_all_reasons_for_which_sockets_are_refused() -> None:
    said = set(re.findall(r"(?:Refusal|\brefuse|Denied)\(\s*\"(\w+)\"", CODE))
    said |= set(re.findall(r"Turned\(\s*\d+,\s*\"(\w+)\"", CODE))
    said |= {kind for kind, _ in session._UNAVAILABLE.values()} | {session.NOT_READING}
    said |= {"connections", "stopping"}
    assert said == first_cells(section("What is refused"))


def test_the_page_has_all_kinds_of_odd_messages() -> None:
    said = set(re.findall(r"Odd\(\"(\w+)\"\)", CODE)) | set(reading.ODDITIES)
    said |= set(re.findall(r"metrics\.odd\([^,]+, \"(\w+)\"\)", CODE))
    assert said == first_cells(section("What is odd"))


def test_the_page_has_the_limits() -> None:
    said = section("Limits")
    assert f"| {server.HANDSHAKE_S:g} s |" in said
    assert f"| {media_stream.MAX_HEAD_BYTES // 1024} KB |" in said
    assert f"{session.EARLY_S:g} s once something came" in said
    assert f"| {reading.MOST_EARLY_BYTES // 1024} KB |" in said
    assert f"at most {client_frames.MAX_FRAGMENTS} fragments" in said
    assert f"| {session.BURST_MESSAGES:,}, then {session.MESSAGES_PER_S} a second |" in said
    assert f"| {session.SAYINGS} messages, {server.SEND_S:g} s each |" in said
    assert [seconds for _, seconds in server.KEEPALIVE] == [30, 10, 3]
    assert "after 30 s of nothing, three times, 10 s apart" in said
    assert f"may stay for {session.LINGER_S:g} s" in PAGE
    assert f"{meta.MAX_META_BYTES} bytes" in PAGE


def test_pages_have_the_defaults() -> None:
    found = [
        one for path in PAGES for one in re.findall(r"`ingest\.(\w+)` \((\d+)( min)?\b", path.read_text())
    ]
    assert len(found) >= 5
    for key, value, minutes in found:
        assert int(value) * (60 if minutes else 1) == getattr(IngestConfig(), key), key
