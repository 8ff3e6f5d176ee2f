"""`trio-asr feed`: play a recording onto Redis as a call in progress."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import click
import trio

from trio_asr.client.audio import DEFAULT_RATE, AudioError, Recording, load
from trio_asr.client.producer import (
    DEFAULT_TENANT,
    FRAME_MS,
    Call,
    CallRefused,
    Entries,
    Source,
    play,
    usable_call,
    usable_id,
)
from trio_asr.client.redis import DEFAULT_REDIS_URL, RedisFailure
from trio_asr.commands.options import key, shard_options
from trio_asr.config import RedisConfig, mask_url
from trio_asr.core.fleet.places import Places
from trio_asr.wire.audio_format import SILENCE, Encoding
from trio_asr.wire.frames import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE

_STREAMS = RedisConfig()

CHANNELS = {1: "one channel", 2: "two channels"}


def _roles(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


@click.command()
@click.argument("audio", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--interaction", metavar="ID", help="The call's id.  [default: the file's name and a random end]"
)
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="The call's tenant.")
@click.option(
    "--redis-url",
    type=key("redis.url"),
    envvar="REDIS_URL",
    default=DEFAULT_REDIS_URL,
    show_default=True,
    help="Where to publish. Also taken from REDIS_URL.",
)
@click.option(
    "--rate",
    type=click.IntRange(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
    default=DEFAULT_RATE,
    show_default=True,
    help="Sample rate.",
)
@click.option(
    "--encoding",
    type=click.Choice(list(SILENCE)),
    help="Encoding of the frames.  [default: that of a G.711 file, else linear16]",
)
@click.option(
    "--roles",
    callback=_roles,
    metavar="ROLE,ROLE",
    help="Who is on each channel, in order: customer,agent. Transcripts then say so.",
)
@click.option(
    "--entries",
    type=click.Choice([one.value for one in Entries]),
    default=Entries.JSON.value,
    show_default=True,
    help="How entries are written: JSON in the field data, or MessagePack in the field m.",
)
@click.option("--position", is_flag=True, help="Tell the position of each frame in the call.")
@click.option(
    "--frame-ms", type=click.IntRange(1, 5000), default=FRAME_MS, show_default=True, help="Audio per entry."
)
@click.option(
    "--speed",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Times real time. The daemon itself follows at little more than 1.",
)
@click.option("--no-end", is_flag=True, help="Let the call break off: publish no call_end.")
@click.option(
    "--audio-stream",
    type=key("redis.audio_stream"),
    default=_STREAMS.audio_stream,
    show_default=True,
    help="Stream for the frames.",
)
@click.option(
    "--call-end-stream",
    type=key("redis.call_end_stream"),
    default=_STREAMS.call_end_stream,
    show_default=True,
    help="Stream for the end.",
)
@shard_options
def feed(
    *,
    audio: Path,
    interaction: str | None,
    tenant: str,
    redis_url: str,
    rate: int,
    encoding: Encoding | None,
    roles: tuple[str, ...],
    entries: str,
    position: bool,
    frame_ms: int,
    speed: float,
    no_end: bool,
    audio_stream: str,
    call_end_stream: str,
    shards: int,
    group: str,
) -> None:
    """Play a recording onto Redis, in real time, as a telephony ingest does.

    AUDIO is a WAV file of 16 bit, mu-law or A-law and the rate of --rate. With PyAV (the extra 'demo') it may
    be any recording, and is converted. The two channels of a recording are two people of one call.
    `trio-asr watch ID` in another terminal shows what comes of it.
    """
    interaction_id = f"{audio.stem}-{secrets.token_hex(3)}" if interaction is None else interaction
    try:
        shard = Places(shards, group).of(usable_id(interaction_id))
        streams = shard + audio_stream, shard + call_end_stream
        source = Source(redis_url, *streams, frame_ms, speed, send_end=not no_end, fleet=shards > 1)
        recording = _load(audio, rate, encoding, roles)
        form = recording.format
        call = Call(interaction_id, recording, tenant, roles, Entries(entries), position)
        usable_call(call, frame_ms)
        length = f"{recording.seconds:.1f} s, {form.encoding}, {CHANNELS[form.channels]}"
        where = f"{source.audio_stream} at {mask_url(redis_url)}"
        click.echo(f"Playing {audio} ({length}) as call {interaction_id} onto {where}")
        trio.run(play, source, [call])
    except (AudioError, CallRefused, RedisFailure) as error:
        raise click.ClickException(str(error)) from error
    ending = "broken off without an end" if no_end else "ended"
    click.echo(f"Done: {call.frame_count(frame_ms)} frames, call {ending}.")


def _load(path: Path, rate: int, encoding: Encoding | None, roles: Sequence[str]) -> Recording:
    recording = load(path, rate, encoding)
    channels = recording.format.channels
    if roles and len(roles) != channels:
        raise AudioError(f"{path}: {CHANNELS[channels]}, and --roles names {len(roles)}")
    return recording
