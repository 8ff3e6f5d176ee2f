"""`trio-asr smoke`: one call through a running deployment."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click
import msgspec
import trio

from trio_asr.client.audio import AudioError, load
from trio_asr.client.consumer import PLACEHOLDER
from trio_asr.client.producer import Call, Source
from trio_asr.client.redis import DEFAULT_REDIS_URL, RedisFailure
from trio_asr.commands.doctor.command import print_finding
from trio_asr.commands.doctor.findings import Finding, Report
from trio_asr.commands.smoke.run import Smoke, Target, cleanup
from trio_asr.config import RedisConfig
from trio_asr.config.redis_url import secrets as redis_url_secrets
from trio_asr.samples import shipped_samples

BESIDE_S = 60.0  # for all steps except the playing
_STREAMS = RedisConfig()


@click.command()
@click.option(
    "--url",
    envvar="ASR_WORKER_URL",
    default="http://127.0.0.1:3001",
    show_default=True,
    help="The worker's pages. Also taken from ASR_WORKER_URL.",
)
@click.option(
    "--redis-url", envvar="REDIS_URL", default=DEFAULT_REDIS_URL, show_default=True, help="Or REDIS_URL."
)
@click.option("--audio", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A recording.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=8.0,
    show_default=True,
    help="So much of it is played, in real time.",
)
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="The daemon's log file.")
@click.option("--journal", metavar="UNIT", help="The daemon's unit, whose log is in the journal.")
@click.option("--audio-stream", default=_STREAMS.audio_stream, show_default=True)
@click.option("--call-end-stream", default=_STREAMS.call_end_stream, show_default=True)
@click.option("--transcript-stream", default=_STREAMS.transcript_stream, show_default=True)
@click.option("--events-stream", default=_STREAMS.events_stream, show_default=True)
@click.option("--cleanup", "clean", is_flag=True, help="Delete the call's transcripts at the end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
def smoke(
    *,
    url: str,
    redis_url: str,
    audio: Path | None,
    seconds: float,
    log: Path | None,
    journal: str | None,
    audio_stream: str,
    call_end_stream: str,
    transcript_stream: str,
    events_stream: str,
    clean: bool,
    as_json: bool,
) -> int:
    """Try a running deployment with one call.

    Looks at the pages, plays a few seconds of a recording onto Redis as a call of the id smoke-..., and wants
    transcripts back: seq rising, times of the call, over exactly one connection; and the right phrases in the
    log, if it is shown one. The transcripts stay in Redis, as every call's do: readers of the old worker spin
    when such a stream disappears. INGEST_URL is not used yet: the call begins on Redis.

    Exit code 0: all is well. 1: a step failed; its line says which and why.
    """
    if PLACEHOLDER not in transcript_stream:
        raise click.BadParameter(f"must contain {PLACEHOLDER}", param_hint="--transcript-stream")
    source = Source(redis_url, audio_stream, call_end_stream)
    target = Target(url, source, transcript_stream, events_stream, log, journal)
    try:
        recording = load(audio or shipped_samples()[0].audio).first(seconds)
    except AudioError as error:
        raise click.ClickException(str(error)) from error
    call = Call(f"smoke-{secrets.token_hex(6)}", recording, "smoke")
    findings: list[Finding] = []
    report = Report(findings.append if as_json else print_finding, redis_url_secrets(redis_url))
    if os.environ.get("INGEST_URL") and not as_json:
        click.echo("INGEST_URL is not used: the call begins on Redis.")
    trio.run(_run, target, call, report, clean)
    if as_json:
        steps = [finding._asdict() for finding in findings]
        document = {"ok": not report.failed, "interaction_id": call.interaction_id, "steps": steps}
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
    else:
        click.echo("Smoke test failed." if report.failed else "Smoke test passed.")
    return 1 if report.failed else 0


async def _run(target: Target, call: Call, report: Report, clean: bool) -> None:
    audio_ms = int(call.recording.seconds * 1000)
    with trio.move_on_after(audio_ms / 1000 + BESIDE_S) as limit:
        await Smoke(target, call, audio_ms, report).run()
    if limit.cancelled_caught:
        report.fail("time", f"not done within {audio_ms / 1000 + BESIDE_S:.0f} s")
    if clean:
        try:
            await trio.to_thread.run_sync(cleanup, target, call.interaction_id)
        except RedisFailure as error:
            report.fail("cleanup", str(error))
        else:
            report.ok("cleanup", f"{target.transcript_key(call.interaction_id)} deleted")
