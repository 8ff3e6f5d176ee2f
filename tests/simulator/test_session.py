import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.helpers import (
    ABOUT,
    CLOSE,
    FINALIZE,
    FULL,
    INTERIMS,
    KEEP_ALIVE,
    RAW,
    VOICE,
    Slow,
    SlowEar,
    brief,
    jobs,
    session,
    told,
)

from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Ear, Engine
from trio_asr.simulator.query import ListenQuery, check, parse
from trio_asr.simulator.render import About
from trio_asr.simulator.script import ScriptEngine
from trio_asr.simulator.session import NET_0000, NET_0001, Session
from trio_asr.simulator.stamps import stamp, window
from trio_asr.simulator.wire import looks_float32


def test_silence_gives_empty_interims_and_finals() -> None:
    assert brief(told(session(INTERIMS).audio(bytes(2 * 17_000), 0))) == [
        (0, 1.04, "i", ""),
        (0, 2, "fs", ""),
    ]


def test_an_interim_restates_the_open_segment() -> None:
    engine = EchoEngine(segment_ms=3000, word_ms=1000)
    assert brief(told(session(INTERIMS, engine).audio(VOICE * 30, 0))) == [
        (0, 1.04, "i", "s0-8000 s8000-8320"),
        (0, 2.08, "i", "s0-8000 s8000-16000 s16000-16640"),
        (0, 3, "fs", "s0-8000 s8000-16000 s16000-24000"),
    ]


def test_without_interim_results_there_are_only_finals() -> None:
    assert brief(told(session().audio(bytes(2 * 17_000), 0))) == [(0, 2, "fs", "")]


def test_without_endpointing_no_final_ends_an_utterance() -> None:
    assert brief(told(session(RAW + "&endpointing=false").audio(bytes(32_000), 0))) == [(0, 2, "f", "")]


def test_speech_final_can_be_rarer_than_finals() -> None:
    engine = EchoEngine(segment_ms=1000, speech_final_every=2)
    flags = [r[2] for r in brief(told(session(RAW, engine).audio(bytes(64_000), 0)))]
    assert flags == ["f", "fs", "f", "fs"]


def test_the_recorded_end_of_a_stream() -> None:
    s = session()
    audio = VOICE * 5
    assert s.audio(audio, 0) == []
    final, empty, metadata, close = told(s.text(CLOSE, 1))
    assert brief([final, empty]) == [
        (0, 0.5, "fs", "s0-800 s800-1600 s1600-2400 s2400-3200 s3200-4000"),
        (0.5, 0, "fs", ""),
    ]
    assert metadata == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "the-id",
        "sha256": hashlib.sha256(audio).hexdigest(),
        "created": "2026-01-20T07:53:03.141Z",
        "duration": 0.5,
        "channels": 1,
        "models": [ABOUT.model_uuid],
        "model_info": {ABOUT.model_uuid: {"name": "nova-3", "version": "1", "arch": "nova-3"}},
    }
    assert close == (1000, "")
    assert s.next_timeout() is None
    assert [s.audio(VOICE, 2), s.text(FINALIZE, 2), s.on_timeout(99)] == [[], [], []]


def test_closing_at_a_final_gives_only_the_empty_one() -> None:
    s = session()
    s.audio(VOICE * 20, 0)
    assert brief(told(s.text(CLOSE, 0))) == [(2, 0, "fs", ""), ("Metadata", 2), (1000, "")]


@pytest.mark.parametrize("end", [b"", CLOSE])
def test_ending_a_stream_without_audio(end: str | bytes) -> None:
    s = session()
    metadata, close = told(s.text(end, 0) if isinstance(end, str) else s.audio(end, 0))
    assert (metadata["duration"], metadata["channels"], "models" in metadata) == (0, 0, False)
    assert close == (1000, "")


def test_an_empty_binary_message_ends_the_stream_as_close_stream_does() -> None:
    one, other = session(), session()
    one.audio(VOICE, 0)
    other.audio(VOICE, 0)
    assert told(one.audio(b"", 0)) == told(other.text(CLOSE, 0))


def test_finalize_flushes_and_the_next_segment_begins_there() -> None:
    s = session()
    s.audio(VOICE * 5, 0)
    assert brief(told(s.text(FINALIZE, 0)))[0][:3] == (0, 0.5, "fsF")
    assert [r[:3] for r in brief(told(s.audio(VOICE * 20, 0)))] == [(0.5, 2, "fs")]


def test_finalize_is_not_answered_when_little_is_buffered() -> None:
    s = session()
    s.audio(bytes(1598), 0)
    assert s.text(FINALIZE, 0) == []
    s.audio(bytes(2), 0)
    assert brief(told(s.text(FINALIZE, 0))) == [(0, 0.1, "fsF", "")]
    assert s.text(FINALIZE, 0) == []


