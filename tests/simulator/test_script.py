from pathlib import Path

import pytest

from trio_asr.simulator.engines import Ear, Mark, SegmentEnds, SpeechBegan
from trio_asr.simulator.query import check, parse
from trio_asr.simulator.script import ScriptEngine, read_script

TEXT = """\
# a comment
One two | three.

Four!
"""


def ear(engine: ScriptEngine, more: str = "") -> Ear:
    return engine.open(check(parse("encoding=linear16&sample_rate=1000" + more)))


def hear(listener: Ear, milliseconds: int) -> list[Mark]:
    return listener.hear(bytes(2 * milliseconds))


def test_a_script_is_said_at_its_pace_and_again() -> None:
    listener = ear(ScriptEngine(TEXT, word_ms=400))
    marks = hear(listener, 10_200)
    assert marks[:6] == [
        SpeechBegan(at=400, onset=300),
        SegmentEnds(1100, speech_final=False),
        SegmentEnds(2000, speech_final=True),
        SpeechBegan(at=4400, onset=4300),
        SegmentEnds(5200, speech_final=True),
        SpeechBegan(at=5900, onset=5800),
    ]
    assert [(w.text, w.start, w.end, w.punctuated) for w in listener.words(0, 5500, final=True)] == [  # type: ignore[union-attr]
        ("one", 300, 620, "One"),
        ("two", 700, 1020, "two"),
        ("three", 1100, 1420, "three."),
        ("four", 4300, 4620, "Four!"),
    ]
    assert [w.text for w in listener.words(5500, 10_200, final=False)] == ["one", "two", "three", "four"]  # type: ignore[union-attr]


def test_without_endpointing_no_segment_ends_in_a_pause() -> None:
    ends = [
        m for m in hear(ear(ScriptEngine(TEXT), "&endpointing=false"), 9000) if isinstance(m, SegmentEnds)
    ]
    assert ends
    assert not any(end.speech_final for end in ends)


def test_a_word_belongs_to_the_segment_in_which_it_ends() -> None:
    listener = ear(ScriptEngine("one two"))
    hear(listener, 1000)
    listener.cut(800)
    assert [w.text for w in listener.words(0, 800, final=True)] == ["one"]  # type: ignore[union-attr]
    hear(listener, 1000)
    assert [w.text for w in listener.words(800, 2000, final=True)] == ["two"]  # type: ignore[union-attr]


def test_the_built_in_script_has_words() -> None:
    assert hear(ear(ScriptEngine()), 30_000)


@pytest.mark.parametrize("text", ["", "\n\n", "# only this", " | "])
def test_a_script_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ScriptEngine(text)


def test_a_script_file(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(TEXT, encoding="utf-8")
    assert read_script(tmp_path / "script") == ScriptEngine(TEXT)
