"""The query of a connection."""

from __future__ import annotations

from pathlib import Path

from tests.config.helpers import load_text

from trio_asr.config import QUERY_OPTIONS, DeepgramConfig, Secret, query_items
from trio_asr.config.showing import shown
from trio_asr.deepgram.websocket import DeepgramProvider
from trio_asr.wire.audio_format import audio_format


def test_query_as_the_old_worker_sent_it() -> None:
    assert query_items(DeepgramConfig(), 8000) == [
        ("model", "nova-2"), ("language", "en-US"), ("smart_format", "true"), ("interim_results", "true"),
        ("sample_rate", "8000"), ("encoding", "linear16"), ("channels", "1"),
    ]  # fmt: skip


def test_query_of_all_kinds_of_options() -> None:
    config = DeepgramConfig(
        smart_format=False, endpointing=False, utterance_end_ms=1000, vad_events=True, keyterm=("a b", "c"),
        redact=("pci", "ssn"), extra=("id:1",),
    )  # fmt: skip
    items = query_items(config, 16000)
    assert ("smart_format", "false") in items
    assert items[7:] == [
        ("endpointing", "false"), ("utterance_end_ms", "1000"), ("vad_events", "true"),
        ("redact", "pci"), ("redact", "ssn"), ("keyterm", "a b"), ("keyterm", "c"), ("extra", "id:1"),
    ]  # fmt: skip


def test_every_option_is_a_key_and_every_other_key_is_not_sent() -> None:
    ours = {
        "url", "api_key_file", "max_connections", "keepalive_ms", "connect_timeout_ms", "close_timeout_ms",
        "stall_timeout_ms", "send_timeout_ms", "catchup_rate", "max_open_segment_s", "api_key",
        "options",
    }  # fmt: skip
    assert set(DeepgramConfig.__struct_fields__) == ours | set(QUERY_OPTIONS)


def test_options_are_passed_on_as_they_are(tmp_path: Path) -> None:
    text = (
        '[deepgram]\noptions = {new = true, off = false, n = 5, s = "a b&c", list = ["x", 1, true], no = []}'
    )
    config = load_text(tmp_path, text).config.deepgram
    assert query_items(config, 8000)[7:] == [
        ("new", "true"), ("off", "false"), ("n", "5"), ("s", "a b&c"), ("list", "x"), ("list", "1"),
        ("list", "true"),
    ]  # fmt: skip
    target = DeepgramProvider(config, Secret("k")).target(audio_format(8000))
    assert target.endswith("&channels=1&new=true&off=false&n=5&s=a+b%26c&list=x&list=1&list=true")


def test_an_option_may_have_any_name_and_number_that_deepgram_thinks_of(tmp_path: Path) -> None:
    """Before: 0.5 was refused, and so was a name such as a.b."""
    text = "[deepgram]\noptions = {half = 0.5, list = [0.25, 2], 'a.b' = 1, _x = -1.5, 1x = 1e-3, y-z = 5.0}"
    config = load_text(tmp_path, text).config.deepgram
    assert query_items(config, 8000)[7:] == [
        ("half", "0.5"), ("list", "0.25"), ("list", "2"), ("a.b", "1"), ("_x", "-1.5"), ("1x", "0.001"),
        ("y-z", "5.0"),
    ]  # fmt: skip
    again = "[deepgram]\noptions = " + shown("deepgram.options", config.options)
    assert load_text(tmp_path, again).config.deepgram.options == config.options


def test_two_legs_are_two_channels_apart() -> None:
    assert query_items(DeepgramConfig(), 8000, "mulaw", 2)[4:8] == [
        ("sample_rate", "8000"), ("encoding", "mulaw"), ("channels", "2"), ("multichannel", "true"),
    ]  # fmt: skip
