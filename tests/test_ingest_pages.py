"""The pages of the ingest: their tables load, their commands parse, and they name all that the code says."""

from __future__ import annotations

import base64
import re
import shlex
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prometheus_client.metrics_core import Metric

from trio_asr.config import IngestConfig, load
from trio_asr.config.ingest import TOKEN
from trio_asr.ingest import media_stream, server, session
from trio_asr.ingest.dialects import media_events, reading
from trio_asr.ingest.metrics import IngestMetrics
from trio_asr.lab.dial.command import dial
from trio_asr.lab.dial.socket import parsed
from trio_asr.wire import client_frames, meta

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ingest.md").read_text()
PAGES = [ROOT / "docs" / "ingest.md", *sorted((ROOT / "docs" / "telephony").glob("*.md"))]
CODE = "\n".join(path.read_text() for path in (ROOT / "src" / "trio_asr" / "ingest").rglob("*.py"))
CREDENTIALS = "/run/credentials/trio-asr-ingest.service"
BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in PAGES
    for number, block in enumerate(
        re.findall(r"^```toml\n(.+?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    )
]
# A command on a line of its own; what the shell puts in stands as sixteen characters, the shortest secret.
DIALS = [
    pytest.param(path, re.sub(r"\$\([^)]*\)|\$\w+", "T" * 16, line), id=f"{path.stem}-{number}")
    for path in PAGES
    for number, line in enumerate(
        re.findall(r"^ +(?:\w+=\S+(?: [^\"]+\")? )?(trio-asr dial .+)$", path.read_text(), re.MULTILINE)
    )
]


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
def public_key() -> str:
    key = rsa.generate_private_key(65_537, 2048).public_key()
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def test_every_page_has_a_table() -> None:
    assert {str(block.id).rpartition("-")[0] for block in BLOCKS} == {path.stem for path in PAGES}


@pytest.mark.parametrize("block", BLOCKS)
def test_tables_load(block: str, tmp_path: Path, public_key: str) -> None:
    """By the loader of `trio-asr ingest`, with secrets of each key's kind; and without a doubt."""
    for key, name in re.findall(rf'(\w+)_file = "{CREDENTIALS}/(\w[\w.]*)"', block):
        text = public_key if key == "public_key" else base64.b64encode(name.encode().ljust(33)).decode()
        (tmp_path / name).write_text(text)
    assert "/etc/" not in block  # which the service cannot read
    file = tmp_path / "config.toml"
    file.write_text(block.replace(CREDENTIALS, str(tmp_path)))
    loaded = load(file, {}, ingest=True)
    assert loaded.warnings == ()
    assert loaded.config.ingest.route


def routes(path: Path) -> list[dict[str, str]]:
    tables = re.findall(
        r"^\[\[ingest\.route\]\]\n(.+?)^(?:```|\[)", path.read_text(), re.DOTALL | re.MULTILINE
    )
    return [dict(re.findall(r'^(\w+) = "([^"]*)"', table, re.MULTILINE)) for table in tables]


@pytest.mark.parametrize(("path", "line"), DIALS)
def test_calls_parse_and_go_to_a_route_of_the_page(
    path: Path, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = shlex.split(line)[2:]
    for recording in (tmp_path / one for one in arguments if one.endswith(".wav")):
        recording.parent.mkdir(parents=True, exist_ok=True)
        recording.touch()
    monkeypatch.chdir(tmp_path)
    said = dial.make_context("dial", arguments).params
    asked = parsed(said["url"])
    route = next(one for one in routes(path) if one["path"].replace(TOKEN, "T" * 16) == asked.path)
    assert route["platform"] == {"freeswitch": "jambonz"}.get(said["platform"], said["platform"])
    assert route.get("user") == asked.username


def test_every_page_of_a_platform_has_a_call_to_try_it() -> None:
    assert {str(one.id).rpartition("-")[0] for one in DIALS} == {path.stem for path in PAGES}


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
    said |= {kind for kind, _ in session._UNAVAILABLE.values()} | reading.REFUSALS - {"protocol"}
    said -= {"path"}  # of the stand-in for who may connect
    assert said <= first_cells(section("What is refused"))


def test_the_page_has_all_kinds_of_odd_messages() -> None:
    said = set(re.findall(r"Odd\(\"(\w+)\"\)", CODE)) | set(reading.ODDITIES)
    said |= set(re.findall(r"metrics\.odd\([^,]+, \"(\w+)\"\)", CODE))
    assert said == first_cells(section("What is odd"))


def test_the_page_has_the_limits() -> None:
    said = section("Limits")
    assert f"| {server.HANDSHAKE_S:g} s |" in said
    assert f"| {media_stream.MAX_HEAD_BYTES // 1024} KB |" in said
    assert f"{session.EARLY_S:g} s once something came" in said
    assert f"| {media_events.MOST_EARLY_BYTES // 1024} KB |" in said
    assert f"at most {client_frames.MAX_FRAGMENTS} fragments" in said
    assert f"| {session.BURST_MESSAGES:,}, then {session.MESSAGES_PER_S} a second |" in said
    assert f"| {session.SAYINGS} messages, {server.SEND_S:g} s each |" in said
    assert [seconds for _, seconds in server.KEEPALIVE] == [30, 10, 3]
    assert "after 30 s of nothing, three times, 10 s apart" in said
    assert f"may stay for {session.LINGER_S:g} s" in PAGE
    assert session.MAX_META_BYTES == meta.MAX_META_BYTES
    assert f"{meta.MAX_META_BYTES} bytes" in PAGE


def test_pages_have_the_defaults() -> None:
    found = [
        one for path in PAGES for one in re.findall(r"`ingest\.(\w+)` \((\d+)( min)?\b", path.read_text())
    ]
    assert len(found) >= 5
    for key, value, minutes in found:
        assert int(value) * (60 if minutes else 1) == getattr(IngestConfig(), key), key
