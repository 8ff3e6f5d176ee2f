"""Standard error without waiting for whoever reads it: lines queue up in memory, and a thread writes them.

A pipe holds 64 KB. Once its reader stands still, the next write waits, and with it would all calls. So the
queue has a bound, and what does not fit is dropped: the lower levels first, and counted. The descriptor stays
blocking: O_NONBLOCK would hold for everybody who shares it.

Only the standard library is imported here: this begins before anything else of a daemon is loaded.
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

MAX_BYTES = 1024 * 1024  # some thousand lines: seconds of a busy log, minutes of a quiet one
MAX_LINES = 8192
MAX_LINE_BYTES = 64 * 1024  # a traceback has a tenth of that
FLUSH_S = 1.0  # what the end of the process may wait for
# Up to so much a write to a pipe is one piece, whoever else writes into it.
ATOMIC_BYTES = select.PIPE_BUF
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)  # what is dropped first comes first


class _Line(NamedTuple):
    number: int
    data: bytes


def _notice(dropped: int) -> str:
    return f"{dropped} lines were dropped: standard error was not read in time"


class LineQueue:
    """Lines in their order, within bounds. Not locked: whoever has it does that."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_lines: int = MAX_LINES) -> None:
        self._max_bytes, self._max_lines = max_bytes, max_lines
        self._levels: tuple[deque[_Line], ...] = tuple(deque() for _ in LEVELS)
        self._next = 0
        self.bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    @property
    def roomy(self) -> bool:
        """Whether half of it is free."""
        return 2 * self.bytes <= self._max_bytes and 2 * len(self) <= self._max_lines

    def put(self, level: int, data: bytes) -> int:
        """Take a line of a level, an index of LEVELS; return how many were dropped for want of room.

        They are the latest of the lowest levels, this one included: what led to the trouble is kept.
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
        """Take the oldest line out, and what follows it up to `most` bytes in all."""
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
    """A text stream on a descriptor that never makes its writer wait. Stands in the place of `sys.stderr`."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, descriptor: int, queue: LineQueue | None = None) -> None:
        super().__init__()
        self.dropped = 0
        # Both are replaced once logs are set up: how a line looks, and what must not be in one.
        self.notice: Callable[[int], str] = _notice
        self.mask: Callable[[str], str] = str
        self._descriptor = descriptor
        self._queue = LineQueue() if queue is None else queue
        self._untold = 0
        self._torn = False  # a write failed in mid-line
        self._rest = ""  # of a text without a line's end, yet
        self._busy = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, level: int, line: str) -> None:
        """Append a line of a level of the standard library's; it is written later, or dropped."""
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
        """Put a line where others are missing, saying how many. There is room for it."""
        told, self._untold = self._untold, 0
        self._queue.put(len(LEVELS) - 1, f"{self.notice(told)}\n".encode("utf-8", "backslashreplace"))

    def close_soon(self) -> None:
        """Wait for what is queued, but no longer than `FLUSH_S`."""
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
        """Write all of it, however long that takes; say whether it could be."""
        if self._torn:
            data = b"\n" + data
        view, room = memoryview(data), select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:  # somebody who shares the descriptor has made it so
                room.poll()
            except OSError:  # no reader any more, no room on the disk: losing lines is better than calls
                self._torn = self._torn or len(view) < len(data)
                return False
        self._torn = False
        return True

    # -- what a text stream has ------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Take text as the interpreter and libraries write it: tracebacks, warnings, messages."""
        with self._changed:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self.put(logging.ERROR, self.mask(line))
            if len(self._rest) > MAX_LINE_BYTES:
                rest, self._rest = self._rest, ""
                self.put(logging.ERROR, self.mask(rest))
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def close(self) -> None:
        """Stay open: there is no other place for errors."""


def begin() -> None:
    """Let `sys.stderr` never wait again; at the end of the process, at most `FLUSH_S`."""
    stream = BackgroundStream(sys.stderr.fileno())
    atexit.register(stream.close_soon)
    sys.stderr = stream
