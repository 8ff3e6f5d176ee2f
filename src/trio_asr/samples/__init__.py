"""The recorded calls that come with the package, each with the words that are spoken in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One recorded call."""

    name: str
    audio: Path
    text: str


def shipped_samples() -> list[Sample]:
    """All of them, by name."""
    here = Path(__file__).parent
    return [
        Sample(path.stem, path, path.with_suffix(".txt").read_text()) for path in sorted(here.glob("*.wav"))
    ]
