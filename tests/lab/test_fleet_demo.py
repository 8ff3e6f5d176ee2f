"""`trio-asr demo --fleet`: what it shows of a fleet, and how it ends when a part fails or is interrupted."""

from __future__ import annotations

import io
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from rich.console import Console

from trio_asr.core.fleet.route import shard_of
from trio_asr.lab.demo import command as command_module
from trio_asr.lab.demo.command import demo
from trio_asr.lab.demo.fleet import FleetDemo
from trio_asr.lab.demo.fleet_calls import calls_of
from trio_asr.lab.demo.fleet_report import FleetReport
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.count import CallAccount, ChannelAccount
from trio_asr.lab.rig.evidence import Evidence
from trio_asr.lab.rig.processes import Worker
from trio_asr.lab.rig.programs import RigError

ANSWER_S = 120.0


def call(name: str, *, lost: int = 0, doubled: int = 0) -> CallAccount:
    channel = ChannelAccount(samples=80_000, lost=lost, doubled=doubled)
    return CallAccount(name, [channel], connections=1, ended=True)


def report(*calls: CallAccount) -> FleetReport:
    """Return the record of two workers: shards 0 and 1 of 4 were of `a`, which was killed."""
    out = FleetReport(("a", "b"), ["a", "a", "b", "b"], ["b"] * 4, "a", {0: 6.0, 1: 6.51})
    out.count(Account({one.id: one for one in calls}), Evidence())
    out.waits = {one.id: 1.0 + at for at, one in enumerate(calls)}
    return out


def text(*parts: object) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(*parts)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_calls_lie_in_all_shards_alike() -> None:
    calls = calls_of(12, 2, 10.0)
    assert Counter(shard_of(one.id, 12) for one in calls) == dict.fromkeys(range(12), 2)
    assert len({one.number for one in calls}) == 24
    assert [one.begin_s for one in calls] == [at / 24 for at in range(24)]


def test_a_row_says_what_became_of_the_calls_that_a_worker_had_at_first() -> None:
    names = {
        shard: next(f"call-{n}" for n in range(99) if shard_of(f"call-{n}", 4) == shard) for shard in range(3)
    }
    calls = {shard: call(name) for shard, name in names.items()}
    calls[0].connections, calls[1].connections = 2, 3
    shown = report(*calls.values())
    rows = [line.split() for line in text(shown.table()).splitlines()]
    assert ["a", "0", "1", "killed", "2", "1", "to", "2", "2.0", "s", "0", "0"] in rows
    assert ["b", "2", "3", "0", "1", "2", "3", "1", "0", "3.0", "s", "0", "0"] in rows
    footer = text(shown.footer()).replace("\n", " ")
    assert "The shards of a were without a worker for 6.0 to 6.5 s." in footer
    assert "All 240,000 samples of 3 calls" in footer
    assert "lost 0, doubled 0." in footer


def test_what_is_not_whole_is_told() -> None:
    broken = call("call-2", lost=5, doubled=7)
    broken.ended, broken.strangers, broken.faults = False, 3, ["seq 1 is odd"]
    broken.channels[0].gaps = {"overflow": 2}
    assert report(call("call-1"), broken).complaints() == {
        "call-2": "5 samples lost, 7 samples doubled, 2 samples given up, 3 samples of another call, "
        "seq 1 is odd, it did not end"
    }


def test_the_longest_wait_is_between_two_finals() -> None:
    shown = report()
    kinds = [("final", 1000), ("partial", 5000), ("final", 2500), ("final", 3000)]
    evidence = Evidence(
        transcripts={"x": [{"type": kind, "timestamp_ms": at} for kind, at in kinds], "y": []}
    )
    shown.count(Account({}), evidence)
    assert shown.waits == {"x": 1.5, "y": 0.0}


def test_it_plays_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "call.wav").touch()
    outcome = CliRunner().invoke(demo, ["--fleet", str(tmp_path / "call.wav")])
    assert outcome.exit_code == 2
    assert "--fleet plays calls of its own" in outcome.output


def test_it_needs_no_speech_recognition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(command_module, "_run", lambda *_: ["the table"])
    outcome = CliRunner().invoke(demo, ["--fleet"])
    assert (outcome.exit_code, outcome.output.split("\n")[1]) == (0, "the table")
    assert "speech recognition" in CliRunner().invoke(demo, []).output


class Headless(FleetDemo):
    """A demo one of whose workers does not start."""

    def _worker(self, name: str, deepgram_url: str) -> Worker:
        worker = super()._worker(name, deepgram_url)
        if name == "worker-3":
            worker.config.write_text("[fleet]\nshards = 0\n")
        return worker


@pytest.mark.integration
async def test_a_worker_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    expected = pytest.RaisesExc(
        RigError, match=r"worker-3 ended by itself \(exit code 2\).*\n.*fleet\.shards = 0"
    )
    with pytest.RaisesGroup(expected, flatten_subgroups=True, allow_unwrapped=True):
        await Headless(console, tmp_path).run()


def started(logs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trio_asr", "demo", "--fleet", "--keep-logs", str(logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ports(logs: Path) -> set[int]:
    """Return the ports of the simulator, the workers, and the server that these were told of."""
    found: set[int] = set()
    for file in logs.glob("*.toml"):
        config = tomllib.loads(file.read_text())
        urls = [config[section]["url"] for section in ("redis", "deepgram")]
        found |= {config["http"]["port"], *(urlsplit(url).port for url in urls)}
    return found


@pytest.mark.integration
@pytest.mark.soak
def test_a_killed_worker_costs_its_calls_a_reconnect_and_no_sample(tmp_path: Path) -> None:
    """It is shown, and nothing runs afterwards."""
    with started(tmp_path) as process:
        output, _ = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 0, output
    assert len(re.findall(r"^ +[\d.]+ s +worker-[13] has taken shard \d+$", output, re.MULTILINE)) == 4
    rows = [re.split(" {2,}", line.strip()) for line in output.splitlines() if line.startswith(" worker-")]
    assert [(name, len(before.split()), calls) for name, before, _, calls, *_ in rows] == [
        ("worker-1", 4, "8"),
        ("worker-2", 4, "8"),
        ("worker-3", 4, "8"),
    ], output
    after = {name: shards.split() for name, _, shards, *_ in rows}
    assert after.pop("worker-2") == ["killed"]
    assert sorted(int(shard) for shards in after.values() for shard in shards) == [*range(12)]
    assert [row[-2:] for row in rows] == [["0", "0"]] * 3
    assert "lost 0, doubled" in output
    assert not [port for port in ports(tmp_path) if answers(port)]


@pytest.mark.integration
def test_ctrl_c_ends_all_that_was_started(tmp_path: Path) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Starting 3 workers"):
                break
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=ANSWER_S)
    assert process.returncode == 130, rest
    assert rest.endswith("Interrupted.\n")
    found = ports(tmp_path)
    assert len(found) == 5
    assert not [port for port in found if answers(port)]
