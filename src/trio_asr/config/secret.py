"""What must never be readable in a log, a traceback or on a screen."""

import re

MASK = "***"

# Greedy up to the last "@": a password may itself hold one, and so may a URL with a broken scheme.
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?.*@", re.DOTALL)
# redis-py takes credentials from the query as well.
_QUERY_PASSWORD = re.compile(r"([?&](?:password|username)=)[^&#]*", re.IGNORECASE)


class Secret:
    """A text that shows itself only to who asks for it by ``reveal()``; anything else sees the mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


def mask_url(url: str) -> str:
    """The URL without its credentials; also for one so malformed that it would not parse."""
    return _QUERY_PASSWORD.sub(rf"\g<1>{MASK}", _USERINFO.sub(rf"\g<1>{MASK}@", url))
