"""The rows of two versions: when they are played, with which workers, and what they check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from click.testing import CliRunner

from trio_asr.client.producer import Entries
from trio_asr.lab.chaos import command
from trio_asr.lab.chaos.command import chaos
from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.chaos.running import Outcome, Terms
from trio_asr.lab.chaos.version_rows import LATER_S, ROWS
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.count import CallAccount
from trio_asr.lab.rig.evidence import Evidence
from trio_asr.lab.rig.feeder import Mode
from trio_asr.lab.rig.shape import PLAIN
from trio_asr.lab.rig.versions import OURS, Version

OTHER = Version("/opt/other/bin/python")


def row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("upgrade", [OTHER, OURS]),
        ("upgrade-kill", [OTHER, OURS]),
        ("rollback", [OURS, OTHER]),
        ("rollback-kill", [OURS, OTHER]),
    ],
)
def test_the_standby_is_of_the_version_that_takes_over(name: str, versions: list[Version]) -> None:
    terms = Terms(beside=OTHER)
    assert [terms.version(row(name), number) for number in range(row(name).workers)] == versions


@pytest.mark.parametrize("one", ROWS, ids=lambda one: one.name)
def test_the_other_version_gets_nothing_that_it_may_not_know(one: Row) -> None:
    """Mono linear16 alone. All else comes once it was stopped, and only where it is not to follow."""
    for call in one.calls():
        if call.shape != PLAIN:
            assert one.beside == {0}
            known = call.mode is Mode.CHANGE and call.shape.entries is Entries.JSON
            assert (call.at_s if known else call.begin_s) >= LATER_S
    assert Terms(beside=OTHER).unfit(one) == ""
    assert "mono linear16" in Terms(beside=OTHER, channels=2).unfit(one)
    assert Terms(channels=2).unfit(one) == "it needs another version, which --beside names"
    assert Terms().unfit(replace(one, beside=frozenset())) == ""


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[list[str], list[Terms], str, int]:
    """Return the rows that the command would play, its terms, what it says, and its exit code."""
    played: list[str] = []
    asked: list[Terms] = []

    async def play(rows: list[Row], *_: object, terms: Terms, **__: object) -> list[Outcome]:
        await trio.lowlevel.checkpoint()
        played.extend(one.name for one in rows)
        asked.append(terms)
        return []

    monkeypatch.setattr(command, "play", play)
    result = CliRunner().invoke(chaos, options)
    return played, asked, result.stderr, result.exit_code


def test_without_another_version_they_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    played, _, said, code = run(monkeypatch, "calm", "upgrade", "rollback")
    assert (played, code) == (["calm"], 0)
    for name in ("upgrade", "rollback"):
        assert f"{name} is not played: it needs another version, which --beside names\n" in said


def test_with_another_version_they_are_played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "trio_asr").mkdir()
    (tmp_path / "trio_asr" / "__main__.py").touch()
    played, (terms,), _, code = run(monkeypatch, "upgrade", "rollback", "--beside", str(tmp_path))
    assert (played, code) == (["upgrade", "rollback"], 0)
    assert terms.beside == Version(OURS.python, str(tmp_path))


def test_a_place_without_a_version_is_a_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    played, _, said, code = run(monkeypatch, "upgrade", "--beside", str(tmp_path))
    assert (played, code) == ([], 2)
    assert "is no checkout's src, virtual environment or interpreter" in said


class Process:
    def __init__(self, name: str, *, running: bool = True) -> None:
        self.name, self.running = name, running


class Workers:
    def __init__(self, *workers: Process) -> None:
        self.workers = workers


def broken(workers: Workers, connections: dict[str, int]) -> list[str]:
    """Return what the check of `upgrade` says about calls with so many connections."""
    calls = {name: CallAccount(name, connections=count) for name, count in connections.items()}
    return row("upgrade").check(Finding(ChaosRun(cast("Any", workers)), Account(calls), Evidence()))


def test_a_call_that_only_one_worker_had_shows_nothing() -> None:
    both = Workers(Process("worker-1"), Process("worker-2"))
    assert broken(both, {"call-001": 2, "change": 3, "late-1": 1, "other-9": 1}) == []
    assert broken(both, {"call-001": 1}) == ["call-001 had 1 connections, not 2"]
    assert broken(both, {"change": 2}) == ["change had 2 connections, not 3"]
    assert broken(both, {"late-1": 2}) == ["late-1 had 2 connections, not 1"]
    ended = Workers(Process("worker-1"), Process("worker-2", running=False))
    assert broken(ended, {}) == ["worker-2 has ended"]
