"""The chaos command: it breaks when a promise does, and says which."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from rich.console import Console
from trio.testing import MockClock

from trio_asr.client.producer import Entries
from trio_asr.config import loading
from trio_asr.lab.chaos import command, report, running
from trio_asr.lab.chaos.command import chaos, choose, mixes, own_settings
from trio_asr.lab.chaos.fleet_mix import MIXES
from trio_asr.lab.chaos.ingest_calls import NOT_SENT, NOT_STORED
from trio_asr.lab.chaos.input_rows import CUT
from trio_asr.lab.chaos.mix import FAULTS, mixed
from trio_asr.lab.chaos.redis_rows import GONE
from trio_asr.lab.chaos.row import Row, of_seconds
from trio_asr.lab.chaos.rows import ROWS
from trio_asr.lab.chaos.running import Outcome, Terms, crowd, judge, play_row
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.count import CallAccount, ChannelAccount
from trio_asr.lab.rig.feeder import Mode
from trio_asr.lab.rig.processes import toml
from trio_asr.lab.rig.shape import Shape
from trio_asr.wire.codes import GapReason

ROW = ROWS[0]
LAB_REASONS = {GONE, CUT, NOT_SENT, NOT_STORED}  # set by checks of rows, where no gap event can tell


def account(**more: Any) -> Account:
    channel = ChannelAccount(samples=10, covered=10)
    call = CallAccount("a", [channel], connections=1, ended=True)
    for part in (channel, call):
        for name in set(more) & {*part.__dataclass_fields__}:
            setattr(part, name, more.pop(name))
    return Account({"a": call}, **more)


def test_rows_permit_gaps_for_reasons_that_exist_only() -> None:
    assert {reason for row in ROWS for reason in row.gaps} <= {*GapReason} | LAB_REASONS


def test_nothing_is_broken_when_all_is_well() -> None:
    assert judge(ROW, account()) == []


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ({"lost": 1}, "1 samples lost"),
        ({"doubled": 1}, "1 samples doubled"),
        ({"strangers": 1}, "never there"),
        ({"gaps": {"skipped": 1}}, "given up: {'skipped': 1}"),
        ({"shift_ms": 30.0}, "shifted by 30 ms"),
        ({"connections": 2}, "2 connections"),
        ({"overlaps": 1}, "beside another"),
        (
            {"fed_overlaps": 1, "pauses_s": (0.2, -0.5)},
            "1 connections fed beside another of their call, for 0.50 s",
        ),
        ({"speed": 1.5}, "1.50 times"),
        ({"ended": False}, "not ended: a"),
        ({"samples": 0, "covered": 0}, "nothing was fed"),
        ({"faults": ["seq 3: bad"]}, "a: seq 3: bad"),
    ],
)
def test_each_promise_can_break(broken: dict[str, Any], text: str) -> None:
    (said,) = judge(ROW, account(**broken))
    assert text in said


def test_what_a_late_machine_reads_in_a_burst_was_not_sent_so() -> None:
    fast = account(speed=1.5)
    assert judge(ROW, fast, late_s=0.7)
    assert judge(ROW, fast, late_s=0.8) == []


def test_a_row_may_allow_what_belongs_to_it() -> None:
    row = replace(ROW, gaps=frozenset({"skipped"}), connections=2, overlaps=True)
    assert judge(row, account(gaps={"skipped": 1}, connections=2, overlaps=1)) == []
    assert judge(row, account(gaps={"skipped": 1, "retention": 1}))


def test_a_crowd_has_calls_and_samples_of_its_own_like_the_rows() -> None:
    for row in ROWS:
        calls = row.calls()
        count = 2 * len(calls)
        grown = crowd(calls, count)
        assert grown[: len(calls)] == calls
        assert len({call.number for call in grown}) == len(grown) == count
        assert len({call.id for call in grown}) == count - len(calls) + len({call.id for call in calls})
        for i, other in enumerate(grown[len(calls) :]):
            like = calls[i % len(calls)]
            assert replace(other, id=like.id, number=like.number, begin_s=like.begin_s) == like
            assert like.begin_s <= other.begin_s < like.begin_s + 1
    assert crowd(ROW.calls(), 0) == ROW.calls()


def test_rows_have_names_of_their_own_and_some_are_quick() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert 6 <= len(choose((), quick=True)) <= 17
    assert [row.name for row in choose(("twice", "calm", "twice"), quick=False)] == ["twice", "calm"]


def test_every_row_s_settings_are_settings(tmp_path: Path) -> None:
    for row in ROWS:
        path = tmp_path / f"{row.name}.toml"
        path.write_text(toml(row.settings))
        loading.load(path, {"DEEPGRAM_API_KEY": "key"})


def test_terms_ask_for_more_and_never_for_less_than_a_row_needs() -> None:
    legs = Shape(2, "mulaw", positions=True)
    assert Terms().shape(Shape()) == Shape()
    assert Terms(channels=2, encoding="alaw").shape(Shape()) == Shape(2, "alaw")
    assert Terms(channels=1).shape(legs) == legs
    assert Terms(encoding="alaw", entries=Entries.MSGPACK).shape(legs) == Shape(
        2, "alaw", Entries.MSGPACK, positions=True
    )


def test_a_call_may_need_another_shape_than_its_row() -> None:
    row, legs = replace(ROW, shape=Shape(1, "alaw")), Shape(2, "mulaw")
    plain = ROW.calls()[0]
    assert row.needs(plain) == Shape(1, "alaw")
    assert row.needs(replace(plain, shape=legs)) == legs


def test_rows_say_which_shapes_make_no_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []

    async def play(rows: list[Row], *_: object, terms: Terms, **__: object) -> list[Outcome]:
        await trio.lowlevel.checkpoint()
        played.extend(row.name for row in rows)
        assert terms.shape(ROW.shape) == Shape(1, "mulaw", positions=True)
        return []

    monkeypatch.setattr(command, "play", play)
    code, _, said = run("odd-bytes", "interleaved", "calm", "--encoding", "mulaw", "--position")
    assert (code, played) == (0, ["calm"])
    assert "odd-bytes is not played: a sample of one byte cannot be cut" in said
    assert "interleaved is not played: two series" in said


def test_a_seed_is_a_sequence() -> None:
    assert mixed(3, 2).calls() == mixed(3, 2).calls() != mixed(4, 2).calls()
    assert all(call.begin_s + call.seconds <= 120.01 for call in mixed(3, 2).calls())
    assert len(FAULTS) > 10


def test_a_fleet_s_mixes_are_of_a_seed_and_a_length_too() -> None:
    assert list(MIXES) == ["fleet-mix", "cluster-mix"]
    for name, mix in MIXES.items():
        row, other = mix(3, 2), mix(4, 2)
        assert (row.name, row.members) == (f"{name}-3", "abc")
        assert row.calls() == mix(3, 2).calls() != other.calls()
        assert {call.mode for call in row.calls()} == {Mode.PLAIN}
    assert mixes(["cluster-mix"]) == [MIXES["cluster-mix"]]
    assert mixes([]) == [mixed]


async def test_a_row_has_as_long_as_its_calls_and_four_minutes_more(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(running, "_play", hang)
    for minutes in (1, 30):
        since = trio.current_time()
        row = replace(ROW, calls=of_seconds(minutes * 60))
        outcome = await play_row(row, tmp_path, Terms())
        lasted = minutes * 60 + 240
        assert outcome.broken == [f"not over within {lasted + 0.9:.0f} s"]
        assert trio.current_time() - since == pytest.approx(lasted + 0.9)


def test_own_settings_are_taken_but_for_the_places(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        '[redis]\nurl = "redis://production"\nlease_ms = 3000\n[deepgram]\nurl = "wss://real"\n'
        'api_key_file = "/etc/key"\nmodel = "nova-3"\n[http]\nport = 3001\n'
    )
    assert own_settings(path) == {"redis": {"lease_ms": 3000}, "deepgram": {"model": "nova-3"}, "http": {}}


def run(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(chaos, options)
    return result.exit_code, result.stdout, result.stderr


def test_the_command_names_its_rows_and_its_mistakes(tmp_path: Path) -> None:
    code, output, _ = run("--list")
    assert code == 0
    assert len(output.splitlines()) == len(ROWS)
    code, _, error = run("no-such-row")
    assert code == 2
    assert "no-such-row" in error
    code, _, error = run("--random", "1", "calm")
    assert code == 2
    assert "these are: fleet-mix, cluster-mix" in error
    (tmp_path / "bad.toml").write_text("[")
    assert run("--config", str(tmp_path / "bad.toml"))[0] == 2


def test_the_report_in_three_forms() -> None:
    good = Outcome(ROW, samples=10, covered=10, recovery_s=1.25, silence_s=0.5)
    bad = Outcome(ROWS[1], samples=10, covered=6, gaps={"skipped": 3}, lost=1, broken=["1 samples lost"])
    console = Console(width=100, file=io.StringIO(), record=True)
    report.show(console, [good, bad])
    shown = console.export_text()
    assert "1 samples lost" in shown
    assert "3 skipped" in shown
    assert f"| {ROW.title} | 10 | 10 | 0 | 0 | 0 | 0 | 0 | 0.5 | 1.2 |" in report.markdown([good, bad])
    first, second = json.loads(json.dumps(report.document([good, bad])))
    assert (first["ok"], second["ok"]) == (True, False)
    assert second["gaps"] == {"skipped": 3}
    assert report.line(bad).startswith("BROKEN drop-once")


@pytest.mark.integration
def test_exit_code_0_and_figures_when_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "ROWS", [replace(ROW, calls=of_seconds(3.0))])
    code, output, _ = run("calm", "--wss", "--json")
    assert code == 0
    (figures,) = json.loads(output)
    assert (figures["samples"], figures["covered"], figures["ok"]) == (6 * 3 * 8000, 6 * 3 * 8000, True)


@pytest.mark.integration
def test_exit_code_1_when_a_promise_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Audio that Deepgram never answers for is given up; a row that does not expect that is broken."""
    row = next(row for row in ROWS if row.name == "missing-finals")
    monkeypatch.setattr(command, "ROWS", [replace(row, gaps=frozenset(), calls=of_seconds(6.0))])
    code, output, error = run(row.name, "--markdown")
    assert code == 1
    assert "given up" in error
    assert "skipped" in output


async def test_what_cannot_be_started_is_an_outcome(tmp_path: Path) -> None:
    with trio.fail_after(240):
        outcome = await play_row(replace(ROW, simulate=("--no-such-option",)), tmp_path, Terms())
    assert not outcome.ok
    assert "no-such-option" in outcome.broken[0]
