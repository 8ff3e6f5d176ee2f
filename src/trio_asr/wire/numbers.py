"""Numbers as producers write them: as floats and as text, too."""

from __future__ import annotations

import re
from typing import Any

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}(\.\d{0,30})?", re.ASCII)


def whole(value: Any) -> int | None:
    """Return a whole number of 64 bits, else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None


def decimal(value: Any) -> float | None:
    """Return a number, else None."""
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def rounded(value: Any) -> int | None:
    """Return the whole number of 64 bits next to one that may have a fraction, else None."""
    if (number := whole(value)) is not None:
        return number
    near = decimal(value)
    return round(near) if near is not None and abs(near) < 2**63 else None
