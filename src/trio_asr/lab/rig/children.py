"""What programs that we start get of our environment."""

from __future__ import annotations

import os
from collections.abc import Collection


def clean_environment(without: Collection[str]) -> dict[str, str]:
    """Ours, less what would configure a child behind our back."""
    return {name: value for name, value in os.environ.items() if name not in without}
