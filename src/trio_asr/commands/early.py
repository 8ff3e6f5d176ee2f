"""The first steps of a process, before the imports that take time: click takes 50 ms, everything 500 ms.

Later is too late. A closed descriptor from 0 to 2 would go to the next socket, which would then receive the
log. And a SIGHUP that comes before there is a handler ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from trio_asr.telemetry import background

STANDARD = (0, 1, 2)
DAEMONS = ("serve", "ingest")


def prepare(arguments: Sequence[str]) -> None:
    """Prepare the process for its command, which is the first of `arguments` that is not an option."""
    open_standard_files()
    if next((one for one in arguments if not one.startswith("-")), "") in DAEMONS:
        hold_reloads()
        background.begin()


def open_standard_files() -> None:
    """Open closed descriptors from 0 to 2 on the null device, for this process and its children."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, hence this one
            os.set_inheritable(opened, True)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - to the end


def hold_reloads() -> None:
    """Block SIGHUP, so that it stays pending until there is a handler. Threads and children inherit this."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take_reloads() -> None:
    """Unblock SIGHUP, which delivers a pending one. Call it once there is a handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
