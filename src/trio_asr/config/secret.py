"""What must never be readable in a log, a traceback or on a screen."""

import base64
import html
import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST_SECRET = 6  # characters; a shorter one is not looked for

# Greedy up to the last "@": a password may itself hold one, and so may a URL with a broken scheme.
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?.*@", re.DOTALL)
# redis-py takes credentials from the query as well, and there are tokens in the queries of others: of an
# option that is not one of these, only the name is shown.
_SHOWN_OPTIONS = frozenset(
    {
        "db", "decode_responses", "encoding", "health_check_interval", "max_connections", "protocol",
        "retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl_ca_certs",
        "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile",
    }
)  # fmt: skip
_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,40}")


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
    """The URL without credentials, tokens and fragment; also for one so malformed that it would not parse."""
    rest, hash_mark, _ = _USERINFO.sub(rf"\g<1>{MASK}@", url).partition("#")
    rest, mark, query = rest.partition("?")
    shown = "&".join(map(_mask_option, query.split("&")))
    return rest + (f"?{shown}" if mark else "") + (f"#{MASK}" if hash_mark else "")


def _mask_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    if not equals or not _OPTION_NAME.fullmatch(name):
        return MASK
    return option if name in _SHOWN_OPTIONS else f"{name}={MASK}"


def mask_path(text: str) -> str:
    """The name of a file; the mask if there can be no such file: it may be the secret itself."""
    try:
        path = Path(text)
        directory = path.parent
        known = path.exists() or (directory not in (Path("/"), Path()) and directory.is_dir())
    except (OSError, ValueError):  # too long, a NUL in it, not to be looked at
        known = False
    return text if known else MASK


def forms(secret: str) -> set[str]:
    """Return the forms in which others may quote a secret: as it is, in JSON, Python, HTML, a URL, base64.

    None of a short one: it is likely to be a word of the messages themselves.
    """
    if len(secret) < SHORTEST_SECRET:
        return set()
    quoted = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    quoted |= {json.dumps(secret)[1:-1].replace("/", "\\/"), repr(secret)[1:-1], html.escape(secret)}
    for url in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        quoted |= {url, re.sub("%..", lambda found: found[0].lower(), url)}
    # Base64 of a text that it is a part of, as in an Authorization header: what comes before it shifts the
    # digits in one of three ways, and those that are of its own bits alone are always the same.
    raw = secret.encode("utf-8", "surrogateescape")
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        digits = base64.b64encode(bytes(before) + raw).decode()[skipped : (before + len(raw)) * 8 // 6]
        quoted |= {digits, digits.replace("+", "-").replace("/", "_")}
    return quoted
