"""The command `trio-asr dial`: play recordings to an ingest, as a telephony platform does."""

from __future__ import annotations

import secrets
import ssl
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import click
import trio

from trio_asr.client.audio import DEFAULT_RATE, AudioError, Recording, load
from trio_asr.config import Secret
from trio_asr.config.ingest import TOKEN
from trio_asr.lab.dial.caller import over_network, place
from trio_asr.lab.dial.line import Reach
from trio_asr.lab.dial.platform import Unfit
from trio_asr.lab.dial.platforms import PLATFORMS, fitted
from trio_asr.lab.dial.report import Report
from trio_asr.lab.dial.settings import Dial, Faults
from trio_asr.lab.dial.socket import parsed
from trio_asr.lab.rig.legs import stamped
from trio_asr.wire.audio_format import SILENCE, Encoding, Format, audio_format


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, int] | None:
    if text is None:
        return None
    try:
        seconds, ms = text.split(":")
        return float(seconds), int(ms)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not like 2.5:300, seconds and milliseconds") from None


def _parameters(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(equals for _, equals, _ in pairs):
        raise click.BadParameter("a parameter is KEY=VALUE")
    return {key: value for key, _, value in pairs}


_SECONDS = click.FloatRange(0)


@click.command()
@click.option("--as", "platform", type=click.Choice(list(PLATFORMS)), required=True, help="Whose protocol.")
@click.argument("url")
@click.argument("files", type=click.Path(path_type=Path, dir_okay=False, exists=True), nargs=-1)
@click.option("--stamps", type=_SECONDS, metavar="S", help="Play so many seconds of position-stamped audio.")
@click.option("--seconds", type=_SECONDS, metavar="S", help="So much of each recording.  [default: all]")
@click.option("--rate", type=int, default=DEFAULT_RATE, show_default=True, help="Sample rate.")
@click.option("--encoding", type=click.Choice(list(SILENCE)), help="Encoding.  [default: the platform's]")
@click.option("--channels", type=click.IntRange(1, 2), default=1, help="Channels of stamped audio.")
@click.option("--calls", type=click.IntRange(1, 10_000), help="Calls at once.  [default: one for each file]")
@click.option("--call", metavar="ID", help="The call's id; of several calls the ids have a number after it.")
@click.option("--account", default="acme", show_default=True, help="Account; the generic protocol's tenant.")
@click.option("--from", "caller", default="", metavar="NUMBER", help="Who calls.")
@click.option("--to", "called", default="", metavar="NUMBER", help="Who is called.")
@click.option("--parameter", "parameters", multiple=True, callback=_parameters, metavar="KEY=VALUE")
@click.option(
    "--key", envvar="TRIO_ASR_DIAL_KEY", default="", help="Genesys' API key; also from TRIO_ASR_DIAL_KEY."
)
@click.option(
    "--secret",
    envvar="TRIO_ASR_DIAL_SECRET",
    type=Secret,
    help="Bearer token, Twilio's auth token, or Genesys' client secret; with --user its password; where URL "
    "has {token}, that token. Also from TRIO_ASR_DIAL_SECRET.",
)
@click.option("--user", metavar="NAME", help="Send this user, and the secret as its password, as Basic.")
@click.option("--public-url", default="", help="The URL to sign, if a proxy makes another one of it.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True), help="Certificates to trust.")
@click.option("--pace", type=click.FloatRange(0, 1000, min_open=True), default=1.0, help="Times real time.")
@click.option("--burst-ms", type=click.IntRange(0), help="Audio that waits for the socket.")
@click.option("--drop-at", type=_SECONDS, metavar="S", help="Cut TCP then, without a close.")
@click.option("--reconnect-after", type=_SECONDS, metavar="S", help="Dial again so long after a break.")
@click.option("--second-socket", type=_SECONDS, metavar="S", help="Open a second socket for the call then.")
@click.option("--no-stop", is_flag=True, help="Close without a word of the call's end.")
@click.option("--media-before-start", is_flag=True, help="Send some audio before the start.")
@click.option("--reordered", is_flag=True, help="Deliver some messages late.")
@click.option("--repeated", is_flag=True, help="Deliver some messages twice.")
@click.option(
    "--clock-jump", callback=_moment, metavar="S:MS", help="Set the platform's clock forward or back."
)
@click.option("--lose", callback=_moment, metavar="S:MS", help="Lose audio. The platform's clock goes on.")
@click.option("--late-track", callback=_moment, metavar="S:MS", help="Delay the second leg from then on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all chance.")
@click.option("--expect", type=int, metavar="NUMBER", help="HTTP status or close code to end with.")
def dial(
    *,
    platform: str,
    files: Sequence[Path],
    stamps: float | None,
    seconds: float | None,
    rate: int,
    encoding: Encoding | None,
    channels: int,
    calls: int | None,
    call: str | None,
    url: str,
    user: str | None,
    secret: Secret | None,
    ca: Path | None,
    drop_at: float | None,
    second_socket: float | None,
    reconnect_after: float | None,
    **settings: object,
) -> None:
    """Play recordings to URL as a telephony platform does, in real time.

    A recording is a WAV file, or with PyAV (the extra 'demo') any. Its two channels are the two people of a
    call. Several files are several calls at once. A user and a password in URL are sent as Basic. Exits with
    1 if a call was refused, or ended otherwise than the platform meant it to.
    """
    if (stamps is None) == (not files):
        raise click.UsageError("either files or --stamps")
    faults = {name: settings.pop(name) for name in list(settings) if name in Faults.__dataclass_fields__}
    usual = PLATFORMS[platform].TRAITS.encodings[0]
    name = call or f"{platform}-{secrets.token_hex(3)}"
    try:
        if stamps is None:
            whole = [load(file, rate, encoding) for file in files]
            recordings = whole if seconds is None else [one.first(seconds) for one in whole]
        else:
            recordings = _stamped(stamps, audio_format(rate, encoding or usual, channels), calls or 1)
        url, secret = _presented(url, user, secret)
        first = Dial(
            platform=platform,
            url=url,
            secret=secret,
            call=name,
            recording=recordings[0],
            reconnect_after_s=reconnect_after,
            faults=Faults(drop_at_s=drop_at, second_socket_s=second_socket, **faults),  # type: ignore[arg-type]
            **settings,  # type: ignore[arg-type]
        )
        secure = parsed(first.url).secure
        fitting = [fitted(replace(first, recording=recording)) for recording in recordings]
    except AudioError as error:
        raise click.ClickException(str(error)) from error
    except (Unfit, ValueError) as error:
        raise click.UsageError(str(error)) from None
    count = calls or len(fitting)
    ids = [name] if count == 1 else [f"{name}-{number + 1}" for number in range(count)]
    placed = [replace(fitting[number % len(fitting)], call=one) for number, one in enumerate(ids)]
    context = ssl.create_default_context(cafile=ca) if secure else None
    if not trio.run(_place_all, placed, over_network(context)):
        sys.exit(1)


def _presented(url: str, user: str | None, secret: Secret | None) -> tuple[str, Secret | None]:
    """Return the URL, with the secret in it where that is its place, and else the secret.

    Raises:
        ValueError: There is a user, and no password.
    """
    if secret is not None and TOKEN in url:
        return url.replace(TOKEN, quote(secret.reveal(), safe="")), None
    if user is None:
        return url, secret
    if secret is None:
        raise ValueError("--user needs its password as --secret")
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{quote(user, safe='')}:{quote(secret.reveal(), safe='')}@{rest}", None


def _stamped(seconds: float, form: Format, calls: int) -> list[Recording]:
    """Return audio for each call, with the call's number, from 1, in its stamps."""
    count = round(seconds * form.rate)
    return [Recording(stamped(form, number + 1, 0, count), form) for number in range(calls)]


async def _place_all(placed: Sequence[Dial], reach: Reach) -> bool:
    """Place all calls at once, and return whether all went as wished."""
    reports: list[Report] = []

    async def one(wanted: Dial) -> None:
        report = await place(wanted, reach)
        reports.append(report)
        for line in report.lines():
            click.echo(line)

    async with trio.open_nursery() as nursery:
        for wanted in placed:
            nursery.start_soon(one, wanted)
    return all(report.as_wished for report in reports)
