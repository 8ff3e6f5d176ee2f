"""The program that a worker runs: this version's, or that of another version beside it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Version(NamedTuple):
    """An interpreter, and the module path that its process gets (`PYTHONPATH`; "" adds nothing)."""

    python: str
    path: str = ""

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `trio-asr` with these arguments."""
        return [self.python, "-m", "trio_asr", *arguments]


OURS = Version(sys.executable, os.environ.get("PYTHONPATH", ""))


def version_at(place: Path) -> Version:
    """Return the version in a checkout's `src`, in a virtual environment, or of an interpreter.

    A checkout runs on our own interpreter, with what is installed there.

    Raises:
        ValueError: There is none.
    """
    if (place / "trio_asr" / "__main__.py").exists():
        return Version(sys.executable, str(place.absolute()))
    for python in (place / "bin" / "python", place):
        if python.is_file() and os.access(python, os.X_OK):
            return Version(str(python.absolute()))
    raise ValueError(f"{place} is no checkout's src, virtual environment or interpreter")
