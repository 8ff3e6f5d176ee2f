"""Numbers as producers write them, which includes floats and strings."""

from __future__ import annotations

import re
from typing import Any

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,18}(\.\d{0,30})?", re.ASCII)


def whole(value: Any) -> int | None:
    """Return `value` as a signed 64-bit integer, or None if it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None


def decimal(value: Any) -> float | None:
    """Return `value` as a number, or None if it is not one."""
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def rounded(value: Any) -> int | None:
    """Return `value` rounded to a signed 64-bit integer, or None if it is not a number of that range."""
    if (number := whole(value)) is not None:
        return number
    near = decimal(value)
    return round(near) if near is not None and abs(near) < 2**63 else None
