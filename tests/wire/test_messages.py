"""Deepgram's messages: the shapes of its documentation, and anything else without raising."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_asr.wire import messages, salvage
from trio_asr.wire.messages import (
    Alternative,
    Channel,
    Error,
    Message,
    Metadata,
    Results,
    SpeechStarted,
    Unknown,
    UtteranceEnd,
    Warned,
    Word,
    decode,
)

TYPES = ["Results", "UtteranceEnd", "SpeechStarted", "Metadata", "Error", "Warning"]

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
        (
            '{"type":"UtteranceEnd","channel":[0,1],"last_word_end":4.0699997}',
            UtteranceEnd(4.0699997, [0, 1]),
        ),
        ('{"type":"UtteranceEnd","channel":[0,2],"last_word_end":-1}', UtteranceEnd(-1.0, [0, 2])),
        ('{"type":"SpeechStarted","channel":[0,1],"timestamp":9.54}', SpeechStarted(9.54, [0, 1])),
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
            Error("SchemaError", "no", message="x"),
        ),
        ('{"type":"Error","err_code":"X","err_msg":"no"}', Error(err_code="X", err_msg="no")),
        (
            '{"type":"Results","start":5,"duration":0,"channel":{"alternatives":[]}}',
            Results(5.0, 0.0, Channel([]), is_final=False),
        ),
        ('{"type":"ConfigureSuccess","request_id":"r","keyterms":[]}', Unknown("ConfigureSuccess")),
        ('{"type":"Warning","warn_code":"x","warn_msg":"y"}', Warned(warn_code="x", warn_msg="y")),
        ('{"type":"results"}', Unknown("results")),
    ],
)
def test_messages_as_documented(text: str, message: Message) -> None:
    assert decode(text) == message
    assert decode(text.encode()) == message


def test_no_alternative_is_an_empty_one() -> None:
    assert Results(0, 1, Channel([])).best == Alternative("")


def test_what_a_complaint_says_is_found_by_all_its_names() -> None:
    named: list[dict[str, Any]] = [
        {"variant": "X", "description": "no", "message": "what was said"},
        {"code": "X", "message": "no"},
        {"err_code": "X", "err_msg": "no"},
        {"variant": None, "err_code": "X", "description": None, "err_msg": "no"},
    ]
    for fields in named:
        message = decode(json.dumps(fields | {"type": "Error"}))
        assert isinstance(message, Error)
        assert (message.what, message.says) == ("X", "no")
    for fields in ({"warn_code": "X", "warn_msg": "no"}, {"variant": "X", "description": "no"}):
        message = decode(json.dumps(fields | {"type": "Warning"}))
        assert isinstance(message, Warned)
        assert (message.what, message.says) == ("X", "no")


WHOLE: dict[str, Any] = {
    "type": "Results", "start": 5, "duration": 3, "is_final": True,
    "channel": {"alternatives": [{"transcript": "hi", "words": [{"word": "hi", "start": 5, "end": 6}]}]},
}  # fmt: skip


@pytest.mark.parametrize("name", ["start", "duration", "channel", "alternatives", "transcript"])
def test_what_a_final_cannot_do_without_is_missed(name: str) -> None:
    """It is told, as where it does not fit: the words would be taken for silence, or for words elsewhere."""
    text = json.dumps(WHOLE).replace(f'"{name}":', '"else":')
    assert decode(text) == Unknown("Results", f"{name} is missing")


def test_a_range_without_is_final_is_an_interim() -> None:
    message = decode(json.dumps(WHOLE | {"speech_final": True}).replace('"is_final":', '"else":'))
    assert isinstance(message, Results)
    assert not message.is_final


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"Results","channel":[0,1]}',
        '{"type":"Results","start":"soon"}',
        '{"type":"Results","start":1e999}',
        '{"type":"Results","start":1e308,"duration":1e308}',
        '{"type":"Results","channel":{"alternatives":[{"transcript":7}]}}',
        '{"type":"Results","start":NaN}',
        '{"type":"Results","start":null}',
        '{"type":"Results","duration":"1"}',
        '{"type":"Results","is_final":null}',
        '{"type":"Results","is_final":1}',
        '{"type":"Results","channel":null}',
        '{"type":"Results","channel":{"alternatives":null}}',
        '{"type":"Results","channel":{"alternatives":[null]}}',
        '{"type":"Results","channel":{"alternatives":[{"transcript":null}]}}',
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
    assert message.problem


# Every field that a transcript can do without, and what may stand there. The message is worth the rest.
ODD = [
    "null", "[]", "{}", '""', '"x"', '"0"', "-1", "0.0", "1e400", "-1e400", "NaN", "Infinity", "true",
    "9" * 30, "9" * 5000, '"' + "y" * 1_000_000 + '"', '"\\ud800"', "[null]", "[[]]", "[{}]",
    "[" * 940 + "]" * 940, "[" * 1000 + "]" * 1000, '{"a":' * 1200 + "1" + "}" * 1200,
]  # fmt: skip
SIDE_FIELDS = {
    "message": ["channel_index", "speech_final", "from_finalize", "metadata", "entities", "new"],
    "channel": ["search", "new"],
    "alternative": ["confidence", "words", "languages", "entities", "new"],
    "word": ["word", "start", "end", "confidence", "punctuated_word", "speaker", "language", "new"],
    "entity": ["label", "value", "raw_value", "confidence", "start_word", "end_word", "new"],
    "search": ["query", "hits", "new"],
    "hit": ["confidence", "start", "end", "snippet", "new"],
}


def with_odd(place: str, name: str, odd: str) -> str:
    """A final with this text in this field, as JSON that only a generous reader takes."""
    hit: dict[str, Any] = {"confidence": 0.5, "start": 1.0, "end": 2.0, "snippet": "a"}
    word: dict[str, Any] = {"word": "a", "start": 1.0, "end": 2.0, "confidence": 0.5}
    entity: dict[str, Any] = {"label": "X", "start_word": 0, "end_word": 1}
    search: dict[str, Any] = {"query": "q", "hits": [hit]}
    alternative: dict[str, Any] = {"transcript": "a b", "words": [word, {"word": "b"}], "entities": [entity]}
    channel: dict[str, Any] = {"alternatives": [alternative], "search": [search]}
    message: dict[str, Any] = {"type": "Results", "start": 1.0, "duration": 2.0, "is_final": True}
    message["channel"] = channel
    places = {"message": message, "channel": channel, "alternative": alternative, "word": word}
    places |= {"entity": entity, "search": search, "hit": hit}
    places[place][name] = "ODD"
    return json.dumps(message).replace('"ODD"', odd)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:12])
@pytest.mark.parametrize(("place", "name"), [(p, n) for p, names in SIDE_FIELDS.items() for n in names])
def test_no_side_field_costs_a_message(place: str, name: str, odd: str) -> None:
    message = decode(with_odd(place, name, odd))
    assert isinstance(message, Results)
    assert (message.start, message.duration, message.is_final) == (1.0, 2.0, True)
    assert message.best.transcript == "a b"
    written = msgspec.json.encode(message)
    assert b"NaN" not in written
    json.loads(written)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("[1,2]", [1, 2]),
        ("[1.0,2.0]", [1.0, 2.0]),
        ('["1","2"]', ["1", "2"]),
        ("[null,1]", [None, 1]),
        ("[0.5,1]", [0.5, 1]),
        ("[true,1]", []),
        ("[[0],1]", []),
        ("[{},1]", []),
        ("1", []),
        ("null", []),
        ("[" + "0," * 100 + "0]", []),
    ],
)
def test_of_a_channel_and_a_number_of_channels_both_count_or_none(written: str, read: list[Any]) -> None:
    """Were an element that does not fit left out, the number of channels would be taken for the channel."""
    message = decode(with_odd("message", "channel_index", written))
    assert isinstance(message, Results)
    assert message.channel_index == read
    for kind in ("UtteranceEnd", "SpeechStarted"):
        message = decode(f'{{"type":"{kind}","channel":{written}}}')
        assert isinstance(message, UtteranceEnd | SpeechStarted)
        assert message.channel == read


def test_what_fits_beside_what_does_not_is_kept() -> None:
    message = decode(with_odd("word", "speaker", "0.0"))
    assert isinstance(message, Results)
    assert message.best.words == [Word("a", 1.0, 2.0, 0.5), Word("b")]
    message = decode(with_odd("alternative", "confidence", "null"))
    assert isinstance(message, Results)
    assert message.best.confidence is None
    assert len(message.best.words) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type":"UtteranceEnd","last_word_end":null}', UtteranceEnd()),
        ('{"type":"Metadata","duration":null,"sha256":"x"}', Metadata(0.0, "x")),
        ('{"type":"Metadata","duration":NaN}', Metadata()),
        ('{"type":"Error","variant":null,"description":"no"}', Error("", "no")),
        ('{"type":"Error","variant":{"a":1},"description":7}', Error()),
        ('{"type":"SpeechStarted","timestamp":"9"}', SpeechStarted()),
        ('{"type":"Foo","x":NaN}', Unknown("Foo")),
    ],
)
def test_an_odd_field_of_any_message_is_left_out(text: str, message: Message) -> None:
    assert decode(text) == message


def test_what_is_odd_and_long_takes_no_time() -> None:
    """The loop belongs to all calls: what is looked at piece by piece is bounded."""
    odd = {"word": "a", "speaker": 0.0}
    message = decode(
        json.dumps(
            {
                "type": "Results",
                "start": 0,
                "duration": 1,
                "channel": {"alternatives": [{"transcript": "a", "words": [odd] * 30_000}]},
            }
        )
    )
    assert isinstance(message, Results)
    assert len(message.best.words) == salvage.MAX_PIECES
    long = decode('{"type":"Results","x":[' + "1," * salvage.MAX_LENIENT + "NaN]}")
    assert long == Unknown("", "no JSON, and long")


def test_half_a_surrogate_pair_in_a_text_can_be_written() -> None:
    message = decode(with_odd("message", "new", "1").replace("a b", "a \\ud83d b"))
    assert isinstance(message, Results)
    assert message.best.transcript == "a \ufffd b"


def test_a_type_that_is_not_known_is_cut() -> None:
    message = decode(json.dumps({"type": "x" * 1_000_000}))
    assert message == Unknown("x" * messages.MAX_TYPE)


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
