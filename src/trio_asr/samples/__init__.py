"""The recorded calls that ship with the package, each with the words spoken in it.

A checkout has all of them, the wheel only the first, which `trio-asr smoke` plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ALL = 3
"""Number of samples in a checkout."""


@dataclass(frozen=True)
class Sample:
    """One recorded call."""

    name: str
    audio: Path
    text: str


def shipped_samples() -> list[Sample]:
    """Return all samples that are installed, sorted by name."""
    here = Path(__file__).parent
    return [
        Sample(path.stem, path, path.with_suffix(".txt").read_text()) for path in sorted(here.glob("*.wav"))
    ]
