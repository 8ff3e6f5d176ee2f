"""Keys that must fit each other, and options that Deepgram takes only together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.helpers import load_text, refusal


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("callback", "timeline"), ("multichannel", "frames"), ("channels", "frames"),
        ("sample_rate", "frames"), ("encoding", "frames"), ("detect_language", "live audio"),
        ("api_key", "does not belong into this file"),
    ],
)  # fmt: skip
def test_what_is_not_offered_says_why(tmp_path: Path, key: str, reason: str) -> None:
    (line,) = refusal(tmp_path, f"[deepgram]\n{key} = 'topsecret'")
    assert f"deepgram.{key} is not offered" in line
    assert reason in line
    assert "topsecret" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[redis]\ntranscript_stream = 'transcripts'", "must contain {interaction_id} exactly once"),
        ("[redis]\ntranscript_stream = '{interaction_id}.{interaction_id}'", "exactly once"),
        ("[redis]\ntranscript_stream = '{interaction_id}'", "a call could name any key"),
        ("[redis]\nevents_stream = 'transcript.events'", "could be the transcript stream of a call"),
        ("[redis]\naudio_stream = 'call_end'", 'redis.call_end_stream = "call_end": is the same stream as'),
        ("[flush]\nmin_chunk_ms = 2000", "must not be above flush.max_chunk_ms (1000)"),
        ("[interaction]\nmax_unfinalized_s = 10", "must be above deepgram.max_open_segment_s"),
        ("[deepgram]\nendpointing = true", "takes milliseconds, or false"),
        ("[deepgram]\nutterance_end_ms = 1000\ninterim_results = false", "needs interim_results = true"),
        ("[deepgram]\ndictation = true", "needs punctuate = true"),
        ("[deepgram]\ndiarize = true\ndiarize_model = 'v1'", "together are rejected"),
        ("[deepgram]\nmodel = 'nova-3'\nkeywords = ['a']", "use keyterm"),
        ("[deepgram]\nmodel = 'nova-3-medical'\nkeywords = ['a']", "use keyterm"),
        ("[deepgram]\nmodel = 'flux-general-en'", "another protocol"),
        ("[deepgram]\nurl = 'wss://api.deepgram.com/v2/listen'", "protocol of Flux"),
        ("[deepgram]\nmodel = 'whisper-large'", "no live audio"),
        ("[deepgram]\nmodel = 'enhanced'\nlanguage = 'multi'", "nova-2 and nova-3 only"),
        ("[deepgram]\ndetect_entities = true\nlanguage = 'de'", "is for English only"),
        ("[deepgram]\ndetect_entities = true\nmodel = 'base'", "for the nova and enhanced models"),
        ("[deepgram]\nkeywords = ['a:b']", "neither a word nor word:intensifier"),
        ("[deepgram]\nreplace = ['a']", "not of the form find:replacement"),
        ("[deepgram]\nextra = ['a']", "not of the form key:value"),
        ("[deepgram]\nextra = ['a:1', 'a:2']", "keeps the last only"),
        (f"[deepgram]\nmodel = 'nova-3'\nkeyterm = ['{'w ' * 500}w']", "more than 500 tokens"),
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_each_other(tmp_path: Path, text: str, message: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert message in line
    assert line.startswith((f"{tmp_path / 'trio.toml'}: ",))


@pytest.mark.parametrize(
    "text",
    [
        "endpointing = false", "endpointing = 300", "model = 'nova-3'\nkeyterm = ['Acme Corp']",
        "keywords = ['snuffle:5.5', 'plain']", "replace = ['a:']", "extra = ['a:1', 'b:2:3']",
        "dictation = true\npunctuate = true", "language = 'multi'", "utterance_end_ms = 1000",
        "model = '5d9d6e9c-6f1e-4b4a-9d30-b37ab37ab37a'\nlanguage = 'multi'", "redact = ['pci', 'true']",
    ],
)  # fmt: skip
def test_options_that_deepgram_takes(tmp_path: Path, text: str) -> None:
    assert load_text(tmp_path, f"[deepgram]\n{text}").warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_delay = true\nsmart_format = false", "does nothing without smart_format"),
        ("keyterm = ['a']", "nova-2 may ignore it"),
        ("keywords = ['a,b']", "taken as one term"),
        ("detect_entities = true", "5 streams at once"),
        ("diarize_model = 'latest'", "50 streams at once"),
    ],
)
def test_doubtful_options_are_met_with_a_warning(tmp_path: Path, text: str, message: str) -> None:
    (warning,) = load_text(tmp_path, f"[deepgram]\n{text}").warnings
    assert message in warning


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("[fleet]\nshards = 2", "capacity = 700: is above deepgram.max_connections (100): this member takes"),
        ("[fleet]\nshards = 2\ncapacity = 101", "capacity = 101: is above deepgram.max_connections (100)"),
        ("[fleet]\nshards = 2\ncapacity = 100", ""),
        ("[fleet]\nshards = 2\n[deepgram]\nmax_connections = 700", ""),
        ("[fleet]\nshards = 1", ""),
    ],
)
def test_a_member_is_good_for_as_many_calls_as_it_may_connect(tmp_path: Path, text: str, warned: str) -> None:
    warnings = load_text(tmp_path, text).warnings
    assert len(warnings) == bool(warned)
    assert all(warned in warning for warning in warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("model = 'nova-3'", "model has a key of its own: set deepgram.model"),
        ("Model = 'nova-3'", "Model has a key of its own: set deepgram.model"),
        ("max_connections = 1", "max_connections has a key of its own"), ("keyterm = ['a']",
        "keyterm has a key of"),
        ("url = 'x'", "url has a key of its own"), ("options = 'x'", "options has a key of its own"),
        ("callback = 'https://x'", "callback is not offered: it would break the timeline"),
        ("channels = 2", "channels is not offered"), ("encoding = 'opus'", "encoding is not offered"),
        ("sample_rate = 8000", "sample_rate is not offered"), ("multichannel = true",
        "multichannel is not offered"),
        ("callback_method = 'PUT'", "callback_method is not offered"), ("api_key = 'k'",
        "api_key is not offered"),
        ("a = inf", "'a' cannot be used: allowed is names of"), ("a = nan", "allowed is names"),
        ("ok = 1.5, b = [0.5, -inf]", "= a table: 'b' cannot be used: "),
        ("a = { b = 1 }", "allowed is names"),
        ("a = [[1]]", "allowed is names"), ("a = 9223372036854775808", "allowed is names"),
        ("ok = 1, 'a b' = 1", "= a table: 'a b' cannot be used: allowed is names"),
        ("'\u00e4' = 1", "allowed is names"),
        ("my_token = [['hunter2-secret']]", "'my_token' cannot be used: "),
        ("'' = 1", "allowed is names"), ("a = 2026-01-01",
        "allowed is names"),
        (f"a = '{'x' * 2049}'", "allowed is names"), (f"a = [{'1,' * 101}]", "allowed is names"),
        (", ".join(f"a{i} = 1" for i in range(51)), "allowed is names"),
    ],
)  # fmt: skip
def test_options_that_are_refused(tmp_path: Path, options: str, words: str) -> None:
    (line,) = refusal(tmp_path, f"[deepgram]\noptions = {{ {options} }}")
    assert f"{tmp_path / 'trio.toml'}: deepgram.options = a table: " in line
    assert words in line
    assert "hunter2" not in line


def test_options_may_be_a_table_of_their_own(tmp_path: Path) -> None:
    assert load_text(tmp_path, "[deepgram.options]\nnew = 1").config.deepgram.options == {"new": 1}
