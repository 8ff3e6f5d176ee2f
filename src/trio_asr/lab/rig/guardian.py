"""Child processes that do not outlive this one, however it ends.

`PR_SET_PDEATHSIG` would be shorter, but it follows the *thread* that forked, and a worker thread of trio may
end at any time. So a two-line shell waits on a pipe whose write end only this process holds. When this
process is gone, the shell reads end of file, kills the child and removes its temporary directory.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_WATCH = 'read -r _ || { kill -9 "$1"; [ -z "$2" ] || rm -rf "$2"; }'


class Guardian:
    """A watch over one child process, from now on.

    Call `dismiss` before the child is reaped: after that its pid may belong to any process.
    """

    def __init__(self, pid: int, *, temporary: Path | None = None) -> None:
        # A process group of its own: Ctrl-C in a terminal is for this process, which shuts down in order.
        self._shell = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _WATCH, "sh", str(pid), str(temporary or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )

    def dismiss(self) -> None:
        self._shell.kill()
        self._shell.communicate()
