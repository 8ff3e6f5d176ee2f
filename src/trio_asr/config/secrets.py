"""Secrets: a type that never shows one, masks for what is printed, and where each secret is looked for.

A secret stands beside the configuration, never in it.
"""

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from trio_asr.config.environment import API_KEY, HTTP_TOKEN
from trio_asr.config.reading import Unreadable, read

MASK = "***"
SHORTEST_SECRET = 6  # characters; a shorter one is not masked in texts

# Greedy up to the last "@": a password may contain one, and so may a URL with a broken scheme.
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?.*@", re.DOTALL)
# redis-py takes credentials from the query, too, and other services take tokens there. Of an option that is
# not in this list, only the name is shown.
_SHOWN_OPTIONS = frozenset(
    {
        "db", "decode_responses", "encoding", "health_check_interval", "max_connections", "protocol",
        "retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl_ca_certs",
        "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile",
    }
)  # fmt: skip
_SECRET_NAME = re.compile("auth|key$|pass|secret|token", re.IGNORECASE)
_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z_-]{0,40}")


class Secret:
    """A text that only `reveal()` shows. To everything else it is the mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself."""
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
    """Return the URL with credentials, tokens and fragment masked, even if it is too malformed to parse."""
    rest, hash_mark, _ = _USERINFO.sub(rf"\g<1>{MASK}@", url).partition("#")
    rest, mark, query = rest.partition("?")
    shown = "&".join(map(_mask_option, query.split("&")))
    return rest + (f"?{shown}" if mark else "") + (f"#{MASK}" if hash_mark else "")


def _mask_option(option: str) -> str:
    name, equals, _ = option.partition("=")
    if not equals or not _OPTION_NAME.fullmatch(name):
        return MASK
    return option if name in _SHOWN_OPTIONS else f"{name}={MASK}"


def is_secret_name(name: str) -> bool:
    """Return whether what has this name may be a secret: an option that we do not know, for one."""
    return _SECRET_NAME.search(name) is not None


def mask_pair(pair: str) -> str:
    """Return a pair `name:value`, with the value masked where the name is that of a secret."""
    name, colon, _ = pair.partition(":")
    return f"{name}:{MASK}" if colon and is_secret_name(name) else pair


def mask_path(text: str) -> str:
    """Return the path of a file, or the mask if there can be no such file: it may be the secret itself."""
    try:
        path = Path(text)
        directory = path.parent
        known = path.exists() or (directory not in (Path("/"), Path()) and directory.is_dir())
    except (OSError, ValueError):  # too long, has a NUL, or no permission
        known = False
    return text if known else MASK


