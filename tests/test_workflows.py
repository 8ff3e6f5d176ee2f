"""The workflows, as far as they can be checked where they do not run. Requirements 15 and 24."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def load(path: Path) -> dict[Any, Any]:
    document: dict[Any, Any] = yaml.load(path.read_text(), yaml.CSafeLoader)
    document["on"] = document.pop(True)  # what YAML 1.1 makes of the word
    return document


CI = load(FOLDER / "ci.yml")
AUDIT = load(FOLDER / "audit.yml")


def steps(document: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


def commands(job: str) -> str:
    return "\n".join(step.get("run", "") for step in CI["jobs"][job]["steps"])


def uploads(job: str) -> list[dict[str, Any]]:
    return [
        step["with"]
        for step in CI["jobs"][job]["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]


def test_it_runs_on_push_and_pull_request_and_for_others() -> None:
    assert set(CI["on"]) == {"push", "pull_request", "workflow_call"}
    assert set(AUDIT["on"]) >= {"schedule", "workflow_call"}
    assert set(CI["jobs"]) == {"lint", "tests", "soak", "redis", "wheel", "mock", "audit"}


def test_every_python_and_redis_in_use_is_tested() -> None:
    assert CI["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    images = [one["image"] for one in CI["jobs"]["redis"]["strategy"]["matrix"]["include"]]
    assert [image.split(":")[0] for image in images] == ["redis", "redis", "redis", "valkey/valkey"]
    assert images[:3] == ["redis:6.2", "redis:7", "redis:8"]
    assert "TRIO_ASR_TEST_REDIS_SERVER" in CI["jobs"]["redis"]["env"]


def test_coverage_and_the_wheel_are_kept() -> None:
    assert "--cov-report=xml" in commands("tests")
    assert [kept["path"] for kept in uploads("tests")] == ["coverage.xml"]
    assert [kept["path"] for kept in uploads("wheel")] == ["dist/*.whl"]


def test_the_mock_needs_no_account_and_no_redis() -> None:
    assert CI["jobs"]["mock"]["env"] == {"ASR_PROVIDER": "mock", "PUBSUB_ADAPTER": "in_memory"}


def test_what_is_locked_is_audited() -> None:
    (job,) = AUDIT["jobs"].values()
    text = "\n".join(step.get("run", "") for step in job["steps"])
    assert "pip-audit" in text
    for name in job["strategy"]["matrix"]["requirements"]:
        assert (ROOT / "requirements" / f"{name}.txt").is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_more_rights_than_it_needs_and_no_surprises(path: Path) -> None:
    document = load(path)
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert "permissions" not in job
        if "uses" not in job:
            assert job["timeout-minutes"] <= 60
            assert not job["runs-on"].endswith("latest")
    for step in steps(document):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), step
    assert "secrets." not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_it_names_is_there(path: Path) -> None:
    text = path.read_text()
    for name in re.findall(r"(?<![\w/.])(?:scripts|tests)(?:/[\w.-]+)+", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"run: (scripts/[\w.-]+)", text):
        assert os.access(ROOT / name, os.X_OK), name
    for name in re.findall(r"uses: \./(\S+)", text):
        assert (ROOT / name).is_file(), name
