"""What a process does before it loads anything that takes time: click alone is some 50 ms, all of it 500.

Later is too late. A descriptor 0 to 2 that is closed goes to the next socket, which then gets the log; and a
SIGHUP that comes before somebody listens ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from trio_asr.telemetry import background

STANDARD = (0, 1, 2)


def prepare(arguments: Sequence[str]) -> None:
    """Prepare the process for its command, the first of `arguments` that is no option."""
    open_standard_files()
    if next((one for one in arguments if not one.startswith("-")), "") == "serve":
        hold_reloads()
        background.begin()


def open_standard_files() -> None:
    """Open those of the descriptors 0 to 2 that are closed on nothing, for this process and its children."""
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, hence this one
            os.set_inheritable(opened, True)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - to the end


def hold_reloads() -> None:
    """Let a SIGHUP wait until there is who takes it; so do threads and children that are made meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def take_reloads() -> None:
    """Take what has waited, and all to come: call it once there is a handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
