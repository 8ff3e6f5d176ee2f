"""Secrets stand beside the configuration, never in it: where each is looked for, and what it looks like."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trio_asr.config.environment import API_KEY, HTTP_TOKEN
from trio_asr.config.secret import Secret

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
        try:
            with path.open("rb") as secret:
                text = secret.read(MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or type(exc).__name__
            raise Unusable(f"{path}: the {place.name} cannot be read: {reason}") from exc
    if not text.isascii() or not text.isprintable() or " " in text or len(text) < place.shortest:
        length = "" if place.shortest == 1 else f" of at least {place.shortest} characters"
        raise Unusable(f"{origin}: holds no usable {place.name}: one line{length} without blanks is allowed")
    return Found(Secret(text), origin)


def _file(place: Place, file: str | None, env: Mapping[str, str]) -> Path | None:
    if file is not None:
        return Path(file)
    if directory := env.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / place.credential
        if credential.exists():
            return credential
    return None
