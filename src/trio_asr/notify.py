"""What the daemon tells systemd: sd_notify(3) over the datagram socket that the unit's environment names.

Without such a socket everything here does nothing. A message that cannot be delivered at once is dropped: a
service manager that does not listen must not hold up the calls.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self


class Notifier:
    """One socket to the service manager, made from ``$NOTIFY_SOCKET``; ``close()`` it, or use it in ``with``.

    Raises ValueError if the environment names something that is not a socket address of systemd's kinds.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._address = _address(env.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval_s = _watchdog_interval(env)
        self._socket: socket.socket | None = None
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @property
    def enabled(self) -> bool:
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The service does its work. Also ends a reload."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        self._send(_status(status))

    def stopping(self) -> None:
        self._send("STOPPING=1", _status("Stopping"))

    def reloading(self) -> None:
        """The configuration is being read again; ``ready()`` must follow."""
        # systemd tells by the time that this is the answer to its signal, and not to an earlier one.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        # OSError: the manager's queue is full, or it is being restarted and its socket is away.
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> str:
    # A line break would begin another assignment.
    return f"STATUS={' '.join(text.splitlines())}"


def _address(name: str) -> str | None:
    if not name:
        return None
    if name.startswith("@"):  # the abstract namespace, which has a NUL where systemd writes an @
        return "\0" + name[1:]
    if name.startswith("/"):
        return name
    raise ValueError(f"NOTIFY_SOCKET={name}: neither a path nor an abstract address")


def _watchdog_interval(env: Mapping[str, str]) -> float | None:
    """How often to report, in seconds: half of what the unit allows; None if it has no watchdog for us."""
    period_us = env.get("WATCHDOG_USEC", "")
    if not period_us.isdecimal() or int(period_us) == 0:
        return None
    if env.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(period_us) / 2_000_000
