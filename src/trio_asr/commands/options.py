"""The options of the tools that work beside the daemon without its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from trio_asr.config import ConfigError, usable
from trio_asr.config.fleet import MAX_SHARDS
from trio_asr.core.fleet.places import DEFAULT_GROUP


class Key(click.ParamType):
    """An option that is a key of the daemon's configuration, and refused in the words of `trio-asr check`."""

    name = "text"

    def __init__(self, path: str) -> None:
        self._path = path

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value.

        Raises:
            click.BadParameter: The daemon would refuse it.
        """
        try:
            return usable(self._path, value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


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
        type=Key("redis.consumer_group"),
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
