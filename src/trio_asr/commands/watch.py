"""`trio-asr watch`: follow transcripts live."""

from __future__ import annotations

from typing import NoReturn

import click
from rich.console import Console

from trio_asr.client.consumer import (
    DEFAULT_EVENTS,
    DEFAULT_TEMPLATE,
    Message,
    TranscriptReader,
)
from trio_asr.client.producer import CallRefused, usable_id
from trio_asr.client.redis import DEFAULT_REDIS_URL, RedisFailure, connect, connect_fleet, redis_failure
from trio_asr.client.view import TranscriptView, printable
from trio_asr.commands.options import key, shard_options
from trio_asr.config import mask_url
from trio_asr.core.fleet.places import Places
from trio_asr.wire.meta import origin


@click.command()
@click.argument("interaction_id", metavar="[ID]", required=False)
@click.option(
    "--redis-url",
    type=key("redis.url"),
    envvar="REDIS_URL",
    default=DEFAULT_REDIS_URL,
    show_default=True,
    help="Where the transcripts are. Also taken from REDIS_URL.",
)
@click.option("--from-start", is_flag=True, help="Show also what was said before (always so with an ID).")
@click.option("--finals", "finals_only", is_flag=True, help="Leave interim transcripts out.")
@click.option(
    "--transcript-stream",
    type=key("redis.transcript_stream"),
    default=DEFAULT_TEMPLATE,
    show_default=True,
    help="Name of a call's stream, as the daemon's redis.transcript_stream says.",
)
@click.option(
    "--events-stream",
    type=key("redis.events_stream"),
    default=DEFAULT_EVENTS,
    show_default=True,
    help="Where new calls show up first.",
)
@shard_options
def watch(
    *,
    interaction_id: str | None,
    redis_url: str,
    from_start: bool,
    finals_only: bool,
    transcript_stream: str,
    events_stream: str,
    shards: int,
    group: str,
) -> None:
    """Follow transcripts live: those of the call ID, or of all calls.

    Finals stay on the screen; interims are grey and replaced by what follows. Where two people have a channel
    each, lines say whose they are. They are shown as they come, which is about the order in which people
    finish; one that comes after what ended a second later is marked (earlier). Only reads: no consumer group,
    nothing in Redis changes. Ctrl-C ends it.
    """
    places = Places(shards, group)
    try:
        client = (connect if shards == 1 else connect_fleet)(redis_url)
        reader = TranscriptReader(
            client,
            template=transcript_stream,
            events=events_stream,
            from_start=from_start,
            prefixes=places.prefixes,
        )
        with redis_failure(redis_url):
            client.ping()
            if interaction_id is None:
                reader.discover()
            else:
                reader.follow(interaction_id, places.of(usable_id(interaction_id)))
            _show(reader, interaction_id or "all calls", redis_url, finals_only=finals_only)
    except (CallRefused, RedisFailure) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return  # the normal end


def _show(reader: TranscriptReader, whom: str, url: str, *, finals_only: bool) -> NoReturn:
    with TranscriptView(Console(highlight=False)) as view:
        view.note(f"Following {whom} at {mask_url(url)}. Ctrl-C ends.")
        while True:
            for item in reader.read():
                if isinstance(item, Message):
                    if item.final or not finals_only:
                        view.show(item)
                elif item.event == "ended":
                    view.forget(item.interaction_id)
                elif came := origin(item.meta):
                    view.note(printable(f"{item.interaction_id}: {came}"))