def test_keepalive_is_not_answered_and_adds_no_time() -> None:
    s = session()
    assert s.text(KEEP_ALIVE, 5) == []
    assert s.next_timeout() == 15
    assert told(s.text(CLOSE, 6))[0]["duration"] == 0


def test_control_messages_in_binary_are_audio() -> None:
    s = session()
    assert s.audio(CLOSE.encode(), 0) == []
    assert told(s.text(CLOSE, 0))[2]["duration"] == pytest.approx(len(CLOSE) // 2 / 8000, abs=1e-7)


@pytest.mark.parametrize(
    "text",
    [
        "KeepAlive",
        "",
        "[]",
        '{"type":"keepalive"}',
        '{"type":7}',
        '{"typ":"KeepAlive"}',
        '{"type":"Con',
        "nul\0",
        "[" * 9999,
        '{"type":"Configure","keyterms":"a"}',
        '{"type":"Configure","model":"nova-3"}',
    ],
)
def test_what_is_not_understood_gives_an_error_and_the_stream_goes_on(text: str) -> None:
    s = session()
    (error,) = told(s.text(text, 3))
    assert (error["type"], error["variant"]) == ("Error", "SchemaError")
    assert error["description"].startswith("Could not deserialize last text message: ")
    assert s.next_timeout() == 13
    assert brief(told(s.audio(bytes(32_000), 3))) == [(0, 2, "fs", "")]


def test_configure_is_answered_once_each() -> None:
    s = session()
    assert told(s.text('{"type":"Configure","keyterms":["a"],"features":{"numerals":true}}', 0)) == [
        {"type": "ConfigureSuccess", "request_id": "the-id", "keyterms": ["a"]}
    ]
    (error,) = told(session(RAW.replace("nova-3", "nova-2")).text('{"type":"Configure","keyterms":[]}', 0))
    assert (error["type"], error["code"]) == ("Error", "KeytermsNotSupported")


def test_idle_closes_without_a_final_for_the_open_segment() -> None:
    s = session(INTERIMS)
    s.audio(VOICE * 12, 1)
    assert s.next_timeout() == 11
    assert s.on_timeout(10.9) == []
    metadata, close = told(s.on_timeout(11))
    assert (metadata["type"], metadata["sha256"], metadata["duration"]) == ("Metadata", "incomplete", 1.2)
    assert close == (1011, NET_0001)


def test_without_anything_to_answer_the_stream_ends_whatever_keepalive_says() -> None:
    s = session()
    for now in range(0, 25, 4):
        assert s.on_timeout(now) == []
        s.text(KEEP_ALIVE, now)
    assert s.next_timeout() == 25
    metadata, close = told(s.on_timeout(25))
    assert (metadata["duration"], metadata["channels"]) == (0, 1)
    assert close == (1011, NET_0000)


def test_the_end_of_an_utterance_is_announced_late_as_recorded() -> None:
    """It comes after the next segment's interim which shows the gap, with the old end of the last word."""
    s = session(FULL, EchoEngine(segment_ms=2000))
    messages = brief(told(s.audio(VOICE * 14 + bytes(2 * 16_000), 0)))
    assert [m for m in messages if m[0] in {"UtteranceEnd", "SpeechStarted"} or m[2] != "i"] == [
        ("SpeechStarted", 0),
        (0, 2, "fs", " ".join(f"s{a}-{a + 800}" for a in range(0, 11_200, 800))),
        ("UtteranceEnd", 1.4),
    ]
    assert messages[-2][:3] == (2, 1.04, "i")


def test_speech_is_noticed_once_until_there_is_silence_or_an_end() -> None:
    s = session(FULL, EchoEngine(segment_ms=1000))
    audio = bytes(1600) + VOICE * 3 + bytes(1600) + VOICE * 12
    began = [m[1] for m in brief(told(s.audio(audio, 0))) if m[0] == "SpeechStarted"]
    assert began == pytest.approx([0.1, 0.5, 1.0])


def test_numbers_look_like_32_bit_floats() -> None:
    finals = told(session(RAW, EchoEngine(segment_ms=70)).audio(VOICE * 100, 0))
    durations = {final["duration"] for final in finals}
    assert {0.07, 0.069999695} < durations
    assert all(looks_float32(seconds) == seconds for seconds in durations)
    for one, following in pairwise(finals):
        assert one["start"] + one["duration"] == pytest.approx(following["start"], abs=1e-3)


def test_extra_and_punctuation_and_speakers_come_back_when_asked_for() -> None:
    query = RAW + "&extra=call:7&extra=call:8&smart_format=true&diarize=true"
    asked = check(parse(query))
    about = About("the-id", "now", ABOUT.model, extra=asked.extra)
    s = Session(asked, [ScriptEngine("Hello there.").open(asked)], about=about, now=0)
    (final, *_) = told(s.audio(bytes(2 * 20_000), 0))
    assert final["metadata"]["extra"] == {"call": "8"}
    assert final["channel"]["alternatives"][0]["transcript"] == "Hello there."
    assert [
        (w["word"], w["punctuated_word"], w["speaker"]) for w in final["channel"]["alternatives"][0]["words"]
    ] == [
        ("hello", "Hello", 0),
        ("there", "there.", 0),
    ]


def test_results_keep_their_order_however_late_the_words_are() -> None:
    s = session(RAW, Slow())
    first, second = jobs(s.audio(VOICE * 20, 0))
    assert s.text("nonsense", 0) == []
    assert s.recognised(second.ticket, second.job(), 1) == []
    messages = told(s.recognised(first.ticket, first.job(), 1))
    assert [m[3] for m in brief(messages[:2])] == ["0-8000", "8000-16000"]
    assert messages[2]["type"] == "Error"


def test_closing_waits_for_the_words() -> None:
    s = session(RAW, Slow())
    s.audio(VOICE * 5, 0)
    (last,) = jobs(s.text(CLOSE, 0))
    assert s.next_timeout() is None
    messages = told(s.recognised(last.ticket, last.job(), 9))
    assert brief(messages) == [(0, 0.5, "fs", "0-4000"), (0.5, 0, "fs", ""), ("Metadata", 0.5), (1000, "")]


def test_an_interim_is_left_out_while_words_are_still_looked_for() -> None:
    s = session(INTERIMS + "&endpointing=false", ScriptedSlow())
    (first,) = jobs(s.audio(VOICE * 33, 0))
    s.recognised(first.ticket, first.job(), 0)
    assert len(jobs(s.audio(VOICE * 10, 0))) == 1


class ScriptedSlow(Slow):
    def open(self, query: ListenQuery) -> Ear:
        ear = SlowEar()
        ear.heard = -(10**9)  # no segment ends
        return ear


def test_too_many_outstanding_words_hold_the_audio_back() -> None:
    s = session(RAW, Slow())
    wanted = jobs(s.audio(VOICE * 50, 0))
    assert (len(wanted), s.backlogged) == (5, True)
    s.recognised(wanted[0].ticket, (), 0)
    assert not s.backlogged


def test_words_that_cannot_be_found_end_the_stream() -> None:
    s = session(RAW, Slow())
    first, second, *_ = jobs(s.audio(VOICE * 60, 0))
    assert told(s.recognised(first.ticket, None, 0))[-1] == (1011, NET_0000)
    assert not s.backlogged
    assert s.recognised(second.ticket, second.job(), 0) == []


AUDIO = bytes(1200) + stamp(5, 100, 9000) + bytes(3000) + stamp(5, 20_000, 8001) + VOICE * 9 + b"\7"


@given(
    st.lists(st.integers(1, 9000), max_size=30),
    st.sampled_from([EchoEngine(segment_ms=700), EchoEngine(word_ms=90), ScriptEngine(word_ms=150)]),
    st.sampled_from([FULL, INTERIMS.replace("linear16", "mulaw"), RAW]),
)
def test_where_the_audio_is_split_changes_nothing(sizes: list[int], engine: Engine, query: str) -> None:
    whole, split = session(query, engine), session(query, engine)
    want = told([*whole.audio(AUDIO, 0), *whole.text(CLOSE, 0)])
    have, at = [], 0
    for size in sizes:
        have += split.audio(AUDIO[at : at + size], 0) if AUDIO[at : at + size] else []
        at += size
    have += split.audio(AUDIO[at:], 0) if AUDIO[at:] else []
    assert told([*have, *split.text(CLOSE, 0)]) == want


@pytest.mark.parametrize(
    "before", [stamp(5, 100, 700, 1), b"\xff" * 700, b"\xff" * 10], ids=["run", "silence", "few"]
)
def test_audio_that_begins_just_before_the_end_of_a_segment_is_in_its_final(before: bytes) -> None:
    """Where what was heard stops there, too few samples of it were heard to be read."""
    query = RAW.replace("linear16", "mulaw")
    for early in range(1, window(1) + 2):
        start = 8000 - early
        audio = stamp(6, 0, start - len(before), 1) + before + stamp(5, 20_000, 9000, 1)
        s = session(query, EchoEngine(segment_ms=1000))
        finals = brief(told([*s.audio(audio[:8000], 0), *s.audio(audio[8000:], 0)]))
        assert finals[0][:2] == (0, 1)
        assert finals[0][3].split()[-1] == f"c5:20000-{20_000 + early}"
