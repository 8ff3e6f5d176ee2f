"""The recorded calls that come with the package, each with the words that are spoken in it.

A checkout has all of them, the wheel only the first: that is what `trio-asr smoke` plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ALL = 3
"""How many a checkout has."""


@dataclass(frozen=True)
class Sample:
    """One recorded call."""

    name: str
    audio: Path
    text: str


def shipped_samples() -> list[Sample]:
    """All that are here, by name."""
    here = Path(__file__).parent
    return [
        Sample(path.stem, path, path.with_suffix(".txt").read_text()) for path in sorted(here.glob("*.wav"))
    ]
