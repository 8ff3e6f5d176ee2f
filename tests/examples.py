"""How many examples a property is tried with: all of them in `.ci/run`, a quarter while one works."""

from __future__ import annotations

import os

ALL = bool(os.environ.get("TRIO_ASR_ALL_EXAMPLES"))


def examples(number: int) -> int:
    """Return how many of `number` examples to try here."""
    return number if ALL else max(5, number // 4)
