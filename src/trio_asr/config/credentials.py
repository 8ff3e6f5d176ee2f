"""Secrets stand beside the configuration, never in it: where each is looked for, and what it looks like."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trio_asr.config.environment import API_KEY, HTTP_TOKEN
from trio_asr.config.reading import Unreadable, read
from trio_asr.config.secret import MASK, Secret, mask_path

_QUOTES = ("'", '"', "`")
MAX_BYTES = 64 * 1024  # of a file: a secret has some tens


class Place(NamedTuple):
    """A secret: its path in the config, its name for people, its variable and its systemd credential."""

    path: str
    name: str
    variable: str
    credential: str
    shortest: int = 1


class Found(NamedTuple):
    """A secret and where it was found: ``env NAME``, or a file."""

    secret: Secret
    origin: str


class Unusable(Exception):
    """What is there cannot be the secret; the message does not show it."""


DEEPGRAM = Place("deepgram.api_key", "Deepgram API key", API_KEY, "deepgram_api_key")
# Whoever has it reads transcripts, so it must not be one that can be guessed.
HTTP = Place("http.token", "HTTP token", HTTP_TOKEN, "http_token", shortest=16)


# What is pasted around a secret, or instead of it. A value in base64 may end with "=".
_ASSIGNED = re.compile(r"(?:export\s+)?[A-Za-z_]\w*\s*=\s*[^=\s]")
_SCHEME = re.compile(r"(?:Token|Bearer|Basic)\b", re.IGNORECASE)


def find(place: Place, file: str | None, env: Mapping[str, str]) -> Found | None:
    """Look in the environment, then in the configured ``file``, then in systemd's credentials.

    Raises:
        Unusable: the first of them that is there holds nothing usable.
    """
    text, origin = env.get(place.variable, "").strip(), f"env {place.variable}"
    if not text:
        path = _file(place, file, env)
        if path is None:
            return None
        origin = str(path)
        if file is not None and mask_path(file) == MASK:
            origin = f"{place.path}_file = {MASK} (hidden: no such directory, so it may be the secret)"
        try:
            text = read(path, MAX_BYTES).decode().strip()
        except Unreadable as exc:
            raise Unusable(f"{origin}: the {place.name} cannot be read: {exc}") from exc
        except UnicodeDecodeError as exc:
            raise Unusable(f"{origin}: the {place.name} cannot be read: it is no text") from exc
    if reason := _unusable(text, place):
        raise Unusable(f"{origin}: holds no usable {place.name}: {reason}")
    return Found(Secret(text), origin)


def _unusable(text: str, place: Place) -> str | None:
    """Say why this cannot be the secret, without showing it."""
    if len(text.splitlines()) > 1:
        return "it has several lines; one line with nothing but the secret is allowed"
    if _SCHEME.match(text) and len(text.split()) > 1:
        return "leave out the word before it: one line with nothing but the secret is allowed"
    name = text.partition("=")[0].strip()
    if _ASSIGNED.match(text) and (place is not HTTP or name.endswith(HTTP.variable)):
        return "it has a name and = before it; one line with nothing but the secret is allowed"
    if text[:1] in _QUOTES or text[-1:] in _QUOTES:
        return "it stands in quotes; one line with nothing but the secret is allowed"
    if not text.isascii() or not text.isprintable() or " " in text or len(text) < place.shortest:
        length = "" if place.shortest == 1 else f" of at least {place.shortest} characters"
        return f"one line{length} without blanks is allowed"
    return None


def _file(place: Place, file: str | None, env: Mapping[str, str]) -> Path | None:
    if file is not None:
        return Path(file)
    if directory := env.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / place.credential
        try:
            if credential.exists():
                return credential
        except (OSError, ValueError):  # it cannot be looked at: let the reading say so
            return credential
    return None
