"""Deepgram's messages: the shapes of its documentation, and anything else without raising."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.core import messages
from trio_asr.core.messages import (
    Alternative,
    Channel,
    Error,
    Message,
    Metadata,
    Results,
    SpeechStarted,
    Unknown,
    UtteranceEnd,
    Word,
    decode,
)

TYPES = ["Results", "UtteranceEnd", "SpeechStarted", "Metadata", "Error"]

RESULTS = """
{"type": "Results", "channel_index": [0, 1], "duration": 1.8499994, "start": 2.31, "is_final": true,
 "speech_final": false,
 "channel": {"alternatives": [{"transcript": "This is, 42.", "confidence": 0.9980469, "languages": ["en"],
   "words": [{"word": "this", "start": 2.31, "end": 2.71, "confidence": 0.94, "punctuated_word": "This"},
             {"word": "is", "start": 2.71, "end": 2.9, "confidence": 1, "speaker": 1, "language": "en"},
             {"word": "42", "start": 3, "end": 3.5, "confidence": 0.9, "punctuated_word": null}]}]},
 "metadata": {"request_id": "02f8e10c", "model_info": {"name": "general-nova-3", "arch": "nova-3"}},
 "from_finalize": false}
"""


def test_results_as_documented() -> None:
    message = decode(RESULTS)
    assert isinstance(message, Results)
    assert (message.start, message.duration, message.is_final, message.speech_final) == (
        2.31,
        1.8499994,
        True,
        False,
    )
    best = message.best
    assert (best.transcript, best.confidence) == ("This is, 42.", 0.9980469)
    assert [word.text for word in best.words] == ["This", "is", "42"]
    assert best.words[1] == Word("is", 2.71, 2.9, 1.0, None, 1, "en")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"UtteranceEnd","channel":[0,1],"last_word_end":4.0699997}', UtteranceEnd(4.0699997)),
        ('{"type":"UtteranceEnd","channel":[0,2],"last_word_end":-1}', UtteranceEnd(-1.0)),
        ('{"type":"SpeechStarted","channel":[0,1],"timestamp":9.54}', SpeechStarted(9.54)),
        (
            """{"type":"Metadata","transaction_key":"deprecated","request_id":"r","sha256":"8dd2","created":"2026",
            "duration":18.566813,"channels":1,"models":["m"],"model_info":{"m":{"name":"n"}}}""",
            Metadata(18.566813, "8dd2"),
        ),
        (
            '{"type":"Metadata","sha256":"incomplete","duration":0.0,"channels":0}',
            Metadata(0.0, "incomplete"),
        ),
        (
            '{"type":"Error","variant":"SchemaError","description":"no","message":"x"}',
            Error("SchemaError", "no"),
        ),
        ('{"type":"Results","start":5,"duration":0,"is_final":true}', Results(5.0, 0.0, True)),
        ('{"type":"Results","channel":{"alternatives":[]}}', Results(channel=Channel([]))),
        ('{"type":"ConfigureSuccess","request_id":"r","keyterms":[]}', Unknown("ConfigureSuccess")),
        ('{"type":"Warning","warn_code":"x"}', Unknown("Warning")),
        ('{"type":"results"}', Unknown("results")),
    ],
)
def test_messages_as_documented(text: str, message: Message) -> None:
    assert decode(text) == message
    assert decode(text.encode()) == message


def test_no_alternative_is_an_empty_one() -> None:
    assert Results().best == Alternative()


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"Results","channel":[0,1]}',
        '{"type":"Results","start":"soon"}',
        '{"type":"Results","start":1e999}',
        '{"type":"Results","start":1e308,"duration":1e308}',
        '{"type":"Results","channel":{"alternatives":[{"transcript":7}]}}',
        '{"type":"UtteranceEnd","last_word_end":null}',
        '{"type":"Metadata","duration":[]}',
    ],
)
def test_a_known_type_that_does_not_fit_is_unknown_with_its_problem(text: str) -> None:
    message = decode(text)
    assert isinstance(message, Unknown)
    assert text.startswith(f'{{"type":"{message.type}"')
    assert message.problem


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        '{"type":"Results","start":NaN}',
        "null",
        "[]",
        "7",
        '{"type":7}',
        '{"x":1}',
        b"\xff\x00",
        "\ud800",
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_unknown(data: str | bytes) -> None:
    message = decode(data)
    assert isinstance(message, Unknown)
    assert not message.type
    assert message.problem or data == '{"x":1}'


def test_the_controls_are_what_deepgram_takes() -> None:
    controls = (messages.KEEP_ALIVE, messages.FINALIZE, messages.CLOSE_STREAM)
    assert [json.loads(text) for text in controls] == [
        {"type": "KeepAlive"},
        {"type": "Finalize"},
        {"type": "CloseStream"},
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(TYPES),
    st.dictionaries(
        st.sampled_from(
            ["start", "duration", "is_final", "channel", "last_word_end", "timestamp", "sha256", "x"]
        ),
        values,
        max_size=5,
    ),
)
def test_no_json_raises(kind: str, document: dict[str, Any]) -> None:
    assert decode(json.dumps({"type": kind} | document)) is not None


@given(st.text(st.characters(exclude_categories=[]), max_size=60) | st.binary(max_size=60))
@example('{"type":"Foo","x":' + "[" * 100_000)
@example(b'{"type":"Results","channel":{"alternatives":[{"transcript":"\\ud800"}]}}')
def test_no_text_or_bytes_raise(data: str | bytes) -> None:
    assert decode(data) is not None


@given(st.integers(0, len(RESULTS) - 1), st.characters())
def test_a_damaged_message_is_a_message_or_unknown_and_never_not_a_number(at: int, character: str) -> None:
    message = decode(RESULTS[:at] + character + RESULTS[at + 1 :])
    if isinstance(message, Results):
        assert abs(message.start + message.duration) < float("inf")
        with suppress(UnicodeEncodeError):  # what is said again is JSON
            assert msgspec.json.encode(message)
