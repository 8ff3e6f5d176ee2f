"""What the provider's side says, on its way in: cut, and without the key.

A server, or a proxy in between, may quote the request that it refuses, and its words go into events, pages
and readiness. So the key is masked where they come in, by who holds it, and nowhere else.
"""

from __future__ import annotations

import re

from trio_asr.config.secrets import MASK, Secret, forms

MAX_SAID = 256  # characters
MAX_NAME = 64  # of what names something: a request, a type
MAX_LOOKED_AT = 8192  # more is not searched for the key, and not passed on


class Border:
    """Masks one key."""

    __slots__ = ("_longest", "_pattern")

    def __init__(self, key: Secret) -> None:
        ways = sorted(forms(key.reveal()), key=len, reverse=True)
        self._longest = len(ways[0]) if ways else 0
        self._pattern = re.compile("|".join(map(re.escape, ways)), re.IGNORECASE) if ways else None

    def said(self, text: str, most: int = MAX_SAID) -> str:
        """Return at most so many characters of a text, the key masked in whatever form it stands there."""
        looked_at = text[:MAX_LOOKED_AT]
        if self._pattern is not None:
            looked_at = self._pattern.sub(MASK, looked_at)
            if len(text) > MAX_LOOKED_AT:  # it may have been cut in the middle of the key
                looked_at = looked_at[: -self._longest]
        return looked_at[:most]
