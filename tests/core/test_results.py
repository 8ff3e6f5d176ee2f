"""What a connection heard: each row of the module's table, and any messages at all."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from trio_asr.core.channel_results import DEFAULT_CONFIDENCE, MessageKind, Publishing
from trio_asr.core.giving_up import give_up
from trio_asr.core.outbox import Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Timeline
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import GapReason
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
    Word,
    decode,
)
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Topics

RATE = 8000
LENGTH_S = 60
TOLERANCE = 160  # samples: 20 ms


def words(text: str, start: float, end: float, step: float = 0.5) -> list[Word]:
    """The words of a text, each of `step` seconds, evenly spread."""
    named = text.split()
    starts = [start + (end - start) * n / len(named) for n in range(len(named))]
    return [Word(word, at, at + step, 0.9) for word, at in zip(named, starts, strict=True)]


def results(start: float, end: float, text: str = "", **more: Any) -> Results:
    """A result from start to end, with the words of the text spread over it."""
    spoken = words(text, start, end) if text and end > start else []
    return Results(start, end - start, channel=Channel([Alternative(text, 0.8, spoken)]), **more)


def final(start: float, end: float, text: str = "", **more: Any) -> Results:
    """A result for good."""
    return results(start, end, text, is_final=True, **more)


class Connection:
    """One connection that was sent a minute of audio, of a call that may have had others before."""

    def __init__(self, *, begin_s: float = 0.0, partials: bool = True, with_words: bool = False) -> None:
        self.timeline = Timeline(ResumePoint())
        self.timeline.append("1-0", bytes(2 * round((begin_s + LENGTH_S) * RATE)), audio_format(RATE))
        self.outbox = Outbox("call", Topics("t", "e", 100), Stored())
        if begin_s:
            give_up(self.timeline, self.outbox, round(begin_s * RATE), GapReason.RETENTION)
            self.committed()
        self.handler = ResultHandler(
            self.timeline, self.outbox, Publishing(2, "r", partials=partials, words=with_words)
        )
        self.send(LENGTH_S)

    def send(self, seconds: float) -> None:
        """Send chunks of half a second."""
        for _ in range(round(seconds * 2)):
            chunk = self.timeline.take(RATE // 2)
            if chunk is not None:
                self.handler.clock.sending(chunk.start, chunk.end)
                self.handler.chunk_ends.append(chunk.end)

    def hear(self, *heard: Message) -> MessageKind:
        """Apply messages; return what the last turned out to be."""
        return [self.handler.handle(message) for message in heard][-1]

    @property
    def finalized_s(self) -> float:
        return self.timeline.finalized / RATE

    def committed(self) -> list[dict[str, Any]]:
        """Commit all that waits and return it."""
        written = []
        while (commit := self.outbox.next_commit(1)) is not None:
            written += [json.loads(write.data) for write in commit.writes]
            self.outbox.settle(Outcome.APPLIED)
        return written

    def summary(self) -> list[tuple[Any, ...]]:
        """What was committed, as (kind, start_ms, end_ms, text or reason)."""
        return [
            (
                one.get("type") or one["event"],
                one.get("start_ms"),
                one["end_ms"],
                one.get("text") or one.get("reason"),
            )
            for one in self.committed()
        ]


# -- where a final begins ------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-TOLERANCE, -1, 0, 1, TOLERANCE])
def test_a_final_that_begins_within_20_ms_is_contiguous(off: int) -> None:
    line = Connection()
    line.hear(final(0, 2, "one two"))
    line.hear(final(2 + off / RATE, 4, "three four"))
    assert line.finalized_s == 4
    assert line.summary() == [("final", 0, 2000, "one two"), ("final", 2000, 4000, "three four")]


def test_float32_times_of_a_long_call_are_contiguous() -> None:
    """Requirements 7: after ten hours on one connection, nothing is a gap and nothing is said twice."""
    line = Connection(begin_s=36_000)
    line.handler.clock._at[:] = [0]
    line.handler.clock._to[:] = [0]
    line.handler.clock.sent += 36_000 * RATE  # as if all of it had been sent on this connection

    def float32(value: float) -> float:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
        return rounded

    begin = 36_000.0
    for n in range(40):
        end = begin + 0.7 + n % 7 / 10
        assert (
            line.hear(final(float32(begin), float32(begin) + float32(end - begin), f"w{n}"))
            is MessageKind.FINAL
        )
        begin = end
    assert [kind for kind, *_ in line.summary()] == ["final"] * 40
    assert abs(line.finalized_s - begin) < 0.005


@pytest.mark.parametrize(("start", "end"), [(0, 2), (0, 1), (1, 2), (0.5, 1.5), (2, 2), (0, 0)])
def test_a_final_wholly_below_is_a_repeat_and_dropped(start: float, end: float) -> None:
    line = Connection()
    line.hear(final(0, 2, "one two"))
    line.committed()
    assert line.hear(final(start, end, "one two")) is MessageKind.REPEAT
    assert line.finalized_s == 2
    assert line.committed() == []


def test_a_final_that_begins_later_has_a_gap_before_it() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"))
    assert line.hear(final(5, 6, "six")) is MessageKind.FINAL
    assert line.finalized_s == 6
    assert line.summary() == [
        ("final", 0, 2000, "one"),
        ("gap", 2000, 5000, "skipped"),
        ("final", 5000, 6000, "six"),
    ]


def test_of_a_final_that_straddles_the_words_from_the_cursor_on_count() -> None:
    line = Connection()
    line.hear(final(0, 2, "one two"))
    assert line.hear(final(0, 4, "one two three four")) is MessageKind.FINAL
    assert line.summary() == [("final", 0, 2000, "one two"), ("final", 2000, 4000, "three four")]


def test_a_word_across_the_cursor_belongs_to_where_its_middle_is() -> None:
    line = Connection()
    line.hear(final(0, 2))
    spoken = [Word("before", 1.4, 2.4, 0.9), Word("after", 1.7, 2.5, 0.9, "After.")]
    line.hear(Results(1, 2, Channel([Alternative("before After.", 0.8, spoken)]), is_final=True))
    assert line.summary() == [("final", 2000, 3000, "After.")]


@pytest.mark.parametrize(
    ("spoken", "left"),
    [
        ([Word("a", 0.1), Word("b", 2, 2.5)], "b"),
        ([Word("a", None, 0.4), Word("b", 2)], "b"),
        ([Word("a", 0.1), Word("b", None, 2.5)], "b"),
        ([Word("a", 0.1), Word("b"), Word("c", 2), Word("d")], "c d"),
        ([Word("a"), Word("b", 0.1), Word("c", 2)], "c"),
        ([Word("a"), Word("b", 2), Word("c", 2.5)], "a b c"),
        ([Word("a"), Word("b")], "a b"),
    ],
)
def test_a_word_counts_by_the_end_that_is_known_or_as_its_neighbour(spoken: list[Word], left: str) -> None:
    line = Connection()
    line.hear(final(0, 1, "x"))
    text = " ".join(word.word for word in spoken)
    line.hear(Results(0, 3, is_final=True, channel=Channel([Alternative(text, 0.8, spoken)])))
    assert line.summary()[1:] == [("final", 1000, 3000, left)]


def test_a_straddling_final_without_a_word_left_is_an_empty_one() -> None:
    line = Connection()
    line.hear(final(0, 3))
    spoken = [Word("one", 1, 1.5, 0.9)]
    message = Results(1, 3, Channel([Alternative("one", 0.8, spoken)]), is_final=True)
    assert line.hear(message) is MessageKind.EMPTY_FINAL
    assert line.finalized_s == 4
    assert line.committed() == []


def test_straddling_text_without_words_is_said_twice_rather_than_not_at_all() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"))
    line.hear(Results(1, 2, Channel([Alternative("one two", 0.8)]), is_final=True))
    assert line.summary()[1] == ("final", 2000, 3000, "one two")


def test_a_shrinking_final_is_followed_by_one_that_says_the_rest() -> None:
    """An interim covered more than its final: what the final leaves out is still open."""
    line = Connection()
    line.hear(results(0, 3, "one two three"), final(0, 2, "one two"))
    assert line.finalized_s == 2
    line.hear(final(2, 3, "three"))
    assert [text for *_, text in line.summary()] == ["one two", "three"]


@pytest.mark.parametrize("start", [0, 2, 5, 59, 60, 1e9])
def test_a_final_of_no_length_moves_and_loses_nothing(start: float) -> None:
    """It freezes no audio, so what lies before it is no hole either: the next final says."""
    line = Connection()
    line.hear(final(0, 2, "one"))
    assert line.hear(Results(start, 0.0, Channel([]), is_final=True)) in (
        MessageKind.REPEAT,
        MessageKind.EMPTY_FINAL,
    )
    assert line.finalized_s == 2
    line.hear(final(2, 6, "two"))
    assert line.summary() == [("final", 0, 2000, "one"), ("final", 2000, 6000, "two")]


@pytest.mark.parametrize("start", [61, 1e9, 1e300])
def test_a_final_past_all_that_was_sent_moves_and_loses_nothing(start: float) -> None:
    line = Connection()
    assert (
        line.hear(Results(start, 5.0, Channel([Alternative("x", 0.8)]), is_final=True)) is MessageKind.REPEAT
    )
    assert line.finalized_s == 0
    assert line.committed() == []


@pytest.mark.parametrize("duration", [60.001, 1e9, 1e300])
def test_a_final_that_ends_past_what_was_sent_ends_there(duration: float) -> None:
    line = Connection()
    line.timeline.append("2-0", bytes(2 * RATE), audio_format(RATE))  # received, and not sent
    line.hear(Results(0.0, duration, Channel([Alternative("x", 0.8)]), is_final=True))
    assert line.finalized_s == line.timeline.sent / RATE == LENGTH_S
    assert line.summary() == [("final", 0, 60_000, "x")]


def test_empty_finals_move_the_cursor_and_say_nothing() -> None:
    line = Connection()
    assert line.hear(final(0, 2), final(2, 4, "  ")) is MessageKind.EMPTY_FINAL
    assert line.finalized_s == 4
    assert line.committed() == []
    assert line.outbox.confirmed.place.finalized == 4 * RATE


def test_times_go_on_across_connections_and_gaps() -> None:
    """Requirements 7: a second connection starts at 0, the call does not."""
    line = Connection(begin_s=100)
    line.hear(final(0, 2, "one"))
    give_up(line.timeline, line.outbox, 110 * RATE, GapReason.RETENTION)
    line.hear(final(2, 11, "a b c d e f g h two"))
    line.hear(final(11, 12, "three"))
    assert line.summary() == [
        ("final", 100_000, 102_000, "one"),
        ("gap", 102_000, 110_000, "retention"),
        ("final", 110_000, 111_000, "two"),
        ("final", 111_000, 112_000, "three"),
    ]


def test_what_was_given_up_before_it_was_sent_shifts_the_clock() -> None:
    line = Connection()
    line.timeline.append("2-0", bytes(2 * 20 * RATE), audio_format(RATE))
    give_up(line.timeline, line.outbox, 70 * RATE, GapReason.RETENTION)
    line.send(10)
    line.committed()
    line.hear(final(60, 62, "one"))
    assert line.summary() == [("final", 70_000, 72_000, "one")]


# -- what is published ---------------------------------------------------------------------------------


def test_what_a_final_says() -> None:
    line = Connection(with_words=True)
    line.outbox.trace_id, line.outbox.tenant_id = "x", "t"
    spoken = [Word("hello", 0.5, 0.9, 0.7, "Hello,", 1), Word("you", 1.0, 1.2, 0.6)]
    line.hear(
        Results(
            0,
            2,
            is_final=True,
            speech_final=True,
            channel=Channel([Alternative(" Hello, you ", 0.75, spoken)]),
        )
    )
    assert line.committed() == [
        {
            "interaction_id": "call",
            "tenant_id": "t",
            "seq": 1,
            "type": "final",
            "text": "Hello, you",
            "confidence": 0.75,
            "timestamp_ms": 1,
            "start_ms": 0,
            "end_ms": 2000,
            "speech_final": True,
            "connection": 2,
            "request_id": "r",
            "words": [
                {"word": "Hello,", "start_ms": 500, "end_ms": 900, "confidence": 0.7, "speaker": 1},
                {"word": "you", "start_ms": 1000, "end_ms": 1200, "confidence": 0.6},
            ],
            "trace_id": "x",
            "speaker": 1,
        }
    ]


def test_an_absent_confidence_is_the_old_workers() -> None:
    line = Connection()
    line.hear(Results(0, 2, Channel([Alternative("a")]), is_final=True))
    assert line.committed()[0]["confidence"] == DEFAULT_CONFIDENCE


def test_partials_are_published_from_the_cursor_on() -> None:
    line = Connection()
    line.hear(final(0, 2, "one two"))
    line.committed()
    assert line.hear(results(0, 4, "one two three four")) is MessageKind.PARTIAL
    assert line.summary() == [("partial", 2000, 4000, "three four")]
    assert line.hear(results(2, 5)) is MessageKind.EMPTY_PARTIAL
    assert line.hear(results(0, 2, "one two")) is MessageKind.REPEAT
    assert line.committed() == []


def test_partials_can_be_switched_off() -> None:
    line = Connection(partials=False)
    assert line.hear(results(0, 2, "one")) is MessageKind.PARTIAL
    assert line.outbox.idle
    line.hear(final(0, 2, "one"))
    assert line.summary() == [("final", 0, 2000, "one")]


def test_finals_count_the_chunks_that_they_cover() -> None:
    line = Connection()
    line.hear(final(0, 1.2, "one"), final(1.2, 3, "two"))
    line.outbox.next_commit(1)
    assert [item.chunks for item in line.outbox.settle(Outcome.APPLIED)] == [2, 4]
    assert len(line.handler.chunk_ends) == 2 * LENGTH_S - 6


# -- ends of utterances --------------------------------------------------------------------------------


def utterance_ends(line: Connection) -> list[int]:
    """The ends of utterances among what waits, in ms."""
    return [one["end_ms"] for one in line.committed() if one.get("event") == "utterance_end"]


def test_an_utterance_end_after_finals_with_words_is_an_event_once() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"), UtteranceEnd(1.8), UtteranceEnd(1.8))
    assert utterance_ends(line) == [1800]


def test_an_utterance_end_after_speech_final_is_stale() -> None:
    line = Connection()
    line.hear(final(0, 2, "one", speech_final=True), UtteranceEnd(1.8), UtteranceEnd(2.0))
    line.hear(final(2, 4, "two"), UtteranceEnd(1.8))
    assert utterance_ends(line) == []
    line.hear(UtteranceEnd(3.5))
    assert utterance_ends(line) == [3500]


@pytest.mark.parametrize("last_word_end", [-1.0, math.nan, -math.inf])
def test_an_utterance_end_that_says_no_time_is_ignored(last_word_end: float) -> None:
    line = Connection()
    line.hear(final(0, 2, "one"), UtteranceEnd(last_word_end))
    assert utterance_ends(line) == []


def test_an_utterance_end_without_words_is_nothing() -> None:
    line = Connection()
    line.hear(final(0, 2), UtteranceEnd(1.8))
    assert utterance_ends(line) == []


def test_an_empty_speech_final_ends_the_words_that_are_pending() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"), final(2, 3, speech_final=True), final(3, 4, speech_final=True))
    assert utterance_ends(line) == [3000]


def test_an_end_that_says_no_time_ends_what_is_open_where_the_words_end() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"), UtteranceEnd(None), UtteranceEnd(None))
    assert utterance_ends(line) == [2000]


def test_a_start_of_speech_that_says_no_time_is_none() -> None:
    line = Connection()
    assert line.hear(SpeechStarted(None)) is MessageKind.NO_TIME
    assert line.committed() == []


def test_an_empty_speech_final_that_covers_nothing_new_ends_them_too() -> None:
    line = Connection()
    line.hear(final(0, 2, "one"))
    assert line.hear(Results(2.0, 0.0, Channel([]), True, True)) is MessageKind.EMPTY_FINAL
    assert utterance_ends(line) == [2000]


# -- what options of the provider add ------------------------------------------------------------------


def test_a_confidence_of_0_is_0() -> None:
    line = Connection()
    line.hear(Results(0, 2, Channel([Alternative("a", 0.0)]), is_final=True))
    assert line.committed()[0]["confidence"] == 0.0


def described(line: Connection, message: str) -> list[dict[str, Any]]:
    line.hear(decode(message))
    return line.committed()


FULL = """
{"type":"Results","start":0,"duration":4,"is_final":true,"speech_final":true,"entities":[],
 "channel":{"search":[
   {"query":"york","hits":[{"confidence":0.9,"start":2.0,"end":3.0,"snippet":"New York"},
                           {"confidence":0.4,"start":0.5,"end":0.9}]},
   {"query":"paris","hits":[]}],
  "alternatives":[{"transcript":"in New York","confidence":0.8,"languages":["en","fr"],
   "entities":[{"label":"CITY","value":"New York","raw_value":"new york","confidence":0.7,
                "start_word":1,"end_word":3}],
   "words":[{"word":"in","start":1,"end":1.5,"confidence":0.5,"speaker":3,"language":"en"},
            {"word":"New","start":2,"end":2.5,"confidence":0.5,"speaker":3,"language":"en"},
            {"word":"York","start":2.5,"end":3,"confidence":0.5,"speaker":3,"language":"fr"}]}]}}
