"""Processes that may be killed, frozen and restarted; their logs are kept, and none outlives this process."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio

from trio_asr.lab.rig.guardian import Guardian

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

POLL_S = 0.02
TAIL_LINES = 20
END_S = 60.0  # a guard against waiting for ever: how long an end takes is tested on a clock of its own


class RigError(Exception):
    """A failure of a program to do what the rig needs; carries the tail of its output."""


def limited(files: int) -> list[str]:
    """Return the prefix of a command that limits its open files; empty for 0."""
    return ["/bin/sh", "-c", 'ulimit -n "$0" && exec "$@"', str(files)] if files else []


class Program:
    """One program: at most one process at a time, all of them with one log."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._process: trio.Process | None = None
        self._guardian: Guardian | None = None
        self._from = 0  # offset in the log where the current process begins
        self.log_is_read = True  # if not, output goes to a pipe that fills up
        self.most_files = 0  # limit on its open files; 0: inherited
        self._unread: list[int] = []

    async def start(self) -> None:
        """Start the process.

        Raises:
            RigError: It is running already.
        """
        if self._process is not None:
            raise RigError(f"{self.name} runs already")
        with self.log.open("ab") as output:
            self._from = output.tell()
            where = output.fileno() if self.log_is_read else self._pipe()
            self._process = await trio.lowlevel.open_process(
                [*limited(self.most_files), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=where,
                stderr=where,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for this process
            )
        self._guardian = Guardian(self._process.pid)

    def _pipe(self) -> int:
        """Return the write end of a new pipe; nobody reads the other end."""
        self._unread += os.pipe()
        return self._unread[-1]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The pid of the current process.

        Raises:
            RigError: There is none.
        """
        if self._process is None:
            raise RigError(f"{self.name} does not run")
        return self._process.pid

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the process, if it is running."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(which)

    async def kill(self) -> None:
        """Kill the process (SIGKILL), as a power cut would."""
        self.signal(signal.SIGKILL)
        await self.ended()

    def freeze(self) -> None:
        """Freeze the process (SIGSTOP) until `thaw`; its connections stay open."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def stop(self, within: float = END_S) -> int:
        """Terminate the process (SIGTERM); return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(within)

    async def ended(self, within: float = END_S) -> int:
        """Wait for the process to end; return its exit code (negative: the signal that killed it).

        Raises:
            RigError: There is no process, or it has not ended within `within` seconds.
        """
        process = self._process
        if process is None:
            raise RigError(f"{self.name} does not run")
        with trio.move_on_after(within):
            code = await process.wait()
            self._forget()
            return code
        raise self.failure(f"did not end within {within:.1f} s")

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the process running for the block, then terminate it.

        Raises:
            RigError: It ends during the block, or with an exit code other than 0 after it.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._must_not_end)
            yield
            nursery.cancel_scope.cancel()
        if code := await self.stop():
            raise self.failure(f"ended with exit code {code}")

    async def _must_not_end(self) -> None:
        if self._process is not None:
            await self._process.wait()
        raise self.failure("ended by itself")

    async def aclose(self) -> None:
        """Leave nothing behind."""
        process = self._process
        if process is None:
            return
        process.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(END_S):
            await process.wait()
        self._forget()

    def _forget(self) -> None:
        while self._unread:
            os.close(self._unread.pop())
        if self._guardian is not None:
            self._guardian.dismiss()
        self._process = self._guardian = None

    # -- output ----------------------------------------------------------------------------------------------

    def output(self) -> str:
        """Return all output of the current process, or of the last one if none runs."""
        with suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")
        return ""

    async def said(self, text: str, *, within: float) -> str:
        """Wait until it has printed a line that contains `text`; return that line from there on.

        Raises:
            RigError: It ends first, or does not print it within `within` seconds.
        """
        with trio.move_on_after(within):
            while self.running:
                for line in self.output().split("\n")[:-1]:  # the last one may be incomplete
                    if text in line:
                        return line[line.index(text) :]
                await trio.sleep(POLL_S)
        why = (
            f"did not say {text!r} within {within:.0f} s"
            if self.running
            else f"ended before it said {text!r}"
        )
        raise self.failure(why)

    def failure(self, reason: str) -> RigError:
        """Return an error about this program, with its exit code, if any, and the tail of its output."""
        if self._process is not None and self._process.returncode is not None:
            reason += f" (exit code {self._process.returncode})"
        lines = self.output().splitlines()[-TAIL_LINES:]
        quoted = "".join(f"\n    {line}" for line in lines) or " nothing"
        return RigError(f"{self.name} {reason}. Last it said:{quoted}")
