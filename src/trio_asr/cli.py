"""The `trio-asr` command: a group whose subcommands are imported only when they run.

`--help`, `--version` and a mistyped name must be answered at once, and `serve` must not load what only the
demo needs. So the group knows of each subcommand only its module, its attribute and one line of help.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import click


class _Command(NamedTuple):
    """Where a subcommand is defined, and its line of help."""

    module: str
    attribute: str
    short_help: str


COMMANDS = {
    "serve": _Command(
        "trio_asr.commands.serve", "serve", "Run the daemon: audio from Redis, transcripts back."
    ),
    "ingest": _Command(
        "trio_asr.commands.ingest", "ingest", "Take calls from telephony platforms onto Redis."
    ),
    "check": _Command("trio_asr.commands.check", "check", "Validate the configuration and show it."),
    "demo": _Command("trio_asr.lab.demo.command", "demo", "Watch the whole job on recorded calls, offline."),
    "simulate": _Command("trio_asr.simulator.command", "simulate", "Run a stand-in for Deepgram's live API."),
    "feed": _Command("trio_asr.commands.feed", "feed", "Play a recording onto Redis in real time."),
    "dial": _Command("trio_asr.lab.dial.command", "dial", "Call an ingest as a telephony platform does."),
    "load": _Command("trio_asr.lab.load.command", "load", "Measure what calls cost on this machine."),
    "watch": _Command("trio_asr.commands.watch", "watch", "Follow transcripts live."),
    "doctor": _Command(
        "trio_asr.commands.doctor.command", "doctor", "Check a deployment and say what to do."
    ),
    "smoke": _Command("trio_asr.commands.smoke.command", "smoke", "Try a running deployment with one call."),
    "fleet": _Command("trio_asr.lab.fleet.command", "fleet", "Plan a fleet: what moves, and what is needed."),
    "chaos": _Command("trio_asr.lab.chaos.command", "chaos", "Rehearse faults and account for every sample."),
}


class LazyGroup(click.Group):
    """A click group that imports a command of `COMMANDS` when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command; return None if there is none of this name.

        Raises:
            click.ClickException: The command needs a module that is not installed.
        """
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            command = getattr(importlib.import_module(entry.module), entry.attribute)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"'{cmd_name}' needs the module {error.name}, which is not installed"
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}:{entry.attribute} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        rows = [(name, COMMANDS[name].short_help) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trio-asr", prog_name="trio-asr", message="%(prog)s %(version)s")
def cli() -> None:
    """Live transcription of phone calls.

    Audio comes in on Redis Streams, goes out over one Deepgram connection per call, and comes back to Redis
    as transcripts. `trio-asr demo` shows it all on this machine, with nothing else to install or configure.
    """


def main() -> None:
    """Run a command, and exit.

    Exit code 0 is success, 1 an error (with one line on stderr), 2 wrong usage, 130 Ctrl-C.
    """
    sys.exit(_run())


def _run() -> int:
    try:
        result = cli.main(prog_name="trio-asr", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`). Nothing more may be written, not even by the
        # interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BaseExceptionGroup as group:
        # Trio's nurseries wrap a Ctrl-C, too.
        if group.split(KeyboardInterrupt)[1] is None:
            return _interrupted()
        raise
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    click.echo("Interrupted.", err=True)
    return 130
