"""`trio-asr check`: whether the configuration is usable, and where each value comes from."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec.structs import FieldInfo

from trio_asr.config import ConfigError, Loaded, load, shown
from trio_asr.config.ingest import SECRETS
from trio_asr.config.sections import ROUTES, SECTIONS, keys, route_keys, value_at


class Refused(click.ClickException):
    """An unusable configuration: one problem per line, and exit code 2."""

    exit_code = 2


config_option = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The TOML file. Without it /etc/trio-asr/config.toml, if there is one.",
)


@click.command()
@config_option
@click.option(
    "--ingest", is_flag=True, help="Check it for `trio-asr ingest`, with the secrets of its routes."
)
def check(path: Path | None, *, ingest: bool) -> None:
    """Validate the configuration and show it.

    Prints every value that the daemon would run with, in the form of a config file, and behind each its
    origin: default, file, or env with the variable's name. Secrets are masked. Warnings go to standard error.

    Exit code 0: usable. 2: not usable; then standard error says what is wrong, one line each.
    """
    try:
        loaded = load(path, os.environ, ingest=ingest)
    except ConfigError as exc:
        raise Refused(str(exc)) from exc
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)
    # A file name need not be text: bytes without a character are escaped.
    click.echo("\n".join(report(loaded)).encode("utf-8", "backslashreplace"))


def report(loaded: Loaded) -> Iterator[str]:
    """Yield the lines of the effective configuration as a TOML file, with the origins as comments."""
    yield f"# file: {loaded.path or 'none'}"
    for section in SECTIONS:
        yield ""
        yield f"[{section}]"
        for path, field in keys():
            if path.startswith(f"{section}."):
                yield _line(loaded, path, field)
        for secret, name in (("deepgram.api_key", "API key"), ("http.token", "token")):
            if secret.startswith(f"{section}."):
                yield from _secret(loaded, secret, name)
        if section == "ingest":
            yield from _routes(loaded)


def _routes(loaded: Loaded) -> Iterator[str]:
    for number, route in enumerate(loaded.config.ingest.route, 1):
        yield ""
        yield f"[[{ROUTES}]]"
        for path, field in route_keys():
            yield _line(loaded, f"{ROUTES}.{number}.{path.rpartition('.')[2]}", field)
            if field.name == "auth" and route.auth != route.method:
                yield f"# which is {route.method}"
        for spec in SECRETS:
            yield from _secret(loaded, f"{ROUTES}.{number}.{spec.name}", spec.words)


def _line(loaded: Loaded, path: str, field: FieldInfo) -> str:
    value = value_at(loaded.config, path)
    text = f"# {field.name} is not set" if value is None else f"{field.name} = {shown(path, value)}"
    return f"{text:<56} # {loaded.origins[path]}"


def _secret(loaded: Loaded, path: str, name: str) -> Iterator[str]:
    if path in loaded.origins:
        yield f"{f'# the {name} is ***':<56} # {loaded.origins[path]}"