def forms(secret: str) -> set[str]:
    """Return the forms in which others may quote a secret: as it is, in JSON, Python, HTML, a URL or base64.

    For a secret of less than `SHORTEST_SECRET` characters the set is empty: it may well be a word of the
    messages themselves.
    """
    if len(secret) < SHORTEST_SECRET:
        return set()
    quoted = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    quoted |= {json.dumps(secret)[1:-1].replace("/", "\\/"), repr(secret)[1:-1], html.escape(secret)}
    for url in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        quoted |= {url, re.sub("%..", lambda found: found[0].lower(), url)}
    # Base64 of a longer text, as in an Authorization header: what precedes the secret shifts its digits in
    # one of three ways. The digits that hold only bits of the secret are the same each time.
    raw = secret.encode("utf-8", "surrogateescape")
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        digits = base64.b64encode(bytes(before) + raw).decode()[skipped : (before + len(raw)) * 8 // 6]
        quoted |= {digits, digits.replace("+", "-").replace("/", "_")}
    return quoted


# -- where secrets are looked for ------------------------------------------------------------------

_QUOTES = ("'", '"', "`")
MAX_BYTES = 64 * 1024  # of a file; a secret has a few dozen


class SecretSpec(NamedTuple):
    """Where a secret is looked for: its key path, its name for people, its variable, its systemd credential.

    `shortest` is its minimum length in characters. Without variable and credential it is in its file only.
    """

    path: str
    name: str
    variable: str = ""
    credential: str = ""
    shortest: int = 1


class Found(NamedTuple):
    """A secret, and where it was found: `env NAME`, or a file."""

    secret: Secret
    origin: str


class Unusable(Exception):
    """A text or file in the place of a secret that cannot be one. The message does not show it."""


DEEPGRAM = SecretSpec("deepgram.api_key", "Deepgram API key", API_KEY, "deepgram_api_key")
# Whoever has the token can read transcripts, so it must be too long to guess.
HTTP = SecretSpec("http.token", "HTTP token", HTTP_TOKEN, "http_token", shortest=16)


# What people paste around a secret, or instead of it. A value in base64 may end with "=".
_ASSIGNED = re.compile(r"(?:export\s+)?[A-Za-z_][\w.-]*\s*=\s*[^=\s]")
_SCHEME = re.compile(r"(?:Token|Bearer|Basic)\b", re.IGNORECASE)
# The same around Deepgram's key alone: a token of one's own choice may be any text. A key of a self-hosted
# Deepgram may have any characters, so this is what no key is, and not what one consists of.
_LABELLED = re.compile(r"[\w.-]*(?:key|token|bearer|basic|authorization)\s*:", re.IGNORECASE)
_BRACKETED = re.compile(r"\$?[\[({<].*[\])}>]")


def find(spec: SecretSpec, file: str | None, env: Mapping[str, str]) -> Found | None:
    """Look for a secret in the environment, then in the configured `file`, then in systemd's credentials.

    Return None if it is in none of them. Blocks: files are read.

    Raises:
        Unusable: The first of them that is there holds nothing usable.
    """
    if (located := locate(spec, file, env)) is None:
        return None
    text, origin = located
    if reason := _unusable(text, spec):
        raise unusable(spec, origin, reason)
    return Found(Secret(text), origin)


def locate(spec: SecretSpec, file: str | None, env: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the text that `find` would check, and its origin.

    Raises:
        Unusable: It cannot be read.
    """
    text, origin = env.get(spec.variable, "").strip(), f"env {spec.variable}"
    if not text:
        path = _file(spec, file, env)
        if path is None:
            return None
        origin = str(path)
        if file is not None and mask_path(file) == MASK:
            origin = f"{spec.path}_file = {MASK} (hidden: no such directory, so it may be the secret)"
        try:
            text = read(path, MAX_BYTES).decode().strip()
        except Unreadable as exc:
            raise Unusable(f"{origin}: the {spec.name} cannot be read: {exc}") from exc
        except UnicodeDecodeError as exc:
            raise Unusable(f"{origin}: the {spec.name} cannot be read: it is no text") from exc
    return text, origin


def unusable(spec: SecretSpec, origin: str, reason: str) -> Unusable:
    """Return the error that what is in the place of a secret cannot be one."""
    return Unusable(f"{origin}: holds no usable {spec.name}: {reason}")


def _unusable(text: str, spec: SecretSpec) -> str | None:
    """Return why this cannot be the secret, without showing it, or None if it can."""
    if wrapping := next(_wrappings(text, spec), None):
        return f"{wrapping}; one line with nothing but the secret is allowed"
    if not text.isascii() or not text.isprintable() or " " in text or len(text) < spec.shortest:
        length = "" if spec.shortest == 1 else f" of at least {spec.shortest} characters"
        return f"one line{length} without blanks is allowed"
    return None


def _wrappings(text: str, spec: SecretSpec) -> Iterator[str]:
    """Yield what is around a secret that is nothing of it."""
    if len(text.splitlines()) > 1:
        yield "it has several lines"
    if _SCHEME.match(text) and len(text.split()) > 1:
        yield "leave out the word before it"
    name = text.partition("=")[0].strip()
    named = bool(spec.variable) and name.endswith(spec.variable)
    if _ASSIGNED.match(text) and (spec is DEEPGRAM or named):
        yield "it has a name and = before it"
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        yield "it stands in quotes"
    if spec is not DEEPGRAM:
        return
    if _BRACKETED.fullmatch(text):
        yield "it stands in brackets"
    if _LABELLED.match(text):
        yield "it has a name and : before it"
    if API_KEY in text.upper():
        yield f"{API_KEY} is the name of the variable"
    if text.endswith((",", ";")):
        yield "a comma or semicolon follows it"


def _file(spec: SecretSpec, file: str | None, env: Mapping[str, str]) -> Path | None:
    if file is not None:
        return Path(file)
    if spec.credential and (directory := env.get("CREDENTIALS_DIRECTORY")):
        credential = Path(directory) / spec.credential
        try:
            if credential.exists():
                return credential
        except (OSError, ValueError):  # no permission to look: reading it reports that
            return credential
    return None
