from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from rich.console import Console

from trio_asr.client import audio
from trio_asr.client.audio import AudioError
from trio_asr.client.producer import CallRefused
from trio_asr.lab.demo import command as command_module
from trio_asr.lab.demo import run as demo_module
from trio_asr.lab.demo.calls import Played, choose
from trio_asr.lab.demo.command import demo
from trio_asr.lab.demo.run import Demo
from trio_asr.lab.demo.two_people import channels, two_people
from trio_asr.lab.rig.programs import Program, RigError
from trio_asr.samples import shipped_samples
from trio_asr.wire.audio_format import audio_format

if TYPE_CHECKING:
    from trio_asr.lab.demo.report import Report

STUBS = Path(__file__).with_name("stub_programs.py")
CALLS = [
    Played("one", "generic", audio.Recording(bytes(8000)), ("good morning",)),
    Played("two", "exotel", audio.Recording(bytes(4800))),
    Played(
        "both", "twilio", audio.Recording(bytes(8000), audio_format(8000, "mulaw", 2)),
        ("good evening", "good morning"),
    ),
]  # fmt: skip


class StubbedDemo(Demo):
    """The demo with the real ingest, and stand-ins for the rest; modes say what one of them does wrong."""

    modes: dict[str, str]

    def _program(self, name: str, *arguments: str) -> Program:
        mode = self.modes.get(arguments[0], "works")
        if (arguments[0], mode) == ("ingest", "works"):
            return super()._program(name, *arguments)
        command = [sys.executable, str(STUBS), arguments[0], mode, *arguments[1:]]
        return Program(name, command, dict(os.environ), self._work / f"{name}.log")


async def run(work: Path, console: Console, **modes: str) -> Report:
    one = StubbedDemo(CALLS, console, work)
    one.modes = modes
    return await one.run()


def screen(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal, highlight=False, color_system=None)


@pytest.mark.parametrize("terminal", [False, True])
async def test_it_shows_what_comes_out_and_counts_it(tmp_path: Path, terminal: bool) -> None:
    console = screen(terminal=terminal)
    report = await run(tmp_path, console)
    assert report.complaints() == []
    assert report.calls["one"].error_rate == 0
    assert report.calls["two"].error_rate is None
    assert report.calls["both"].error_rate == 0.25
    assert report.page.value("deepgram_audio_chunks_sent_total") == 7
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for step in ("Starting a Valkey server", "Loading the speech model", "Starting the daemon", "the ingest"):
        assert step in shown
    assert len(re.findall(r"one .*Good morning\.", shown)) >= 1
    assert "good mor\n" in shown or terminal
    for how in ("one comes by the ingest's own protocol.", "both comes as Twilio streams both tracks of it"):
        assert how in shown
    assert len(re.findall(r"both .*(?:agent|customer) +Good morning\.", shown)) >= 2


@pytest.mark.parametrize(
    ("modes", "reason"),
    [
        ({"simulate": "dies"}, r"simulator ended .*exit code 1.*\n.*no such model"),
        ({"serve": "dies"}, r"daemon ended .*exit code 1.*\n.*lost its mind"),
        ({"serve": "twice"}, r"daemon did not do its job: one: 2 connections instead of one"),
        ({"ingest": "dies"}, r"ingest ended .*exit code 1.*\n.*no route leads here"),
    ],
)
async def test_a_part_that_fails_is_named_with_its_last_words(
    tmp_path: Path, modes: dict[str, str], reason: str
) -> None:
    expected = pytest.RaisesExc(RigError, match=reason)
    with pytest.RaisesGroup(expected, flatten_subgroups=True, allow_unwrapped=True):
        await run(tmp_path, screen(), **modes)


async def test_a_daemon_that_is_not_ready_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "READY_TIMEOUT_S", 0.0)
    with pytest.RaisesGroup(RigError, flatten_subgroups=True):
        await run(tmp_path, screen())


def test_recordings_of_one_name_are_different_calls(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "call.wav", tmp_path / "b" / "call.wav"]
    for path in paths:
        path.parent.mkdir()
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(bytes(320))
    assert [(one.name, one.platform) for one in choose(paths)] == [("call", "generic"), ("call-2", "exotel")]


def test_a_recording_is_taken_apart_into_two_people() -> None:
    def loud(seconds: float) -> bytes:
        return b"\x11\x11" * round(seconds * 8000)

    def quiet(seconds: float) -> bytes:
        return bytes(2 * round(seconds * 8000))

    turns = [loud(1.0), loud(2.0) + quiet(0.1) + loud(1.0), loud(1.0), loud(1.0)]
    customer, agent = channels(audio.Recording(b"".join(turn + quiet(0.5) for turn in turns)))
    # The third turn begins 0.6 s before the second is over.
    assert agent == turns[0] + quiet(0.5) + quiet(2.5) + turns[2] + quiet(0.5) + quiet(1.5)
    assert customer == quiet(1.5) + turns[1] + quiet(0.5) + quiet(0.4) + turns[3] + quiet(0.5)


def test_the_call_of_two_people_comes_on_two_tracks() -> None:
    *others, call = choose([])
    assert [one.platform for one in others] == ["generic", "exotel"]
    assert (call.name, call.platform) == ("stereo", "twilio")
    assert call.recording.format == audio_format(8000, "mulaw", 2)
    assert 17 < call.recording.seconds < 19.16
    assert call.said[0].startswith("Good morning. My package was supposed")
    assert call.said[1].startswith("Hello, you are speaking with the delivery team. The driver")
    only = shipped_samples()[:1]
    assert two_people(only)[1][1].startswith("Good morning, thank you for calling.")


def test_a_name_that_is_no_id_is_refused_in_words(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "{call}.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(320))
    with pytest.raises(CallRefused, match=r"takes no such call: .*unusable characters"):
        choose([tmp_path / "{call}.wav"])


def test_the_command_fails_with_one_reason(tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no audio")
    outcome = CliRunner().invoke(demo, [str(noise)])
    assert outcome.exit_code == 1
    assert "noise.wav: not a recording" in outcome.output


def test_a_wheel_says_where_its_other_calls_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise AudioError("enough")

    monkeypatch.setattr(command_module, "_run", stop)
    assert "scripts/demo.sh" not in CliRunner().invoke(demo, []).output  # a checkout has all of them
    monkeypatch.setattr(command_module, "shipped_samples", lambda: shipped_samples()[:1])
    assert " ".join(CliRunner().invoke(demo, []).output.split()).startswith(command_module.FEWER)


@pytest.mark.soak
@pytest.mark.integration
def test_the_shipped_calls_are_recognised_word_for_word(tmp_path: Path) -> None:
    """Real speech, real processes; also the README's first command from its second half on.

    How many interims come of it is the machine's business: a recogniser that is slow makes fewer.
    """
    done = subprocess.run(
        [sys.executable, "-m", "trio_asr", "demo", "--keep-logs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = r"^ *(\w+) +[\d.]+ s +(\d+) +\d+ +\d+ +\d+ +(\d+)% "
    rows = re.findall(row, done.stdout, re.MULTILINE)
    assert [name for name, *_ in rows] == ["billing", "internet", "stereo"], done.stdout
    for _, connections, errors in rows:
        assert connections == "1"
        assert int(errors) <= 15
    conversation = done.stdout.partition("What was said in stereo")[2].partition("What the calls")[0]
    people = re.findall(r"^ +(agent|customer) ", conversation, re.MULTILINE)  # a turn may be several lines
    assert [who for who, _ in itertools.groupby(people)] == ["agent", "customer", "agent", "customer"]
