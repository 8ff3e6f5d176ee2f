"""What arrives at a service manager's socket, or that its absence is no matter."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from trio_asr.telemetry.systemd import Notifier

Manager = tuple[socket.socket, str]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A datagram socket as systemd has it, and its name as the environment gives it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@trio-asr-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        sock.settimeout(5)
        yield sock, name


def monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_messages_arrive(manager: Manager) -> None:
    sock, name = manager
    with Notifier({"NOTIFY_SOCKET": name}) as notifier:
        assert notifier.enabled
        notifier.ready("2 calls")
        assert sock.recv(1000) == b"READY=1\nSTATUS=2 calls"
        notifier.status("3 calls\nREADY=1")
        assert sock.recv(1000) == b"STATUS=3 calls READY=1"
        notifier.watchdog()
        assert sock.recv(1000) == b"WATCHDOG=1"
        before = monotonic_us()
        notifier.reloading()
        reloading, stamp = sock.recv(1000).decode().split("\n")
        assert reloading == "RELOADING=1"
        assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= monotonic_us()
        notifier.stopping()
        assert sock.recv(1000) == b"STOPPING=1\nSTATUS=Stopping"


def test_without_a_socket_nothing_happens() -> None:
    with Notifier({}) as notifier:
        assert not notifier.enabled
        notifier.ready("x")
        notifier.watchdog()


def test_a_manager_that_does_not_listen_holds_up_nothing(manager: Manager) -> None:
    sock, name = manager
    with Notifier({"NOTIFY_SOCKET": name}) as notifier:
        for _ in range(5_000):  # far more than a queue holds
            notifier.status("x" * 1000)
        sock.close()
        notifier.ready("x")
    notifier.ready("after the end")


@pytest.mark.parametrize(
    "name", ["relative/path", "vsock:2:1234", f"/{'x' * 200}", "@" + "x" * 108, "\udcff"]
)
def test_an_address_that_cannot_be_used_is_remarked(name: str) -> None:
    with Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000000"}) as notifier:
        (remark,) = notifier.remarks
        assert remark.startswith("NOTIFY_SOCKET is not used: ")
        assert len(remark) < 200
        assert not notifier.enabled
        notifier.ready("x")
        notifier.watchdog()
        assert notifier.watchdog_interval_s == 10.0


def test_the_longest_addresses_are_used() -> None:
    for name in ("/" + "x" * 107, "@" + "x" * 107):
        with Notifier({"NOTIFY_SOCKET": name}) as notifier:
            assert notifier.enabled
            notifier.ready("x\udcff")


def test_no_socket_to_be_had_is_remarked(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> NoReturn:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", none)
    notifier = Notifier({"NOTIFY_SOCKET": "/run/notify"})
    assert notifier.remarks == ["NOTIFY_SOCKET is not used: [Errno 24] Too many open files"]


OWN = str(os.getpid())


@pytest.mark.parametrize(
    ("env", "interval", "remarks"),
    [
        ({}, None, 0),
        ({"WATCHDOG_USEC": "20000000"}, 10.0, 0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": OWN}, 10.0, 0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": ""}, 10.0, 0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None, 0),
        # It may be ours, and telling a manager that does not ask harms nobody.
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "x"}, 10.0, 1),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "9" * 5000}, 10.0, 1),
        ({"WATCHDOG_USEC": "0"}, None, 0),
        ({"WATCHDOG_USEC": "soon"}, None, 1),
        ({"WATCHDOG_USEC": "-1"}, None, 1),
        ({"WATCHDOG_USEC": "\u0661\u0662"}, None, 1),
        ({"WATCHDOG_USEC": "9" * 400}, None, 1),
        ({"WATCHDOG_USEC": "9" * 5000}, None, 1),
        ({"WATCHDOG_USEC": str(2**64 - 1)}, None, 0),
        ({"WATCHDOG_USEC": "9" * 19}, 9999999999999.999999 / 2, 0),
        ({"WATCHDOG_USEC": "300000"}, 0.15, 0),
        ({"WATCHDOG_USEC": "1"}, 0.15, 1),
    ],
)
def test_the_watchdog_interval_is_half_the_period(
    env: dict[str, str], interval: float | None, remarks: int
) -> None:
    notifier = Notifier(env)
    assert notifier.watchdog_interval_s == (None if interval is None else pytest.approx(interval))
    assert len(notifier.remarks) == remarks
