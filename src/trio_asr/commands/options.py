"""The options of the tools that work beside the daemon without its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from trio_asr.config import ConfigError, usable
from trio_asr.config.fleet import MAX_SHARDS
from trio_asr.core.fleet.places import DEFAULT_GROUP


def key(path: str) -> Callable[[str], str]:
    """Return the type of an option that is a key of the configuration, refused as `trio-asr check` does."""

    def text(value: str) -> str:
        try:
            return usable(path, value)
        except ConfigError as error:
            raise click.BadParameter(str(error)) from None

    return text  # its name is what stands for the value in the help


_OPTIONS = (
    click.option(
        "--shards",
        type=click.IntRange(1, MAX_SHARDS),
        default=1,
        show_default=True,
        help="A fleet's fleet.shards: names of streams are then those in the shard of a call.",
    ),
    click.option(
        "--group",
        type=key("redis.consumer_group"),
        envvar="REDIS_CONSUMER_GROUP",
        default=DEFAULT_GROUP,
        show_default=True,
        help="The fleet's redis.consumer_group. Also taken from REDIS_CONSUMER_GROUP.",
    ),
)


def shard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--shards` and `--group` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
