"""Helpers of the tests of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_asr.config import ConfigError, Loaded, load

KEY = {"DEEPGRAM_API_KEY": "dg-key-1234567890"}
TOKEN = {"TRIO_ASR_HTTP_TOKEN": "0123456789abcdef"}
NOWHERE = Path("/nonexistent/config.toml")


def load_text(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Loaded:
    file = tmp_path / "trio.toml"
    file.write_text(text)
    return load(file, KEY if env is None else env)


def refusal(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text, env)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def refused_file(path: Path, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, KEY if env is None else env)
    return str(caught.value)


def refused_text(tmp_path: Path, text: str | bytes, env: dict[str, str] | None = None) -> str:
    file = tmp_path / "trio.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refused_file(file, env)
    assert len(message) < 20_000
    return message.replace(str(file), "FILE")
