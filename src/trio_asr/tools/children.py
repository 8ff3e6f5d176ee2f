"""Programs that the demo runs beside itself: output in a file, and no end that nobody asked for."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import trio

from trio_asr.tools.guardian import Guardian

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

POLL_S = 0.02
STOP_TIMEOUT_S = 10.0
TAIL_LINES = 12


class ChildError(Exception):
    """A program that did not start, or ended by itself; carries the last of what it said."""


class Child:
    """One program as a process. It lives as long as the task of `run`; `stop` ends it in order."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._process: trio.Process | None = None
        self._guardian: Guardian | None = None
        self._stopping = False

    @property
    def process(self) -> trio.Process:
        assert self._process is not None
        return self._process

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until stopped. An end that nobody asked for is a `ChildError`."""
        with self.log.open("wb") as output:
            # Not in our process group: Ctrl-C is for us, and we stop them in order.
            self._process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        self._guardian = Guardian(self._process.pid)
        task_status.started()
        try:
            code = await self._process.wait()
        finally:
            self._guardian.dismiss()
            if self._process.returncode is None:
                self._process.kill()
                with trio.CancelScope(shield=True), trio.move_on_after(STOP_TIMEOUT_S):
                    await self._process.wait()
        if not self._stopping or code != 0:
            raise ChildError(self._last_words(f"the {self.name} ended with exit code {code}"))

    async def stop(self) -> None:
        """End it as an operator would (SIGTERM); `run` returns when it has gone."""
        self._stopping = True
        self.process.terminate()
        with trio.move_on_after(STOP_TIMEOUT_S):
            await self.process.wait()
            return
        raise ChildError(self._last_words(f"the {self.name} did not stop within {STOP_TIMEOUT_S:.0f} s"))

    async def said(self, start: str, *, within: float) -> str:
        """Wait until it has printed a line with `start` in it; that line from there on."""
        with trio.move_on_after(within):
            while True:
                for line in self.output().split("\n")[:-1]:  # the last one may be half written
                    if start in line:
                        return line[line.index(start) :]
                await trio.sleep(POLL_S)
        raise ChildError(self._last_words(f"the {self.name} was not up within {within:.0f} s"))

    def output(self) -> str:
        """All it printed up to now."""
        return self.log.read_text(errors="replace")

    def failure(self, reason: str) -> ChildError:
        """An error about this program, with the last of what it said."""
        return ChildError(self._last_words(f"the {self.name} {reason}"))

    def _last_words(self, reason: str) -> str:
        lines = self.output().splitlines()[-TAIL_LINES:]
        quoted = "".join(f"\n    {line}" for line in lines) or " nothing"
        return f"{reason}. Last it said:{quoted}"


def clean_environment(without: set[str]) -> dict[str, str]:
    """Ours, less what would configure a child behind our back."""
    return {name: value for name, value in os.environ.items() if name not in without}


async def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """One HTTP request to a local server: status and body; status 0 when nobody answers."""
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        await trio.lowlevel.checkpoint()
        return 0, ""
    async with stream:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        try:
            await stream.send_all(request.encode("ascii"))
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            return 0, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    return int(status[0]) if status else 0, body.decode(errors="replace")
