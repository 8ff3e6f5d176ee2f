"""The command `trio-asr demo`: the whole service on recorded calls, offline."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio
from rich.console import Console

from trio_asr.client.audio import INSTALL_DEMO, AudioError
from trio_asr.client.producer import IdRefused
from trio_asr.client.redis import RedisFailure
from trio_asr.lab.demo.calls import choose
from trio_asr.lab.demo.run import Demo
from trio_asr.lab.rig.programs import RigError
from trio_asr.lab.rig.valkey import EmbeddedServerError
from trio_asr.samples import ALL, shipped_samples
from trio_asr.telemetry.groups import leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_asr.lab.demo.report import Report

_FAILURES = (AudioError, EmbeddedServerError, IdRefused, RedisFailure, RigError)

FEWER = "The wheel has one recording. For three run scripts/demo.sh in a checkout, or name your own."


@click.command()
@click.argument("audio", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--keep-logs", type=click.Path(path_type=Path, file_okay=False), help="Keep the logs in this folder."
)
def demo(*, audio: tuple[Path, ...], keep_logs: Path | None) -> None:
    """Watch the whole service at work on recorded calls, on this machine alone.

    Starts a Valkey server, a stand-in for Deepgram with real speech recognition, and the daemon and the
    ingest as they run in production. Then callers stream the calls to the ingest, at once and in real time,
    as telephony platforms do, and the transcripts are shown as they come out of Redis.

    AUDIO are your own recordings (any WAV; other formats too). Without any, it plays the short calls that
    come with the package (three in a checkout, one in the wheel) and compares the transcripts with what was
    said. In one of them the agent and the customer have channels of their own. Takes about half a minute.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        raise click.ClickException(f"the demo needs speech recognition, {INSTALL_DEMO}")
    console = Console(highlight=False)
    if not audio and len(shipped_samples()) < ALL:
        console.print(FEWER, style="dim")
    began = time.monotonic()
    report, failure = None, ""
    try:
        report = _run(audio, console, keep_logs)
    except* _FAILURES as group:
        # The first failure is the cause; those that followed from it are not.
        failure = str(leaves(group)[0])
    if report is None:
        raise click.ClickException(failure)
    console.print()
    for conversation in report.conversations():
        console.print(conversation)
        console.print()
    console.print(report.table())
    console.print(report.footer(), style="dim")
    console.print(f"All went well, in {time.monotonic() - began:.0f} s.", style="green")


def _run(audio: Sequence[Path], console: Console, keep_logs: Path | None) -> Report:
    calls = choose(audio)
    with tempfile.TemporaryDirectory(prefix="trio-asr-demo-") as temporary:
        work = keep_logs or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        return trio.run(Demo(calls, console, work).run)
