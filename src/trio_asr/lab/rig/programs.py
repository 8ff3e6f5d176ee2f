"""Processes that may be killed, frozen and started again; their logs are kept, and none outlives us."""

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
END_S = 10.0


class RigError(Exception):
    """A program did not do what the rig needs of it; carries the last of what it said."""


def limited(files: int) -> list[str]:
    """What goes before a command that may have only so many files open; nothing for 0."""
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
        self._from = 0  # where in the log the present process begins
        self.log_is_read = True  # else it writes into a pipe that fills up
        self.most_files = 0  # that it may have open; 0: as many as we
        self._unread: list[int] = []

    async def start(self) -> None:
        """Start it; it must not be running."""
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
                start_new_session=True,  # Ctrl-C is for us
            )
        self._guardian = Guardian(self._process.pid)

    def _pipe(self) -> int:
        """Return the end of a new pipe to write to; nobody reads the other one."""
        self._unread += os.pipe()
        return self._unread[-1]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        if self._process is None:
            raise RigError(f"{self.name} does not run")
        return self._process.pid

    def signal(self, which: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(which)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        await self.ended()

    def freeze(self) -> None:
        """Let it do nothing until `thaw`; its connections stay open."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def stop(self, within: float = END_S) -> int:
        """End it in order; return its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(within)

    async def ended(self, within: float = END_S) -> int:
        """Wait for its end; return its exit code (negative: the signal that killed it)."""
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
        """Rely on it for a block: an end in there is an error. After the block it is ended in order."""
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

    # -- what it says ----------------------------------------------------------------------------------

    def output(self) -> str:
        """All that the present process has printed, or the last one if none runs."""
        with suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")
        return ""

    async def said(self, text: str, *, within: float) -> str:
        """Wait until it has printed a line with `text` in it; that line from there on."""
        with trio.move_on_after(within):
            while self.running:
                for line in self.output().split("\n")[:-1]:  # the last one may be half written
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
        """An error about this program, with its exit code if it has ended, and the last of what it said."""
        if self._process is not None and self._process.returncode is not None:
            reason += f" (exit code {self._process.returncode})"
        lines = self.output().splitlines()[-TAIL_LINES:]
        quoted = "".join(f"\n    {line}" for line in lines) or " nothing"
        return RigError(f"{self.name} {reason}. Last it said:{quoted}")
