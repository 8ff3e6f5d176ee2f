"""What the provider's side says, on its way in: cut, and without the key.

A server, or a proxy in between, may quote the request that it refuses, and its words go into events, pages
and readiness. So the key is masked where they come in, by who holds it, and nowhere else.
"""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

from trio_asr.config.secret import MASK, Secret

MAX_SAID = 256  # characters
MAX_NAME = 64  # of what names something: a request, a type
MAX_LOOKED_AT = 8192  # more is not searched for the key, and not passed on
SHORTEST = 6  # a shorter key is likely to be a word of the messages themselves


class Border:
    """Masks one key."""

    __slots__ = ("_longest", "_pattern")

    def __init__(self, key: Secret) -> None:
        forms = _forms(key.reveal())
        self._longest = max(map(len, forms), default=0)
        ways = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._pattern = re.compile(ways, re.IGNORECASE) if forms else None

    def said(self, text: str, most: int = MAX_SAID) -> str:
        """Return at most so many characters of a text, the key masked in whatever form it stands there."""
        looked_at = text[:MAX_LOOKED_AT]
        if self._pattern is not None:
            looked_at = self._pattern.sub(MASK, looked_at)
            if len(text) > MAX_LOOKED_AT:  # it may have been cut in the middle of the key
                looked_at = looked_at[: -self._longest]
        return looked_at[:most]


def _forms(key: str) -> set[str]:
    """Return the forms in which a key may be quoted: as it is, in JSON, in Python, in a URL, in HTML."""
    if len(key) < SHORTEST:
        return set()
    return {
        key,
        json.dumps(key)[1:-1],
        json.dumps(key, ensure_ascii=False)[1:-1],
        json.dumps(key)[1:-1].replace("/", "\\/"),
        repr(key)[1:-1],
        quote(key),
        quote(key, safe=""),
        quote_plus(key),
        html.escape(key),
    }
