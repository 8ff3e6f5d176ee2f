"""Any text where a configuration belongs: it is a configuration or a refusal."""

from __future__ import annotations

import pytest
from fuzz.targets import config_target
from hypothesis import given, settings
from hypothesis import strategies as st

WORDS = [
    "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", "#", '"', "'", '"""', "'''", "\\", "\\u0000", "e",
    "redis", "deepgram", "http", "url", "options", "api_key_file", "token_file", "host", "keyterm", "model",
    "[redis]\n", "[deepgram]\n", "url = ", "redis://", "wss://", "@", ":", "/", "?", "%", "db=", "nan", "inf",
    "[[ingest.route]]\n", "[ingest]\n", "path = ", "platform = ", "route = ", "roles = ", "sources = ",
    "1979-05-27", "T07:32:00", "+25:99", "0x", "true", "host = ", "options = ", "\x7f", "\r", "\ud7ff",
]  # fmt: skip
PIECE = st.one_of(
    st.sampled_from(WORDS),
    st.integers().map(str),
    st.text(max_size=8),
)


@given(st.lists(PIECE, max_size=30).map("".join), st.lists(PIECE, max_size=6).map("".join))
@settings(deadline=None)
def test_any_text_is_a_configuration_or_a_refusal(text: str, url: str) -> None:
    config_target(f"{text}\x00{url}".encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_any_bytes_are_a_configuration_or_a_refusal(data: bytes) -> None:
    config_target(data)


def test_the_target_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_asr.config.showing.mask_url", str)
    with pytest.raises(AssertionError):
        config_target(b"\x00a-user:x")
