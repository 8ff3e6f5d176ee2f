"""`trio-asr simulate`: the simulator as a command."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from trio_asr.simulator.board import Board
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Engine, RecognitionError
from trio_asr.simulator.faults import PARSERS, Faults
from trio_asr.simulator.handshake import PATH
from trio_asr.simulator.ledger import Ledger
from trio_asr.simulator.remote import Remote, serve_remote
from trio_asr.simulator.script import ScriptEngine, read_script
from trio_asr.simulator.server import SimulatorSettings, serve
from trio_asr.simulator.speech import SpeechEngine

_LOCAL: Final = "127.0.0.1"
_FILE: Final = click.Path(exists=True, path_type=Path)
#: The help text of each fault; the names are those of `Faults`.
FAULT_HELP: Final = {
    "handshake_delay_s": "Delay the answer to the handshake by N seconds.",
    "refuse_status": "Refuse the handshake with this HTTP status ...",
    "refuse_first": "... of the first N connections only;",
    "refuse_for_s": "... for N seconds only, counted from the first connection.",
    "mute_after_s": "Send nothing more after N seconds, but keep reading.",
    "stop_reading_after_s": "Read and send nothing more after N seconds.",
    "abort_after_s": "Drop the TCP connection after N seconds.",
    "abort_after_bytes": "Drop the TCP connection after N bytes of audio.",
    "close_after_s": "Close after N seconds, with --close-code and --close-reason.",
    "close_code": "The code of that close frame.",
    "close_reason": "The reason of that close frame.",
    "only_channel": "Confine the faults from here to --utterance-end-delay-s to this channel (from 0).",
    "channel_delay_s": "Delay all that is said about a channel by N seconds, in order.",
    "drop_result_every": "Drop every Nth result, interims too; 1 drops all.",
    "cut_every_s": "End segments after every N seconds of audio, wherever the engine would.",
    "final_delay_s": "Delay finals by N seconds.",
    "drop_final_every": "Drop every Nth final.",
    "duplicate_final_every": "Send every Nth final twice.",
    "shrink_final_every": "End every Nth final before its last word; another final covers the rest.",
    "overlap_final_every": "Begin every Nth final with the last word of the one before.",
    "zero_final_every": "Send an empty final of zero length after every Nth final.",
    "utterance_end_delay_s": "Delay UtteranceEnd by N seconds.",
    "unknown_every": "Send a message of an unknown type before every Nth message.",
    "garbage_every": "Send a binary message before every Nth message.",
}


def _fault_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each fault, `--mute-after-s` for `mute_after_s`."""
    defaults = Faults()
    for name, text in reversed(FAULT_HELP.items()):
        command = click.option(
            "--" + name.replace("_", "-"),
            type=PARSERS[name],
            default=getattr(defaults, name),
            metavar="TEXT" if PARSERS[name] is str else "N",
            help=text,
        )(command)
    return command


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, help="The port; 0 takes a free one.")
@click.option(
    "--engine",
    type=click.Choice(["echo", "script", "speech"]),
    default="echo",
    show_default=True,
    help="Where the words come from. echo: they name the audio samples they cover. script: from a text, at a "
    "steady pace. speech: recognised from the audio by Whisper (needs the speech extra).",
)
@click.option(
    "--script", type=_FILE, help="For script: the text, one utterance a line; there is one built in."
)
@click.option("--model", type=_FILE, help="For speech: the folder of a CTranslate2 Whisper model.")
@click.option(
    "--segment-ms", default=2000, show_default=True, help="For echo: milliseconds of audio per final."
)
@click.option("--api-key", envvar="TRIO_ASR_SIMULATOR_KEY", help="Accept only this key; by default any key.")
@click.option(
    "--control-port",
    type=int,
    help="Serve the control API on this port of 127.0.0.1 (0: a free one): faults switched at run time, and "
    "the record of each connection. It is for rehearsals: anybody who can reach it may use it.",
)
@click.option("--tls-cert", type=_FILE, help="Serve wss:// with this certificate (PEM) ...")
@click.option("--tls-key", type=_FILE, help="... and its private key.")
@_fault_options
def simulate(
    *,
    host: str,
    port: int,
    engine: str,
    script: Path | None,
    model: Path | None,
    segment_ms: int,
    api_key: str | None,
    control_port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    **faults: Any,
) -> None:
    """Run a stand-in for Deepgram's live speech-to-text API.

    Point any Deepgram client at ws://HOST:PORT/v1/listen instead of wss://api.deepgram.com/v1/listen. It
    takes raw audio (linear16, linear32, mulaw, alaw), with encoding and sample_rate in the query, of one
    channel or of several: with multichannel=true each has a transcript of its own. No audio leaves this
    machine.

    The options from --handshake-delay-s on inject faults into all connections. A client can ask for a fault
    on its own connection with extra=sim_mute_after_s:5 in the query.
    """
    try:
        every = Faults(**faults)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    chosen = _engine(engine, script=script, model=model, segment_ms=segment_ms)
    settings = SimulatorSettings(
        engine=chosen,
        api_key=api_key,
        board=Board(every),
        ledger=Ledger(keep_messages=0),
    )
    context = _tls(tls_cert, tls_key)
    if failure := trio.run(_run, settings, host, port, context, control_port):
        raise click.ClickException(failure)


def _engine(name: str, *, script: Path | None, model: Path | None, segment_ms: int) -> Engine:
    try:
        if name == "speech":
            speech = SpeechEngine(model, progress=lambda text: click.echo(text, err=True))
            speech.load()  # now, not when the first caller speaks
            return speech
        if name == "script":
            return read_script(script) if script else ScriptEngine()
    except (OSError, ValueError, RecognitionError) as error:
        raise click.ClickException(str(error)) from error
    if segment_ms < 1:
        raise click.BadParameter("at least 1", param_hint="--segment-ms")
    return EchoEngine(segment_ms=segment_ms)


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key needs --tls-cert.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise click.ClickException(f"Cannot use {certificate}: {error}") from error
    return context


async def _run(
    settings: SimulatorSettings,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    control_port: int | None,
) -> str:
    """Serve until SIGINT or SIGTERM; return what went wrong if an address cannot be bound."""
    failure = ""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            where = f"{host}:{port}"
            try:
                if control_port is not None:
                    where = f"{_LOCAL}:{control_port}"
                    remote = Remote(settings.board, settings.ledger)
                    begin = partial(serve_remote, remote, host=_LOCAL, port=control_port)
                    control: int = await nursery.start(begin)
                    click.echo(f"Control on http://{_LOCAL}:{control}")
                    where = f"{host}:{port}"
                start = partial(serve, settings, host=host, port=port, ssl_context=context)
                bound: int = await nursery.start(start)
            except OSError as error:
                failure = f"Cannot listen on {where}: {error.strerror or error}"
            else:
                scheme = "ws" if context is None else "wss"
                shown = f"[{host}]" if ":" in host else host
                address = f"{scheme}://{shown}:{bound}{PATH}"
                click.echo(
                    f"Simulator listening on {address} (engine {settings.engine.name}). Ctrl-C ends it."
                )
                async for _ in signals:
                    break
            nursery.cancel_scope.cancel()
    return failure
