"""The environment of child processes."""

from __future__ import annotations

import os
from collections.abc import Collection


def clean_environment(without: Collection[str]) -> dict[str, str]:
    """Return our environment less the variables that would configure a child unnoticed."""
    return {name: value for name, value in os.environ.items() if name not in without}