"""


def with_words(**fields: list[object]) -> str:
    """The full result, without languages, with these fields of its three words."""
    message = json.loads(FULL)
    for n, word in enumerate(message["channel"]["alternatives"][0]["words"]):
        word.pop("language")
        word |= {name: values[n] for name, values in fields.items()}
    return json.dumps(message)


def test_entities_hits_languages_and_the_speaker_are_published_on_the_calls_timeline() -> None:
    """They are paid for; before, nobody saw them. Without words too."""
    (said,) = described(Connection(begin_s=10), with_words())
    assert (said["speaker"], said["languages"]) == (3, ["en", "fr"])
    assert said["entities"] == [
        {
            "label": "CITY",
            "value": "New York",
            "raw_value": "new york",
            "confidence": 0.7,
            "start_ms": 12_000,
            "end_ms": 13_000,
        }
    ]
    first, second = said["search"][0]["hits"]
    assert len(said["search"]) == 1
    assert said["search"][0]["query"] == "york"
    assert first == {"confidence": 0.9, "snippet": "New York", "start_ms": 12_000, "end_ms": 13_000}
    assert second == {"confidence": 0.4, "start_ms": 10_500, "end_ms": 10_900}
    assert "words" not in said


def test_words_say_their_language() -> None:
    (said,) = described(Connection(with_words=True), FULL)
    assert [word["language"] for word in said["words"]] == ["en", "en", "fr"]


def test_entities_beside_the_channel_are_taken_as_well() -> None:
    moved = json.loads(FULL)
    moved["entities"] = moved["channel"]["alternatives"][0].pop("entities")
    (said,) = described(Connection(), json.dumps(moved))
    assert [(one["start_ms"], one["end_ms"]) for one in said["entities"]] == [(2000, 3000)]


@pytest.mark.parametrize(("first", "after"), [(-1, 2), (1, 99), (2, 1), (None, 2), ("1", 2)])
def test_an_entity_of_no_words_has_no_times(first: object, after: object) -> None:
    odd = json.loads(FULL)
    odd["channel"]["alternatives"][0]["entities"][0] |= {"start_word": first, "end_word": after}
    (said,) = described(Connection(), json.dumps(odd))
    assert said["entities"] == [
        {"label": "CITY", "value": "New York", "raw_value": "new york", "confidence": 0.7}
    ]


def test_of_a_straddling_final_only_what_is_found_from_the_cursor_on_is_published() -> None:
    line = Connection()
    line.hear(final(0, 1.9, "in"))
    line.committed()
    (said,) = described(line, FULL)
    assert said["text"] == "New York"
    assert [hit["start_ms"] for hit in said["search"][0]["hits"]] == [2000]
    assert len(said["entities"]) == 1


def test_two_speakers_are_not_one_and_the_words_of_the_final_say_who_said_what() -> None:
    (said,) = described(Connection(), with_words(speaker=[3, 3, 4]))
    assert "speaker" not in said
    assert said["words"] == [
        {"word": "in", "start_ms": 1000, "end_ms": 1500, "confidence": 0.5, "speaker": 3},
        {"word": "New", "start_ms": 2000, "end_ms": 2500, "confidence": 0.5, "speaker": 3},
        {"word": "York", "start_ms": 2500, "end_ms": 3000, "confidence": 0.5, "speaker": 4},
    ]


def test_the_words_of_a_final_say_which_is_of_which_language() -> None:
    (said,) = described(Connection(), with_words(language=["en", None, "fr"]))
    assert said["speaker"] == 3
    assert [word.get("language") for word in said["words"]] == ["en", None, "fr"]


def test_words_without_a_speaker_cost_the_others_nothing() -> None:
    for unknown in (None, "0", -1):
        (said,) = described(Connection(), with_words(speaker=[unknown, 3, 3], language=["en", None, "en"]))
        assert said["speaker"] == 3
        assert "words" not in said
    (said,) = described(Connection(), with_words(speaker=[None] * 3))
    assert not {"speaker", "words"} & set(said)


def test_words_of_several_speakers_are_in_finals_only() -> None:
    partial = with_words(speaker=[3, 3, 4]).replace('"is_final": true', '"is_final": false')
    (said,) = described(Connection(), partial)
    assert said["type"] == "partial"
    assert not {"speaker", "words"} & set(said)


def test_of_a_straddling_final_only_the_speakers_that_are_left_count() -> None:
    line = Connection()
    line.hear(final(0, 1.9, "in"))
    line.committed()
    (said,) = described(line, with_words(speaker=[3, 4, 4]))
    assert (said["text"], said["speaker"]) == ("New York", 4)
    assert "words" not in said


@pytest.mark.parametrize("odd", [None, "in", {"word": None}, []])
def test_a_word_that_cannot_be_read_moves_no_entity_and_is_not_published(odd: object) -> None:
    message = json.loads(FULL)
    message["channel"]["alternatives"][0]["words"][0] = odd
    (said,) = described(Connection(with_words=True), json.dumps(message))
    assert [(one["start_ms"], one["end_ms"]) for one in said["entities"]] == [(2000, 3000)]
    assert [word["word"] for word in said["words"]] == ["New", "York"]


def test_a_word_that_cannot_be_read_does_not_hinder_the_cut() -> None:
    message = json.loads(FULL)
    message["channel"]["alternatives"][0]["words"][1:1] = [None, {"word": None, "start": 1.5, "end": 1.9}]
    line = Connection()
    line.hear(final(0, 1.9, "in"))
    line.committed()
    (said,) = described(line, json.dumps(message))
    assert said["text"] == "New York"


def test_hits_without_a_text_are_an_event() -> None:
    silent = json.loads(FULL)
    silent["channel"]["alternatives"] = [{"transcript": "", "confidence": 0.0, "words": []}]
    (event,) = described(Connection(begin_s=10), json.dumps(silent))
    assert (event["event"], event["start_ms"], event["end_ms"]) == ("search", 10_000, 14_000)
    assert event["search"][0]["hits"][0]["start_ms"] == 12_000


def test_the_start_of_speech_is_an_event_once() -> None:
    """Also when the connection is lost and the same audio is heard again."""
    line = Connection(begin_s=10)
    line.hear(SpeechStarted(1.1), SpeechStarted(1.1), SpeechStarted(1.15), SpeechStarted(5.55))
    events = line.committed()
    assert [(one["event"], one["start_ms"], one["connection"]) for one in events] == [
        ("speech_started", 11_100, 2),
        ("speech_started", 15_550, 2),
    ]
    again = ResultHandler(line.timeline, line.outbox, Publishing(3, "r"), line.handler.speech_reported)
    line.timeline.rewind()
    line.handler = again
    line.send(LENGTH_S)
    line.hear(SpeechStarted(1.1), SpeechStarted(5.55), SpeechStarted(8.0), SpeechStarted(None))
    assert [one["start_ms"] for one in line.committed()] == [18_000]


@pytest.mark.parametrize(
    ("text", "spoken", "rest"),
    [
        ("你好吗。", "你 好 吗", "好吗。"),
        ("Hello, you there!", "Hello, you there", "you there!"),
        ("one  two\u2014three", "one two three", "two\u2014three"),
        ("สวัสดีครับ", "สวัสดี ครับ ", "ครับ"),
        ("12 3", "a b c", "b c"),  # not made of its words
        ("123", "一 二 三", "二三"),
    ],
)
def test_a_cut_text_keeps_the_languages_own_spacing(text: str, spoken: str, rest: str) -> None:
    line = Connection()
    line.hear(final(0, 1.5))
    words = [Word(word, n + 0.5, n + 1.4, 0.9) for n, word in enumerate(spoken.split())]
    line.hear(Results(0, 5, Channel([Alternative(text, 0.8, words)]), True))
    (said,) = [one for one in line.committed() if one.get("type") == "final"]
    assert said["text"] == rest


# -- the end of the connection -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "covered"), [(0, False), (1, True), (TOLERANCE, True), (TOLERANCE + 1, False)]
)
def test_after_metadata_a_remainder_within_the_tolerance_is_covered(left: int, covered: bool) -> None:
    line = Connection()
    line.hear(final(0, LENGTH_S - left / RATE, "one"))
    assert line.hear(Metadata(60.0)) is MessageKind.METADATA
    assert line.handler.metadata == Metadata(60.0)
    line.handler.finish()
    assert line.timeline.finalized == LENGTH_S * RATE - (0 if covered else left)
    assert len(line.summary()) == 1


def test_what_this_connection_was_never_sent_is_not_covered() -> None:
    """A chunk taken off the timeline as the connection closed: the next one is sent it."""
    line = Connection()
    line.hear(final(0, LENGTH_S, "one"))
    line.timeline.append("2-0", bytes(2 * 100), audio_format(RATE))
    assert line.timeline.take(100) is not None
    line.handler.finish()
    assert line.timeline.finalized == LENGTH_S * RATE


def test_a_connection_that_was_sent_nothing_covers_nothing() -> None:
    timeline = Timeline(ResumePoint())
    timeline.append("1-0", bytes(100), audio_format(RATE))
    handler = ResultHandler(timeline, Outbox("call", Topics("t", "e", 1), Stored()), Publishing(1, "r"))
    handler.finish()
    handler.handle(final(0, 5, "one"))
    assert timeline.finalized == 0


def test_what_was_answered_and_whether_it_was_of_use() -> None:
    line = Connection(begin_s=10)
    seen = [(line.handler.answered, line.handler.progressed)]
    for message in (results(0, 3, "one"), results(0, 2, "one"), final(0, 1)):
        line.hear(message)
        seen.append((line.handler.answered, line.handler.progressed))
    assert seen == [(10 * RATE, False), (13 * RATE, False), (13 * RATE, False), (13 * RATE, True)]
    assert line.handler.timeline.finalized == 11 * RATE


# -- anything at all -----------------------------------------------------------------------------------

wild = st.floats(0, 70) | st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1.0])
confidences = st.floats(0, 1) | st.floats()
spoken = st.builds(
    Word,
    st.text(max_size=4),
    wild,
    wild,
    confidences,
    st.none() | st.just("W."),
    st.none() | st.integers(-1, 9),
)
alternatives = st.builds(
    Alternative, st.sampled_from(["", " ", "a", "a b"]), confidences, st.lists(spoken, max_size=3)
)
anything = st.one_of(
    st.builds(
        Results,
        wild,
        wild,
        st.builds(Channel, st.lists(alternatives, max_size=2)),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(UtteranceEnd, st.none() | wild),
    st.builds(SpeechStarted, st.none() | wild),
    st.builds(Metadata, wild),
    st.builds(Error),
    st.builds(Unknown, st.text(max_size=3)),
)


@given(st.lists(st.one_of(anything, st.floats(0.01, 5)), max_size=25), st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_no_messages_raise_or_wedge(script: list[Message | float], with_words: bool) -> None:
    """Whatever was said, a final up to all that was sent moves the cursor there, and ranges never overlap."""
    line = Connection(begin_s=5, with_words=with_words)
    for step in script:
        before = line.timeline.finalized
        if isinstance(step, float):
            line.timeline.append("2-0", bytes(2 * round(step * RATE)), audio_format(RATE))
            line.send(step)
        else:
            line.hear(step)
        assert before <= line.timeline.finalized <= line.timeline.sent <= line.timeline.received
    line.hear(Results(0.0, 1e6, Channel([Alternative("last", 0.9)]), is_final=True))
    assert line.timeline.finalized == line.timeline.sent
    at = 5000
    for one in line.committed():
        kinds = ("final", "partial", "gap", "utterance_end", "speech_started")
        assert one["event" if "event" in one else "type"] in kinds
        if one.get("type") == "final" or one.get("event") == "gap":
            assert at <= one["start_ms"] <= one["end_ms"]
            at = one["end_ms"]
