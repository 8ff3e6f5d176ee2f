"""Notifications to systemd: sd_notify(3) over the datagram socket that the unit's environment names.

Without such a socket nothing here has any effect. None of it may hold up the calls: a message that cannot be
delivered at once is dropped, and a malformed environment leads to a remark instead of an error.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

# The longest address of a Unix socket on Linux, and the digits of a 64-bit number.
MAX_ADDRESS_BYTES, MAX_DIGITS = 108, 20
# With a shorter period the event loop would do little but feed the watchdog.
MIN_WATCHDOG_S = 0.3
# systemd's word for "never".
INFINITY_US = 2**64 - 1


class Notifier:
    """A socket to the service manager, made from `$NOTIFY_SOCKET`; call `close()`, or use it in `with`.

    `remarks` are about the parts of the environment that cannot be used, one line each.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self.remarks: list[str] = []
        self._socket: socket.socket | None = None
        self._address: bytes | None = None
        try:
            self._address = _address(env.get("NOTIFY_SOCKET", ""))
            if self._address is not None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
        except (ValueError, OSError) as error:
            self.remarks.append(f"NOTIFY_SOCKET is not used: {error}")
        self.watchdog_interval_s = self._watchdog_interval(env)

    @property
    def enabled(self) -> bool:
        """Whether there is a service manager to notify."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Report that the service is up, or that a reload is over."""
        self._send("READY=1", _status(status))

    def status(self, status: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self._send(_status(status))

    def stopping(self) -> None:
        """Report that the service is shutting down."""
        self._send("STOPPING=1", _status("Stopping"))

    def reloading(self) -> None:
        """Report that the configuration is being reloaded; `ready()` must follow."""
        # By the timestamp systemd knows that this answers its latest signal, and not an earlier one.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def watchdog(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; later notifications have no effect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _watchdog_interval(self, env: Mapping[str, str]) -> float | None:
        """Return how often to feed the watchdog, in seconds: twice per period. None without a watchdog."""
        period, pid = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
        if not period:
            return None
        if not _is_number(period):
            self.remarks.append("WATCHDOG_USEC is not used: it is no number of microseconds")
            return None
        if pid and not _is_number(pid):
            self.remarks.append("WATCHDOG_PID is not used: it is no number")
        elif pid and int(pid) != os.getpid():
            return None
        if int(period) in (0, INFINITY_US):
            return None
        period_s = int(period) / 1_000_000
        if period_s < MIN_WATCHDOG_S:
            self.remarks.append(
                f"WATCHDOG_USEC={period} is too short: the watchdog is fed as for {MIN_WATCHDOG_S:g} s"
            )
        return max(period_s, MIN_WATCHDOG_S) / 2

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        # OSError: the manager's queue is full, or it is being restarted and its socket is away.
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)


def _status(text: str) -> str:
    # A line break would start another assignment.
    return f"STATUS={' '.join(text.splitlines())}"


def _address(name: str) -> bytes | None:
    """Return the socket's address, None if there is no name.

    Raises:
        ValueError: The name is neither a path nor an abstract address, or one that cannot exist.
    """
    if not name:
        return None
    if name[0] not in "/@":
        raise ValueError(f"neither a path nor an abstract address: {name[:100]!r}")
    address = os.fsencode(name)
    if len(address) > MAX_ADDRESS_BYTES or "\0" in name:
        raise ValueError(f"no such address is possible: at most {MAX_ADDRESS_BYTES} bytes")
    # An abstract address starts with a NUL, for which systemd writes an @.
    return b"\0" + address[1:] if name[0] == "@" else address


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
