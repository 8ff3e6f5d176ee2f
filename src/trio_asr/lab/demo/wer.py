"""The word error rate of a recognised text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_WORD = re.compile(r"[^\w']+")


def words(text: str) -> list[str]:
    """Return the words of a text, without case and punctuation."""
    return [word for piece in _NO_WORD.split(text.casefold()) if (word := piece.strip("'_"))]


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return the fewest replacements, insertions and deletions of words that turn one text into the other."""
    above = list(range(len(heard) + 1))
    for row, expected in enumerate(said, start=1):
        current = [row]
        for column, actual in enumerate(heard, start=1):
            swap = above[column - 1] + (expected != actual)
            current.append(min(swap, above[column] + 1, current[-1] + 1))
        above = current
    return above[-1]


def error_rate(*texts: tuple[str, str]) -> float:
    """Return the errors per word that was said; it can exceed 1.

    `texts` are what was said and what was heard, for each channel.

    Raises:
        ValueError: Nothing was said.
    """
    expected = sum(len(words(said)) for said, _ in texts)
    if not expected:
        raise ValueError("nothing was said")
    return sum(errors(words(said), words(heard)) for said, heard in texts) / expected
