"""Showing: values as TOML, for people, with everything masked that could be a secret."""

import json
from typing import Any

import msgspec

from trio_asr.config.secrets import MASK, Secret, is_secret_name, mask_pair, mask_path, mask_url

MAX_SHOWN = 100  # characters of a value, or of an unknown key


def shown(path: str, value: Any) -> str:
    """Return the value at a key path as TOML, with secrets masked."""
    match value:
        case Secret():
            text = MASK
        case None:
            text = "(not set)"
        case bool():
            text = "true" if value else "false"
        case str():
            text = _quoted(_harmless(path, value))
        case list() | tuple():
            text = f"[{', '.join(shown(path, one) for one in value)}]"
        case dict():
            pairs = ", ".join(f"{_key(name)} = {_shown_option(name, one)}" for name, one in value.items())
            text = f"{{ {pairs} }}" if pairs else "{}"
        case float():
            text = f"{value:.12g}"
        case _:
            text = str(value)
    return text


def _key(name: str) -> str:
    return _quoted(name) if "." in name else name  # bare, it would be a table in the table


def _shown_option(name: str, value: Any) -> str:
    return f'"{MASK}"' if is_secret_name(name) else shown("", value)


def _harmless(path: str, text: str) -> str:
    """Return a text with everything masked that could be a secret at this key."""
    if path.endswith("url"):
        # Without a scheme it is not a URL, and may be a password.
        return mask_url(text) if "://" in text else MASK
    if path.endswith("extra"):
        return mask_pair(text)
    return mask_path(text) if path.endswith("_file") else text


def _quoted(text: str) -> str:
    """Return a text as a TOML string. Its escapes are those of JSON, except for unpaired surrogates."""
    try:
        return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
    except ValueError:
        return json.dumps(text)


def plain(value: Any, path: str) -> str:
    """Return a value as it was given, cut to `MAX_SHOWN` characters, with secrets masked."""
    if isinstance(value, dict):
        return "a table"
    return cut(shown(path, value))


def cut(text: str) -> str:
    safe = "".join(char if char.isprintable() else "?" for char in text[: MAX_SHOWN + 1])
    return safe if len(safe) <= MAX_SHOWN else f"{safe[:MAX_SHOWN]}..."
