"""Standard error without backpressure: lines are queued in memory, and a thread writes them.

A pipe holds 64 KB. When its reader stalls, the next write blocks, and all calls would block with it. So the
queue is bounded; lines that do not fit are dropped, lower levels first, and counted. The descriptor stays
blocking: O_NONBLOCK would affect every process that shares it.

This module imports the standard library only: it is set up before anything else of the daemon is loaded.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

MAX_BYTES = 1024 * 1024  # of the queue; some thousand lines: seconds of a busy log, minutes of a quiet one
MAX_LINES = 8192
MAX_LINE_BYTES = 64 * 1024  # longer lines are cut; a traceback has a tenth of that
FLUSH_S = 1.0  # most time that the exit of the process waits for the queue
# A write to a pipe of up to this size is atomic, whoever else writes to it.
ATOMIC_BYTES = select.PIPE_BUF
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)  # dropped in this order


class _Line(NamedTuple):
    number: int
    data: bytes


def _notice(dropped: int) -> str:
    return f"{dropped} lines were dropped: standard error was not read in time"


class LineQueue:
    """A bounded queue of lines in order. Not thread-safe: its owner holds a lock."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_lines: int = MAX_LINES) -> None:
        self._max_bytes, self._max_lines = max_bytes, max_lines
        self._levels: tuple[deque[_Line], ...] = tuple(deque() for _ in LEVELS)
        self._next = 0
        self.bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    @property
    def roomy(self) -> bool:
        """Whether at least half of the queue is free."""
        return 2 * self.bytes <= self._max_bytes and 2 * len(self) <= self._max_lines

    def put(self, level: int, data: bytes) -> int:
        """Append a line; return how many lines were dropped for it, itself included.

        `level` is an index into LEVELS. The newest lines of the lowest levels are dropped, since the older
        ones show how the trouble began.
        """
        dropped = 0
        while self.bytes + len(data) > self._max_bytes or len(self) >= self._max_lines:
            lowest = next((lines for lines in self._levels[:level] if lines), None)
            if lowest is None:
                return dropped + 1
            self.bytes -= len(lowest.pop().data)
            dropped += 1
        self._levels[level].append(_Line(self._next, data))
        self._next += 1
        self.bytes += len(data)
        return dropped

    def take(self, most: int) -> list[bytes]:
        """Remove the oldest line, and those that follow up to `most` bytes in all; return them."""
        taken: list[bytes] = []
        size = 0
        while filled := [lines for lines in self._levels if lines]:
            first = min(filled, key=lambda lines: lines[0].number)
            if taken and size + len(first[0].data) > most:
                break
            data = first.popleft().data
            taken.append(data)
            size += len(data)
        self.bytes -= size
        return taken


class BackgroundStream(io.TextIOBase):
    """A text stream on a descriptor that never blocks its writer; it takes the place of `sys.stderr`."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, descriptor: int, queue: LineQueue | None = None) -> None:
        super().__init__()
        self.dropped = 0
        # The format of the notice, and the mask for secrets. Both are replaced once logging is configured.
        self.notice: Callable[[int], str] = _notice
        self.mask: Callable[[str], str] = str
        self._descriptor = descriptor
        self._queue = LineQueue() if queue is None else queue
        self._untold = 0
        self._torn = False  # a write failed in the middle of a line
        self._rest = ""  # the last line, still without its line break
        self._busy = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, level: int, line: str) -> None:
        """Queue a line to be written, or drop it; `level` is one of the standard library's."""
        data = line.encode("utf-8", "backslashreplace")[:MAX_LINE_BYTES] + b"\n"
        rank = 0 if level <= LEVELS[0] else 1 if level <= LEVELS[1] else 2 if level <= LEVELS[2] else 3
        with self._changed:
            if self._untold and self._queue.roomy:
                self._tell()
            lost = self._queue.put(rank, data)
            self.dropped += lost
            self._untold += lost
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="stderr", daemon=True)
                self._thread.start()
            elif not self._busy:
                self._changed.notify_all()

    def _tell(self) -> None:
        """Queue a line that says how many are missing here; there is room for it."""
        told, self._untold = self._untold, 0
        self._queue.put(len(LEVELS) - 1, f"{self.notice(told)}\n".encode("utf-8", "backslashreplace"))

    def close_soon(self) -> None:
        """Drain the queue, for `FLUSH_S` seconds at most."""
        with self._changed:
            if self._rest:
                rest, self._rest = self._rest, ""
                self.put(logging.ERROR, self.mask(rest))
            if self._thread is not None:
                self._changed.wait_for(lambda: not self._busy and not len(self._queue), FLUSH_S)

    # -- the thread ------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                if not len(self._queue) and self._untold:
                    self._tell()
                while not len(self._queue):
                    self._changed.notify_all()
                    self._changed.wait()
                lines = self._queue.take(ATOMIC_BYTES)
                self._busy = True
            failed = not self._written(b"".join(lines))
            if failed:
                with self._changed:
                    self.dropped += len(lines)

    def _written(self, data: bytes) -> bool:
        """Write all of `data`, however long that takes; return whether it succeeded."""
        if self._torn:
            data = b"\n" + data
        view, room = memoryview(data), select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # a process that shares the descriptor has set O_NONBLOCK
                room.poll()
            except OSError:  # no reader, or a full disk: losing lines is better than losing calls
                self._torn = self._torn or len(view) < len(data)
                return False
        self._torn = False
        return True

    # -- the interface of a text stream ----------------------------------------------------------------

    def write(self, text: str) -> int:
        """Queue text that the interpreter or a library writes: tracebacks, warnings, messages."""
        with self._changed:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self.put(logging.ERROR, self.mask(line))
            if len(self._rest) > MAX_LINE_BYTES:
                rest, self._rest = self._rest, ""
                self.put(logging.ERROR, self.mask(rest))
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def close(self) -> None:
        """Do nothing: there is no other place for errors."""


def begin() -> None:
    """Replace `sys.stderr` by a stream that never blocks; at exit, drain it for `FLUSH_S` seconds at most."""
    stream = BackgroundStream(sys.stderr.fileno())
    atexit.register(stream.close_soon)
    sys.stderr = stream
