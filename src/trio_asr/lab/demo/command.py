"""The command `trio-asr demo`: the whole service on recorded calls, offline."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio
from rich.console import Console
from rich.text import Text

from trio_asr.client.audio import INSTALL_DEMO, AudioError
from trio_asr.client.producer import CallRefused
from trio_asr.client.redis import RedisFailure
from trio_asr.lab.demo.calls import choose
from trio_asr.lab.demo.fleet import FleetDemo
from trio_asr.lab.demo.run import Demo
from trio_asr.lab.rig.programs import RigError
from trio_asr.lab.rig.valkey import EmbeddedServerError
from trio_asr.samples import ALL, shipped_samples
from trio_asr.telemetry.groups import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

_FAILURES = (AudioError, EmbeddedServerError, CallRefused, RedisFailure, RigError)

FEWER = "The wheel has one recording. For three run scripts/demo.sh in a checkout, or name your own."


@click.command()
@click.argument("audio", nargs=-1, type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--fleet", is_flag=True, help="Show a fleet instead: three workers on a cluster, and one is killed."
)
@click.option(
    "--keep-logs", type=click.Path(path_type=Path, file_okay=False), help="Keep the logs in this folder."
)
def demo(*, audio: tuple[Path, ...], fleet: bool, keep_logs: Path | None) -> None:
    """Watch the whole service at work on recorded calls, on this machine alone.

    Starts a Valkey server, a stand-in for Deepgram with real speech recognition, and the daemon and the
    ingest as they run in production. Then callers stream the calls to the ingest, at once and in real time,
    as telephony platforms do, and the transcripts are shown as they come out of Redis.

    AUDIO are your own recordings (any WAV; other formats too). Without any, it plays the short calls that
    come with the package (three in a checkout, one in the wheel) and compares the transcripts with what was
    said. In one of them the agent and the customer have channels of their own. Takes about half a minute.

    With --fleet, three workers share 24 calls on a cluster of three Valkey servers. One worker is killed in
    mid-call, the others take its calls, and every sample is accounted for. It takes half a minute, too, and
    needs no speech recognition: the calls are numbered samples.
    """
    console = Console(highlight=False)
    if fleet:
        if audio:
            raise click.UsageError("--fleet plays calls of its own: name no AUDIO with it")
        scene = partial(_fleet, console)
    else:
        if importlib.util.find_spec("faster_whisper") is None:
            raise click.ClickException(f"the demo needs speech recognition, {INSTALL_DEMO}")
        if not audio and len(shipped_samples()) < ALL:
            console.print(FEWER, style="dim")
        scene = partial(_calls, console, audio)
    began = time.monotonic()
    shown, failure = None, ""
    try:
        shown = _run(scene, keep_logs)
    except* _FAILURES as group:
        # The first failure is the cause; those that followed from it are not.
        failure = str(leaves(group)[0])
    if shown is None:
        raise click.ClickException(failure)
    console.print()
    for part in shown:
        console.print(part)
    console.print(f"All went well, in {time.monotonic() - began:.0f} s.", style="green")


def _run(scene: Callable[[Path], list[RenderableType]], keep_logs: Path | None) -> list[RenderableType]:
    """Play a scene in a directory for its logs; return what is to be shown in the end."""
    with tempfile.TemporaryDirectory(prefix="trio-asr-demo-") as temporary:
        work = keep_logs or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        return scene(work)


def _calls(console: Console, audio: Sequence[Path], work: Path) -> list[RenderableType]:
    report = trio.run(Demo(choose(audio), console, work).run)
    conversations = [part for one in report.conversations() for part in (one, "")]
    return [*conversations, report.table(), Text(report.footer(), "dim")]


def _fleet(console: Console, work: Path) -> list[RenderableType]:
    report = trio.run(FleetDemo(console, work).run)
    return [report.table(), Text(report.footer(), "dim")]
