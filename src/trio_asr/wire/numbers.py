"""Numbers as producers write them, which includes floats and strings."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_PAST = 2**63  # beyond 64 bits, as a signed number
# What int() and float() take, without underscores, other digits, words, and lengths that take long.
_DECIMAL = re.compile(r"[+-]?\d{1,18}(\.\d{0,30})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)


def whole(value: Any) -> int | None:
    """Return `value` as a signed 64-bit integer, or None if it is not one."""
    number = _number(value)
    if number is None or not -_PAST < number < _PAST:
        return None
    return int(number) if number == int(number) else None


def decimal(value: Any) -> float | None:
    """Return `value` as a number, or None if it is not one."""
    number = _number(value)
    return float(number) if isinstance(number, Decimal) else number


def rounded(value: Any) -> int | None:
    """Return `value` rounded to a signed 64-bit integer, or None if it is not a number of that range."""
    number = _number(value)
    return round(number) if number is not None and -_PAST < number < _PAST else None


def _number(value: Any) -> int | float | Decimal | None:
    """Return the number that a value is, a text exactly."""
    if isinstance(value, str):
        text = value.strip()
        return Decimal(text) if _DECIMAL.fullmatch(text) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
