"""The shipped rules: accepted and unit-tested by the real promtool, and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.member_metrics import member_metrics

from trio_asr.ingest.doors import KINDS
from trio_asr.ingest.metrics import IngestMetrics

FOLDER = Path(__file__).parents[1] / "ops" / "prometheus"
WORKER, FLEET, INGEST = ALL = [FOLDER / f"{name}.yml" for name in ("rules", "fleet_rules", "ingest_rules")]
FILES = pytest.mark.parametrize("file", ALL, ids=["worker", "fleet", "ingest"])

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (Debian: prometheus)")


def promtool(*arguments: object) -> str:
    command = [str(PROMTOOL), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def scenarios(file: Path) -> Path:
    return file.with_name(f"{file.stem}_test.yml")


def rules(file: Path = WORKER) -> list[dict[str, Any]]:
    return [
        rule for group in yaml.load(file.read_text(), yaml.CSafeLoader)["groups"] for rule in group["rules"]
    ]


def alerts(file: Path = WORKER) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules(file) if "alert" in rule}


@needs_promtool
@FILES
def test_promtool_accepts_them(file: Path) -> None:
    assert f"SUCCESS: {len(rules(file))} rules found" in promtool("check", "rules", file)


@needs_promtool
def test_promtool_accepts_the_example_of_a_configuration() -> None:
    promtool("check", "config", FOLDER / "scrape.yml")


@needs_promtool
@FILES
@pytest.mark.soak
def test_every_alert_fires_when_it_should_and_only_then(file: Path) -> None:
    """Requirements 19 and 20. Scenarios name all that fires, so each of them keeps the others quiet."""
    assert "SUCCESS" in promtool("test", "rules", scenarios(file))


@FILES
def test_every_alert_has_a_scenario_that_fires_it(file: Path) -> None:
    fired = set(re.findall(r'labels: .\{alertname="(\w+)"\}', scenarios(file).read_text()))
    assert fired == set(alerts(file))


def test_every_name_of_the_rollout_plan_is_recorded() -> None:
    """Requirements 19 and 20: its expressions are made of these."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert recorded >= {
        "deepgram_connections_created", "deepgram_connection_timeouts", "transcripts_delivered",
        "audio_chunks_sent", "health_endpoint_status", "asr_first_partial_latency_ms",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "severity", "action", "trigger", "threshold"),
    [
        ("asr_high_error_rate", "critical", "page_oncall", "P0", "> 0.1 "),
        ("asr_health_check_failed", "critical", "page_oncall", "P0", "!= 200"),
        ("asr_duplicate_connections", "warning", "notify_team", None, "1.1"),
        ("asr_connection_timeouts", "warning", "notify_team", "P1", "> 0.05"),
        ("asr_second_connection", "critical", "page_oncall", "P0", "> 0"),
        ("asr_memory_high", "critical", "page_oncall", "P0", "> 0.8"),
        ("asr_first_partial_slow", "warning", "notify_team", "P1", "> 2000"),
        ("asr_delivery_low", "warning", "notify_team", "P1", "< 0.8"),
    ],
)
def test_the_rollout_plan_is_kept(
    name: str, severity: str, action: str, trigger: str | None, threshold: str
) -> None:
    """Requirements 19 and 20."""
    alert = alerts()[name]
    labels = alert["labels"]
    assert (labels["severity"], labels["action"], labels.get("trigger")) == (severity, action, trigger)
    assert labels.get("rollback") == {"P0": "immediate", "P1": "gradual", None: None}[trigger]
    assert threshold in alert["expr"]


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in ALL for name in sorted(alerts(file))])
def test_an_alert_says_how_bad_it_is_and_what_to_do(file: Path, name: str) -> None:
    alert = alerts(file)[name]
    assert name.startswith("ingest_" if file == INGEST else "asr_")
    expected = {"critical": "page_oncall", "warning": "notify_team"}
    assert alert["labels"]["action"] == expected[alert["labels"]["severity"]]
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{name}"


def exported(exposition: bytes) -> set[str]:
    """The names of series, also of those that have no sample before their first event."""
    lines = exposition.decode().splitlines()
    declared = {line.split(" ")[2] for line in lines if line.startswith("# TYPE ")}
    return declared | {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}


@FILES
def test_rules_use_series_that_exist(file: Path) -> None:
    recorded = {rule["record"] for rule in rules(file) if "record" in rule}
    known = exported((IngestMetrics(["twilio"]) if file == INGEST else member_metrics()).exposition())
    for rule in rules(file):
        asked = re.sub(r'"[^"]*"', "", rule["expr"])
        used = set(re.findall(r"\b(?:asr|deepgram|ingest|process|transcripts|audio|health)_\w+", asked))
        assert used <= recorded | known, rule


def test_every_refusal_of_the_ingest_is_watched_by_one_alert() -> None:
    by_alert = {
        name: set(re.findall(r"\w+", re.sub(r'.*reason[!=]~\s*"([^"]+)".*', r"\1", alert["expr"])))
        for name, alert in alerts(INGEST).items()
        if "ingest_refusals_total" in alert["expr"]
    }
    unproved = {*KINDS, "account", "claims", "other_tenant"} - {"no_route"}
    assert by_alert == {
        "ingest_not_authenticated": unproved,
        "ingest_sockets_refused": unproved | {"no_route", "superseded"},
    }
