"""The provider's words on their way in: cut to length, with the secrets of the request masked.

A server, or a proxy in between, may quote the request that it refuses, and its words end up in events, on
pages and in readiness. So secrets are masked where those come in, and nowhere else.
"""

from __future__ import annotations

import re

from trio_asr.config.secrets import MASK, Secret, forms

MAX_SAID = 256  # characters
MAX_NAME = 64  # characters of a name: a request id, a message type
MAX_LOOKED_AT = 8192  # characters; the rest is neither searched for secrets nor passed on


class Border:
    """The masker of the secrets of a request: the API key, and options that may be such."""

    __slots__ = ("_longest", "_pattern")

    def __init__(self, *secrets: Secret) -> None:
        ways = sorted({way for one in secrets for way in forms(one.reveal())}, key=len, reverse=True)
        self._longest = len(ways[0]) if ways else 0
        self._pattern = re.compile("|".join(map(re.escape, ways)), re.IGNORECASE) if ways else None

    def said(self, text: str, most: int = MAX_SAID) -> str:
        """Return the first `most` characters of `text`, with secrets masked in every form of them."""
        looked_at = text[:MAX_LOOKED_AT]
        if self._pattern is not None:
            looked_at = self._pattern.sub(MASK, looked_at)
            if len(text) > MAX_LOOKED_AT:  # it may have been cut in the middle of one
                looked_at = looked_at[: -self._longest]
        return looked_at[:most]
