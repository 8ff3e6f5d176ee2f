"""Several channels in one stream: each has a transcript of its own, as if it had come alone."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.helpers import (
    CLOSE,
    FINALIZE,
    FULL,
    INTERIMS,
    KEEP_ALIVE,
    RAW,
    VOICE,
    Slow,
    brief,
    jobs,
    session,
    told,
)

from trio_asr.simulator.audio import SAMPLE_BYTES, interleave
from trio_asr.simulator.echo import EchoEngine
from trio_asr.simulator.engines import Engine
from trio_asr.simulator.script import ScriptEngine
from trio_asr.simulator.session import NET_0001
from trio_asr.simulator.stamps import stamp

TWO = "&channels=2&multichannel=true"
SILENT = {"linear16": b"\0\0", "mulaw": b"\xff", "alaw": b"\xd5", "linear32": bytes(4)}


def query(encoding: str, like: str = RAW, more: str = "") -> str:
    return like.replace("linear16", encoding) + more


def audio_of(call: int, encoding: str, seconds: float = 4.3) -> bytes:
    """Stamped speech with half a second of silence, at a place of its own for each call."""
    width, samples = SAMPLE_BYTES[encoding], int(8000 * seconds)
    first = 5000 + 900 * call
    if width == 4:  # no stamps: something that is not silent
        return struct.pack("<f", 0.5) * first + SILENT[encoding] * (samples - first)
    rest = samples - first - 4000
    return stamp(call, 0, first, width) + SILENT[encoding] * 4000 + stamp(call, first, rest, width)


def said_of(channel: int, messages: list[Any]) -> list[Any]:
    """What was said about one channel, as if it had been alone."""
    out = []
    for message in messages:
        if not isinstance(message, dict):
            continue
        place = message.get("channel_index", message.get("channel"))
        if isinstance(place, list) and place[0] == channel:
            name = "channel_index" if message["type"] == "Results" else "channel"
            out.append({**message, name: [0, 1]})
    return out


def words_of(messages: list[Any]) -> list[str]:
    finals = [m for m in messages if m["type"] == "Results" and m["is_final"]]
    return [word["word"] for m in finals for word in m["channel"]["alternatives"][0]["words"]]


@given(
    st.sampled_from(sorted(SAMPLE_BYTES)),
    st.sampled_from([EchoEngine(segment_ms=700), ScriptEngine(word_ms=150)]),
    st.sampled_from([FULL, INTERIMS, RAW + "&endpointing=false"]),
    st.integers(1, 3),
    st.lists(st.integers(1, 30_000), max_size=10),
)
def test_each_channel_is_transcribed_as_if_it_had_come_alone(
    encoding: str, engine: Engine, like: str, channels: int, sizes: list[int]
) -> None:
    pieces = [audio_of(call, encoding) for call in range(channels)]
    together = interleave(pieces, SAMPLE_BYTES[encoding])
    all_of_it = session(query(encoding, like, f"&channels={channels}&multichannel=true"), engine)
    messages, at = [], 0
    for size in [*sizes, len(together)]:
        if together[at : at + size]:
            messages += told(all_of_it.audio(together[at : at + size], 0))
        at += size
    messages += told(all_of_it.text(CLOSE, 0))
    for channel, piece in enumerate(pieces):
        alone = session(query(encoding, like), engine)
        want = told([*alone.audio(piece, 0), *alone.text(CLOSE, 0)])
        assert said_of(channel, messages) == want[:-2]
    metadata, close = messages[-2:]
    assert (metadata["type"], metadata["channels"], close) == ("Metadata", channels, (1000, ""))
    assert metadata["duration"] == pytest.approx(4.3)


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw"])
def test_the_words_of_a_channel_name_its_own_samples(encoding: str) -> None:
    s = session(query(encoding, RAW, TWO), EchoEngine(segment_ms=1000))
    width = SAMPLE_BYTES[encoding]
    for start in range(0, 16_000, 160):
        s.audio(interleave([stamp(c, start, 160, width) for c in (30, 31)], width), 0)
    messages = told(s.audio(interleave([stamp(c, 16_000, 8000, width) for c in (30, 31)], width), 0))
    assert brief(messages) == [
        (2, 1, "fs", " ".join(f"c{call}:{a}-{a + 800}" for a in range(16_000, 24_000, 800)))
        for call in (30, 31)
    ]
    assert [m["channel_index"] for m in messages] == [[0, 2], [1, 2]]


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_a_lost_frame_of_telephone_audio_shows(encoding: str) -> None:
    s = session(query(encoding))
    s.audio(stamp(7, 0, 800, 1) + SILENT[encoding] * 800 + stamp(7, 960, 640, 1), 0)
    final, *_ = told(s.text(CLOSE, 0))
    assert [(w["word"], w["start"], w["end"]) for w in final["channel"]["alternatives"][0]["words"]] == [
        ("c7:0-800", 0, 0.1),
        ("c7:960-1600", 0.2, 0.28),
    ]


def test_starts_of_speech_and_ends_of_utterances_name_their_channel() -> None:
    s = session(query("mulaw", FULL, TWO), EchoEngine(segment_ms=5000))
    left = stamp(2, 0, 8000, 1) + b"\xff" * 16_000
    right = b"\xff" * 4000 + stamp(3, 0, 20_000, 1)
    messages = told(s.audio(interleave([left, right], 1), 0))
    assert [m for m in messages if m["type"] != "Results"] == [
        {"type": "SpeechStarted", "channel": [0, 2], "timestamp": 0},
        {"type": "UtteranceEnd", "channel": [0, 2], "last_word_end": 1},
        {"type": "SpeechStarted", "channel": [1, 2], "timestamp": 0.5},
    ]


def test_the_end_of_a_stream_of_two_channels() -> None:
    s = session(RAW + TWO)
    s.audio(interleave([VOICE * 5, bytes(8000)], 2), 0)
    *finals, metadata, close = told(s.text(CLOSE, 1))
    spoken = "s0-800 s800-1600 s1600-2400 s2400-3200 s3200-4000"
    assert [(m["channel_index"], *brief([m])) for m in finals] == [
        ([0, 2], (0, 0.5, "fs", spoken)),
        ([0, 2], (0.5, 0, "fs", "")),
        ([1, 2], (0, 0.5, "fs", "")),
        ([1, 2], (0.5, 0, "fs", "")),
    ]
    assert (metadata["type"], metadata["duration"], metadata["channels"]) == ("Metadata", 0.5, 2)
    assert close == (1000, "")


def test_without_a_whole_frame_there_is_no_audio() -> None:
    s = session(RAW + TWO)
    assert s.audio(b"abc", 0) == []
    metadata, close = told(s.text(CLOSE, 0))
    assert (metadata["duration"], metadata["channels"], close) == (0, 0, (1000, ""))


def test_finalize_flushes_all_channels_or_one() -> None:
    s = session(RAW + TWO)
    s.audio(interleave([VOICE * 5] * 2, 2), 0)
    one = told(s.text('{"type":"Finalize","channel":1}', 0))
    assert [(m["channel_index"], m["start"], m["duration"], m["from_finalize"]) for m in one] == [
        ([1, 2], 0, 0.5, True)
    ]
    s.audio(interleave([VOICE * 2] * 2, 2), 0)
    rest = told(s.text(FINALIZE, 0))
    assert [(m["channel_index"][0], round(m["start"], 6), round(m["duration"], 6)) for m in rest] == [
        (0, 0, 0.7),
        (1, 0.5, 0.2),
    ]
    after = told(s.audio(interleave([VOICE * 20] * 2, 2), 0))
    assert [round(m["start"], 6) for m in after] == [0.7, 0.7]


@pytest.mark.parametrize("channel", ["2", "-1", '"0"', "true", "0.0"])
def test_a_channel_that_does_not_exist_is_an_error(channel: str) -> None:
    s = session(RAW + TWO)
    s.audio(interleave([VOICE * 5] * 2, 2), 0)
    (error,) = told(s.text(f'{{"type":"Finalize","channel":{channel}}}', 0))
    assert (error["type"], error["variant"]) == ("Error", "SchemaError")
    assert error["description"].endswith("`channel` is not in 0..1")


def test_the_timeouts_are_those_of_the_stream() -> None:
    s = session(INTERIMS + TWO)
    s.audio(interleave([VOICE * 12] * 2, 2), 3)
    s.text(KEEP_ALIVE, 8)
    assert s.next_timeout() == 18
    metadata, close = told(s.on_timeout(18))
    assert (metadata["sha256"], metadata["duration"], metadata["channels"]) == ("incomplete", 1.2, 2)
    assert close == (1011, NET_0001)


def test_channels_that_are_not_asked_for_apart_are_one_transcript() -> None:
    s = session(query("mulaw", INTERIMS, "&channels=2"), EchoEngine(segment_ms=1000))
    messages = told(s.audio(interleave([stamp(1, 0, 9600, 1), stamp(2, 0, 9600, 1)], 1), 0))
    messages += told(s.text(CLOSE, 0))
    results = [m for m in messages if isinstance(m, dict) and m["type"] == "Results"]
    assert {tuple(m["channel_index"]) for m in results} == {(0, 1)}
    assert words_of(results) == [f"s{a}-{a + 800}" for a in range(0, 9600, 800)]
    assert (messages[-2]["duration"], messages[-2]["channels"]) == (1.2, 1)


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw"])
@pytest.mark.parametrize("more", ["", TWO])
def test_digital_silence_has_no_words(encoding: str, more: str) -> None:
    s = session(query(encoding, FULL, more))
    *messages, close = told([*s.audio(SILENT[encoding] * 40_000, 0), *s.text(CLOSE, 0)])
    assert {m["type"] for m in messages} == {"Results", "Metadata"}
    assert (words_of(messages), close) == ([], (1000, ""))


def test_results_of_a_channel_keep_their_order_and_hold_up_no_other() -> None:
    s = session(RAW + TWO, Slow())
    left_1, left_2, right_1, right_2 = jobs(s.audio(interleave([VOICE * 20] * 2, 2), 0))
    assert s.text("nonsense", 0) == []
    assert s.recognised(left_2.ticket, left_2.job(), 1) == []
    (said,) = told(s.recognised(right_1.ticket, right_1.job(), 1))
    assert (said["channel_index"], said["start"]) == ([1, 2], 0)
    assert s.text(CLOSE, 2) == []
    (said, empty) = told(s.recognised(right_2.ticket, right_2.job(), 3))
    assert [(m["channel_index"], m["start"]) for m in (said, empty)] == [([1, 2], 1), ([1, 2], 2)]
    rest = told(s.recognised(left_1.ticket, left_1.job(), 9))
    assert [m["type"] if isinstance(m, dict) else m for m in rest] == [
        *["Results", "Results", "Error", "Results"],
        *["Metadata", (1000, "")],
    ]
    starts = [m["start"] for m in rest[:4] if m["type"] == "Results"]
    assert all(one < following for one, following in pairwise(starts))


def test_words_outstanding_on_one_channel_do_not_count_for_another() -> None:
    s = session(RAW + TWO, Slow())
    wanted = jobs(s.audio(interleave([VOICE * 40] * 2, 2), 0))
    assert (len(wanted), s.backlogged) == (8, False)
    more = jobs(s.audio(interleave([VOICE * 10] * 2, 2), 0))
    assert (len(more), s.backlogged) == (2, True)
    for job in (wanted[0], wanted[4]):
        s.recognised(job.ticket, (), 0)
    assert not s.backlogged
