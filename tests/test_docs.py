"""The pages for people: their links lead somewhere, what they name exists, the runbook has every alert."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from tests.member_metrics import member_metrics

from trio_asr.bus.base import KeyMisused, Tenure
from trio_asr.bus.calls import Add, Claim, RedisCallStore
from trio_asr.bus.redis import RedisBus
from trio_asr.commands.doctor.findings import Finding, Level, Report
from trio_asr.commands.doctor.server import Server
from trio_asr.config import Config, RedisConfig
from trio_asr.config.sections import ROUTES, keys
from trio_asr.ingest.metrics import IngestMetrics
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.wire.records import Commit, Outcome, Write

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
RULES = [
    rule
    for file in ("rules.yml", "fleet_rules.yml", "ingest_rules.yml")
    for group in yaml.load((ROOT / "ops" / "prometheus" / file).read_text(), yaml.CSafeLoader)["groups"]
    for rule in group["rules"]
]
KEYS = [path for path, _ in keys()]
# The names that other programs gave to things: the old worker's, and what tools ask of Redis.
THEIRS = {"asr_last_error", "asr_events", "asr_dead_letter", "trio_asr"}


def prose(page: str) -> str:
    """The page without its code blocks, indented or fenced."""
    page = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ {4,}\S.*$", "", page, flags=re.MULTILINE)


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE):
        text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        copies = (f"{name}-{i}" for i in range(1, 100))
        found.add(name if name not in found else next(one for one in copies if one not in found))
    return found


def links(path: Path) -> Iterator[str]:
    text = prose(path.read_text())
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r'(?:href|src|srcset)="([^"]+)"', text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        if link.startswith(("https://", "http://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link}: outside of the project"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{link}: no such heading"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_footnotes_are_there_and_used(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"\[(\^\w+)\](?!:)", text)) == set(re.findall(r"^\[(\^\w+)\]:", text, re.MULTILINE))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_they_name_exist(path: Path) -> None:
    folders = "bench|docs|fuzz|ops|requirements|scripts|systemd|tests"
    for name in re.findall(rf"`((?:{folders})/[\w./@-]*)`", path.read_text()):
        assert (ROOT / name).exists(), f"{name}: no such file"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_keys_they_name_exist(path: Path) -> None:
    sections = "|".join(sorted({key.partition(".")[0] for key in KEYS}))
    for name in re.findall(rf"`((?:{sections})\.\w+)`", path.read_text()):
        known = name in [*KEYS, ROUTES] or (ROOT / "src" / "trio_asr" / name).exists() or name == "http.token"
        assert known, f"{name}: no such key"


# -- the runbook -------------------------------------------------------------------------------------------


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in RULES if "alert" in rule}


def sections() -> dict[str, str]:
    """The sections of the alerts, in their order."""
    runbook = OPERATIONS.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (.+)$", runbook, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert list(sections()) == list(alerts())


@pytest.mark.parametrize("name", alerts())
def test_a_section_says_how_bad_it_is_what_it_means_and_what_to_do(name: str) -> None:
    labels, section = alerts()[name]["labels"], sections()[name]
    how_bad = labels["severity"]
    if "trigger" in labels:
        how_bad += f", {labels['trigger']}: roll back "
        how_bad += {"immediate": "at once", "gradual": "gradually"}[labels["rollback"]]
    assert section.lstrip().startswith(f"*{how_bad}*\n")
    assert re.findall(r"^\*\*(\w+)\.\*\*", section, flags=re.MULTILINE) == ["Means", "See", "Do"]
    url = alerts()[name]["annotations"]["runbook_url"]
    assert url == f"docs/operations.md#{name}"
    assert name in anchors(OPERATIONS)


def test_series_it_names_exist() -> None:
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    exposition = (member_metrics().exposition() + IngestMetrics().exposition()).decode()
    exported = {re.split(r"[{ ]", line)[0] for line in exposition.splitlines() if not line.startswith("#")}
    exported |= {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE")}
    named = r"\b(?:asr|deepgram|ingest|process)_[a-z0-9_]+[a-z0-9]\b(?![-.*])"
    for name in set(re.findall(named, OPERATIONS)):
        assert name in recorded | exported | alerts().keys() | THEIRS | {"deepgram_api_key"}, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus_understands_its_questions(tmp_path: Path) -> None:
    asked = [line.partition(" #")[0].strip() for line in re.findall(r"promql: ([^`\n]+)", OPERATIONS)]
    recorded = [{"record": f"asked:{i}", "expr": one} for i, one in enumerate(asked)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": recorded}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert f"SUCCESS: {len(asked)} rules found" in done.stdout, done.stdout + done.stderr


def rights(user: str, page: str = OPERATIONS) -> list[str]:
    """The rules that the page lists for a user of Redis, behind its name."""
    block = re.search(rf"^    ACL SETUSER ({user} on .+(?:\n {{8}}.+)*)", page, flags=re.MULTILINE)
    assert block is not None
    return block[1].replace("PASSWORD", "a-password").split()


async def test_the_rights_it_lists_for_the_ingest_are_enough(
    new_valkey: Callable[..., EmbeddedValkey],
) -> None:
    server, (user, *rules) = new_valkey(), rights("trio-asr-ingest")
    admin = redis.Redis(port=server.port)
    admin.execute_command("ACL", "SETUSER", user, *rules)  # type: ignore[no-untyped-call]
    url = f"redis://{user}:a-password@127.0.0.1:{server.port}/0"
    store = RedisCallStore(url, audio_stream="audio_stream", end_stream="call_end")
    try:
        steps: list[Claim | Add] = [
            Claim("7", "owner", "acme", ""),
            Add("7", "owner", "acme", "", 0, 800, b"about", (b"entry",)),
            Add("7", "owner", "acme", "", 800, 800, b"about", (), b"end"),
        ]
        outcomes = [reply.outcome for reply in await store.take(steps)]
        assert [outcome.value for outcome in outcomes] == ["taken", "added", "added"]
        # Where the end cannot be written, the entries are taken back.
        admin.delete("call_end")
        admin.set("call_end", "a text")
        with pytest.raises(KeyMisused):
            await store.take([Add("8", "owner", "acme", "", 0, 800, b"about", (b"entry",), b"end")])
        assert admin.xlen("audio_stream") == 1
    finally:
        await store.aclose()
        admin.close()


async def test_the_rights_it_lists_are_enough(new_valkey: Callable[..., EmbeddedValkey]) -> None:
    """All that a worker does on Redis, and the doctor's question, as the user of the page."""
    server = new_valkey()
    rules = rights("trio-asr")
    doctors = re.search(r"For `trio-asr doctor` as this user add `([^`]+)`", OPERATIONS)
    assert doctors is not None
    admin = redis.Redis(port=server.port)
    admin.execute_command("ACL", "SETUSER", *rules)  # type: ignore[no-untyped-call]
    url = f"redis://{rules[0]}:a-password@127.0.0.1:{server.port}/0"
    bus = RedisBus(url, group="asr-worker", audio_stream="audio_stream", end_stream="call_end")
    try:
        assert await bus.consumers() == await bus.neighbours() == []
        assert await bus.acquire(60_000) is Tenure.HELD
        assert await bus.renew(60_000) is Tenure.HELD
        assert await bus.now_ms() > 0
        await bus.show_lag("0-0", "0-0")
        await bus.show_lag("1-0", "1-0")
        written = tuple(
            Write(stream, b"{}", 10) for stream in ("transcript.7", "asr_events", "asr_dead_letter")
        )
        live = Commit("7", 1, b"{}", written)
        assert [one.outcome for one in await bus.commit([live])] == [Outcome.APPLIED]
        assert await bus.live_calls() == [b"7"]
        over = Commit("7", 2, b"{}", (), live=False)
        assert [one.outcome for one in await bus.commit([over])] == [Outcome.APPLIED]
        assert (await bus.load(["7"]))[0].rev == 2
        admin.xadd("audio_stream", {"data": "x"})
        assert len((await bus.read("0-0", "0-0")).audio) == 1
        await bus.release()
    finally:
        await bus.aclose()
    admin.execute_command("ACL", "SETUSER", rules[0], *doctors[1].split())  # type: ignore[no-untyped-call]
    admin.close()
    findings: list[Finding] = []
    checks = Server(Config(redis=RedisConfig(url=url)).redis)
    for check in (checks.reach, checks.settings, checks.clock, checks.permissions):
        check(Report(findings.append))
    if checks.client is not None:
        checks.client.close()
    assert [one for one in findings if one.level is Level.FAIL] == []
    assert any(one.check == "permissions" for one in findings)
