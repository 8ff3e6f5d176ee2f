"""`trio-asr dial`: what its options come to, and its exit code."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from tests.lab.dial.calls import recording

from trio_asr.lab.dial import command
from trio_asr.lab.dial.report import Outcome, Report, SocketReport
from trio_asr.lab.dial.settings import Dial, Faults


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[Dial]:
    """The calls that are placed; that with the id "bad" is refused."""
    dials: list[Dial] = []

    async def place(wanted: Dial, reach: object) -> Report:
        dials.append(wanted)
        await trio.lowlevel.checkpoint()
        if wanted.call == "bad":
            said = SocketReport(1)
            said.fail(Outcome.REFUSED, "no", 403)
        else:
            said = SocketReport(1, Outcome.FINISHED, 101, 1000)
        return Report(wanted.call, wanted.expect, [said])

    monkeypatch.setattr(command, "place", place)
    return dials


def run(*words: object, **settings: Any) -> tuple[int, str]:
    result = CliRunner().invoke(command.dial, [str(word) for word in words], **settings)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(recording(0.5).audio)
    return path


def test_a_file_as_a_call(placed: list[Dial], file: Path) -> None:
    assert run("--as", "generic", "ws://a.test/in", file, "--call", "c") == (
        0,
        "c #1: finished 1000: 0 samples in 0 messages\n",
    )
    assert placed == [Dial("generic", "ws://a.test/in", "c", recording(0.5))]


def test_files_are_dealt_out_to_numbered_calls(placed: list[Dial], file: Path) -> None:
    assert run("--as", "twilio", "ws://a.test/in", file, file, "--calls", 3, "--call", "c")[0] == 0
    assert sorted(one.call for one in placed) == ["c-1", "c-2", "c-3"]
    assert {one.recording.format.encoding for one in placed} == {"mulaw"}


def test_every_option_reaches_the_call(placed: list[Dial]) -> None:
    words = (
        "--as twilio wss://a.test/in --stamps 0.5 --channels 2 --call c --account AC1 --from +1 --to +2"
        " --parameter a=b --parameter c=d=e --key k --public-url wss://b.test/ --pace 2 --burst-ms 0"
        " --drop-at 1 --reconnect-after 0.5 --second-socket 2 --no-stop --media-before-start --reordered"
        " --repeated --clock-jump 0.5:-20 --lose 1:100 --late-track 0:300 --seed 7 --expect 1008"
    )
    code, said = run(*words.split(), env={"TRIO_ASR_DIAL_SECRET": "hush"})
    assert (code, said) == (1, "c #1: finished 1000: 0 samples in 0 messages\n")
    (one,) = placed
    assert one.secret is not None
    assert one.secret.reveal() == "hush"
    assert one == Dial(
        platform="twilio",
        url="wss://a.test/in",
        call="c",
        recording=recording(0.5, "mulaw", 2),
        account="AC1",
        caller="+1",
        called="+2",
        parameters={"a": "b", "c": "d=e"},
        secret=one.secret,
        key="k",
        public_url="wss://b.test/",
        burst_ms=0,
        pace=2,
        reconnect_after_s=0.5,
        expect=1008,
        faults=Faults(1, True, True, True, (0.5, -20), (1, 100), (0, 300), 2, True, 7),
    )


def test_a_call_refused_is_exit_code_1(placed: list[Dial]) -> None:
    assert run("--as", "exotel", "ws://a.test", "--stamps", 1, "--call", "bad") == (
        1,
        "bad #1: refused 403 (no): 0 samples in 0 messages\n",
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--as twilio ws://a.test/s3cret", "either files or --stamps"),
        ("--as twilio http://a.test/s3cret --stamps 1", "not a URL of a WebSocket, such as wss://host/path"),
        ("--as twilio ws://a.test --stamps 1 --rate 16000", "twilio has no audio of 16000 Hz"),
        ("--as twilio ws://a.test --stamps 1 --lose 3", "'3' is not like 2.5:300, seconds and milliseconds"),
        ("--as twilio ws://a.test --stamps 1 --parameter x", "a parameter is KEY=VALUE"),
    ],
)
def test_wrong_usage(words: str, complaint: str, placed: list[Dial]) -> None:
    code, said = run(*words.split())
    assert (code, placed) == (2, [])
    assert complaint in said
    assert "s3cret" not in said


def test_a_file_that_is_no_recording(placed: list[Dial], tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
    )
    code, said = run("--as", "generic", "ws://a.test", tmp_path / "empty.wav")
    assert (code, placed) == (1, [])
    assert "no audio in it" in said


@pytest.mark.parametrize(
    ("words", "url", "secret"),
    [
        ("ws://a.test/in", "ws://a.test/in", "s/1"),
        ("ws://a.test/in/{token}", "ws://a.test/in/s%2F1", None),
        ("ws://a.test/in --user me@x", "ws://me%40x:s%2F1@a.test/in", None),
    ],
)
def test_a_secret_goes_where_it_belongs(
    placed: list[Dial], file: Path, words: str, url: str, secret: str | None
) -> None:
    options = ("--as", "generic", *words.split(), file, "--call", "c", "--seconds", 0.2)
    assert run(*options, env={"TRIO_ASR_DIAL_SECRET": "s/1"})[0] == 0
    (one,) = placed
    assert (one.url, one.secret and one.secret.reveal(), one.recording.seconds) == (url, secret, 0.2)


def test_a_user_needs_a_password(file: Path) -> None:
    assert "--user needs its password" in run("--as", "generic", "ws://a.test/in", file, "--user", "me")[1]
