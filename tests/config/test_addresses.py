"""Hosts and Deepgram's URLs: what could not be dialled or listened on is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.helpers import load_text, refusal

from trio_asr.config import DeepgramConfig, Secret
from trio_asr.config.addresses import deepgram_problem, host_problem
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.wire.audio_format import audio_format

LONG = "a" * 300


@pytest.mark.parametrize(
    "url",
    [
        "wss://api.deepgram.com/v1/listen", "wss://api.eu.deepgram.com/v1/listen", "ws://h:8080/v1/listen",
        "ws://[::1]:8080/v1/listen", "ws://127.0.0.1/x", "ws://proxy/", "wss://h/a%20b/~c",
    ],
)  # fmt: skip
def test_urls_of_deepgram_that_are_used(url: str) -> None:
    assert deepgram_problem(url) is None
    DeepgramProvider(DeepgramConfig(url=url), Secret("k")).target(audio_format(8000)).encode("ascii")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("wss://h:99999/v1/listen", "the port must be a number from 1 to 65535"), ("wss://h:x/v1",
        "the port must"),
        ("wss://h:/v1", "the port must"), ("wss://h:0/v1", "the port must"), ("wss://[::1/v1",
        "cannot be told apart"),
        ("wss://[x]/v1", "only an address of IPv6"), ("wss://[:::]/v1", "no address of IPv6"),
        ("wss://a..b/v1", "nothing between two dots"), ("wss://.b/v1", "nothing between two dots"),
        (f"wss://{LONG}/v1", "the host is too long"), ("wss://h\u00f6st/v1", "write its xn-- form"),
        ("wss://h/v1/l\u00efsten", "percent-encoded"), ("wss://h\u2100/v1", "beyond ASCII"),
        ("wss://api.deepgram.com", "it has no path; Deepgram's is /v1/listen"),
        ("wss://api.deepgram.com/", "it has no path; Deepgram's is /v1/listen"), ("wss://h",
        "it has no path"),
        ("wss://api.deepgram.com//", "it has no path"), ("wss://api.deepgram.com./", "it has no path"),
        ("wss://api.deepgram.com/v1\\listen", "the path has a backslash"),
        ("wss://h/\\v1/listen", "the path has a backslash"),
        ("wss://a\\b/v1", "characters that no name has"), ("wss://a%b/v1", "characters that no name has"),
        ("wss://h/v1\x00", "percent-encoded"), ("wss://h\x00/v1", "characters that no name has"),
    ],
)  # fmt: skip
def test_urls_of_deepgram_that_are_refused(tmp_path: Path, url: str, words: str) -> None:
    escaped = "".join(
        char if char.isprintable() else f"\\u{ord(char):04x}" for char in url.replace("\\", "\\\\")
    )
    (line,) = refusal(tmp_path, f'[deepgram]\nurl = "{escaped}"')
    assert words in line
    assert len(line) < 400


def test_hosts_to_listen_on(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::", "::1", "fe80::1%eth0", "localhost", "0.0.0.0", "a.b-c"):
        assert host_problem(host) is None
        assert load_text(tmp_path, f"[http]\nhost = '{host}'").config.http.host == host
    for host in ("[::]", "a..b", "a:1", "h\u00f6st", "a" * 64, ".", "a\\b", "1.2.3.4.5", "*"):
        (line,) = refusal(tmp_path, f"[http]\nhost = '{host}'")
        assert "http.host = " in line
