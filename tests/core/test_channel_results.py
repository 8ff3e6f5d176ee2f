"""The results of two channels on one connection: each moves its own cursor, and no other."""

import json
import math
from typing import Any

import pytest

from trio_asr.core.channel_results import MessageKind, Publishing
from trio_asr.core.outbox import Outbox
from trio_asr.core.results import ResultHandler
from trio_asr.core.timeline import Timeline
from trio_asr.simulator.audio import interleave
from trio_asr.wire.audio_format import SILENCE, Encoding, Format, audio_format
from trio_asr.wire.messages import (
    Alternative,
    Channel,
    Hit,
    Message,
    Metadata,
    Results,
    Search,
    SpeechStarted,
    UtteranceEnd,
    Word,
)
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import ResumePoint
from trio_asr.wire.transcripts import Topics

RATE = 1000
LENGTH_S = 60
TWO = audio_format(RATE, "mulaw", 2)


def final(channel: int | None, start: float, end: float, text: str = "", **more: Any) -> Results:
    """A final with its words spread over it."""
    named = text.split()
    starts = [start + (end - start) * n / len(named) for n in range(len(named))]
    words = [Word(word, at, at + 0.5, 0.9) for word, at in zip(named, starts, strict=True)]
    index = [] if channel is None else [channel, 2]
    best = Alternative(text, 0.8, words)
    return Results(start, end - start, Channel([best]), True, channel_index=index, **more)


class Connection:
    """A connection that was sent a minute of audio: by default sound on both channels."""

    def __init__(self, fmt: Format = TWO, audio: bytes = b"", timeline: Timeline | None = None) -> None:
        if timeline is None:
            timeline = Timeline(ResumePoint())
            timeline.append("1-0", audio or b"\x12" * (fmt.bytes_per_s * LENGTH_S), fmt)
        self.timeline = timeline
        self.outbox = Outbox("call", Topics("t", "e", 100), Stored())
        self.outbox.roles = ("customer", "agent")
        self.handler = ResultHandler(self.timeline, self.outbox, Publishing(2, "r"))
        self.sent_from_s = timeline.sent / RATE
        while (chunk := timeline.take(RATE // 2)) is not None:
            self.handler.clock.sending(chunk.start, chunk.end)
            self.handler.chunk_ends.append(chunk.end)

    def hear(self, *heard: Message) -> MessageKind:
        """Apply messages; return what the last turned out to be."""
        return [self.handler.handle(message) for message in heard][-1]

    @property
    def cursors_s(self) -> list[float]:
        return [cursor / RATE for cursor in self.timeline.cursors]

    def committed(self) -> list[dict[str, Any]]:
        written = []
        while (commit := self.outbox.next_commit(1)) is not None:
            written += [json.loads(write.data) for write in commit.writes]
            self.outbox.settle(Outcome.APPLIED)
        return written

    def summary(self) -> list[tuple[Any, ...]]:
        """What was committed, as (channel, role, kind, start_ms, end_ms, text or reason)."""
        return [
            (
                one["channel"], one["role"], one.get("type") or one["event"], one.get("start_ms"),
                one.get("end_ms"), one.get("text") or one.get("reason"),
            )
            for one in self.committed()
        ]  # fmt: skip


def test_each_channel_is_finalized_by_its_own_finals() -> None:
    line = Connection()
    assert line.hear(final(0, 0, 5, "one")) is MessageKind.FINAL
    assert line.cursors_s == [5, 0]
    assert line.timeline.finalized == 0
    assert line.hear(final(1, 0, 3, "two")) is MessageKind.FINAL
    assert line.cursors_s == [5, 3]
    assert line.timeline.finalized == 3 * RATE
    assert line.hear(final(1, 3, 8)) is MessageKind.EMPTY_FINAL
    assert line.cursors_s == [5, 8]
    assert line.timeline.finalized == 5 * RATE
    assert line.summary() == [
        (0, "customer", "final", 0, 5000, "one"),
        (1, "agent", "final", 0, 3000, "two"),
    ]
    assert line.outbox.confirmed.place.cursors == [5 * RATE, 8 * RATE]


def test_repeats_straddlers_and_skips_are_each_channels_own() -> None:
    line = Connection()
    line.hear(final(0, 0, 4, "a b"), final(1, 0, 2, "c"))
    assert line.hear(final(0, 0, 4, "a b")) is MessageKind.REPEAT
    assert line.hear(final(1, 0, 4, "c d")) is MessageKind.FINAL
    assert line.hear(final(0, 6, 8, "e")) is MessageKind.FINAL
    assert line.cursors_s == [8, 4]
    assert line.summary() == [
        (0, "customer", "final", 0, 4000, "a b"),
        (1, "agent", "final", 0, 2000, "c"),
        (1, "agent", "final", 2000, 4000, "d"),
        (0, "customer", "gap", 4000, 6000, "skipped"),
        (0, "customer", "final", 6000, 8000, "e"),
    ]


def test_a_replay_is_cut_off_by_the_cursor_of_each_channel() -> None:
    line = Connection()
    line.hear(final(0, 0, 10, "a b"), final(1, 0, 4, "c"))
    line.timeline.rewind()
    again = Connection(timeline=line.timeline)
    assert again.sent_from_s == 4
    assert again.hear(final(0, 0, 6, "b")) is MessageKind.REPEAT
    assert again.hear(final(1, 0, 6, "d e")) is MessageKind.FINAL
    assert again.hear(final(0, 4, 8, "b f")) is MessageKind.FINAL  # 8 to 12 s of the call
    assert again.cursors_s == [12, 10]
    assert again.summary() == [
        (1, "agent", "final", 4000, 10_000, "d e"),
        (0, "customer", "final", 10_000, 12_000, "f"),
    ]


@pytest.mark.parametrize(
    "index", [[], [2, 2], [-1, 2], [2**40, 2], [None, 1], ["", 1], [0.5, 1], [math.nan, 1], [-0.5, 1]]
)
def test_a_message_of_no_channel_that_there_is_changes_nothing(index: list[float | str | None]) -> None:
    line = Connection()
    message = final(0, 0, 5, "one")
    message.channel_index = index
    for heard in (message, UtteranceEnd(3.0, index), SpeechStarted(3.0, index)):
        assert line.hear(heard) is MessageKind.NO_CHANNEL
    assert line.cursors_s == [0, 0]
    assert line.outbox.idle
    assert (line.handler.finals, line.handler.answered) == (0, 0)


def test_who_is_on_a_channel_may_become_known_while_it_is_connected() -> None:
    line = Connection()
    line.outbox.roles = ()
    line.hear(final(0, 0, 5, "one"))
    line.outbox.roles = ("customer", "agent")
    line.hear(final(0, 5, 10, "two"), final(1, 0, 10, "three"))
    assert [(one["channel"], one.get("role"), one["text"]) for one in line.committed()] == [
        (0, None, "one"),
        (0, "customer", "two"),
        (1, "agent", "three"),
    ]


@pytest.mark.parametrize("index", [[1, 2], [1.0, 2.0], ["1", "2"], [1, 1], [1], [1, None]])
def test_a_channel_may_be_written_as_any_number(index: list[float | str | None]) -> None:
    line = Connection()
    message = final(0, 0, 5, "one")
    message.channel_index = index
    assert line.hear(message) is MessageKind.FINAL
    assert line.cursors_s == [0, 5]


@pytest.mark.parametrize("channel", [None, 0, 1, 7])
def test_of_one_channel_all_messages_are_whatever_they_say(channel: int | None) -> None:
    line = Connection(audio_format(RATE))
    assert line.hear(final(channel, 0, 5, "one")) is MessageKind.FINAL
    assert line.timeline.cursors == [5 * RATE]
    (written,) = line.committed()
    assert "channel" not in written
    assert "role" not in written


def test_the_newest_partial_of_each_channel_is_kept_until_its_own_final() -> None:
    line = Connection()
    for channel, text in ((0, "a"), (1, "b"), (0, "c"), (1, "d")):
        partial = final(channel, 0, 5, text)
        partial.is_final = False
        assert line.hear(partial) is MessageKind.PARTIAL
    line.hear(final(1, 0, 5, "e"))
    assert line.summary() == [
        (1, "agent", "final", 0, 5000, "e"),
        (0, "customer", "partial", 0, 5000, "c"),
    ]


def test_utterances_and_starts_of_speech_are_each_channels_own() -> None:
    line = Connection()
    line.hear(SpeechStarted(1.0, [0, 2]), SpeechStarted(1.05, [1, 2]), SpeechStarted(1.05, [0, 2]))
    line.hear(final(0, 0, 5, "one"), UtteranceEnd(4.0, [1, 2]))  # nothing was said on channel 1
    line.hear(UtteranceEnd(4.0, [0, 2]), UtteranceEnd(4.5, [0, 2]))
    assert line.summary() == [
        (0, "customer", "speech_started", 1000, None, None),
        (1, "agent", "speech_started", 1050, None, None),
        (0, "customer", "final", 0, 5000, "one"),
        (0, "customer", "utterance_end", None, 4000, None),
    ]
    assert line.handler.speech_reported == [1000, 1050]


def test_search_hits_of_a_final_without_text_are_of_its_channel() -> None:
    line = Connection()
    message = final(1, 0, 5)
    message.channel.search = [Search("word", [Hit(0.9, 1.0, 2.0, "word")])]
    line.hear(message)
    assert line.summary() == [(1, "agent", "search", 0, 5000, None)]


def test_chunks_are_covered_once_both_channels_are_finalized() -> None:
    """For the delivery rate."""
    line = Connection()
    covered = list[int]()
    for message in (final(0, 0, 5), final(1, 0, 1.2), final(1, 1.2, 10), final(0, 5, 7)):
        line.hear(message)
        covered.append(line.outbox._queue[-1].chunks)
    assert covered == [0, 2, 8, 4]


def test_an_end_in_good_order_finalizes_what_each_channel_has_left_below_20_ms() -> None:
    line = Connection()
    line.hear(final(0, 0, 59.985), final(1, 0, 59.9), Metadata())
    line.handler.finish()
    assert line.cursors_s == [60, 59.9]
    assert line.handler.channels[0].finals == 2
    assert line.handler.channels[1].finals == 1


# -- silence -------------------------------------------------------------------------------------------------


def legs(encoding: Encoding, *spans: tuple[bool, bool, float]) -> tuple[Format, bytes]:
    """Audio with sound on each of the two channels or not, for so many seconds; 60 s in all."""
    fmt = audio_format(RATE, encoding, 2)
    silence, audio = SILENCE[encoding], [b"", b""]
    left = LENGTH_S - sum(seconds for *_, seconds in spans)
    for *sound, seconds in (*spans, (True, True, left)):
        for channel in (0, 1):
            sample = b"\x12" * len(silence) if sound[channel] else silence
            audio[channel] += sample * round(seconds * RATE)
    return fmt, interleave(audio, len(silence))


ENCODINGS: list[Encoding] = ["linear16", "mulaw", "alaw"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("silent", [0, 1])
def test_silence_that_the_other_channel_passed_by_5_s_is_answered(encoding: Encoding, silent: int) -> None:
    line = Connection(*legs(encoding, (silent == 1, silent == 0, 20)))
    other = 1 - silent

    def cursors_s() -> list[float]:
        return [line.cursors_s[silent], line.cursors_s[other]]

    line.hear(final(other, 0, 4, "one"))
    assert cursors_s() == [0, 4]
    line.hear(final(other, 4, 5, "two"))
    assert cursors_s() == [0, 5]
    line.hear(final(other, 5, 9, "three"))
    assert cursors_s() == [4, 9]
    line.hear(final(other, 8, 9, "three"))  # a repeat passes nothing
    assert cursors_s() == [4, 9]
    line.hear(final(other, 9, 23))
    assert cursors_s() == [18, 23]
    line.hear(final(other, 23, 50))
    assert cursors_s() == [20, 50]  # there is sound from there on
    assert line.handler.channels[silent].finals == 0
    assert [kind for _, _, kind, *_ in line.summary()] == ["final"] * 3
    assert line.outbox.confirmed.place.finalized == 20 * RATE


@pytest.mark.parametrize(
    ("encoding", "other"), [("mulaw", b"\x7f"), ("alaw", b"\x55")], ids=["mu-law", "A-law"]
)
def test_the_negative_zero_is_silence_too(encoding: Encoding, other: bytes) -> None:
    fmt = audio_format(RATE, encoding, 2)
    silence = [SILENCE[encoding][0], other[0]] * (5 * RATE)
    audio = interleave([bytes(silence), b"\x12" * (10 * RATE)], 1)
    line = Connection(fmt, audio)
    line.hear(final(1, 0, 10))
    assert line.cursors_s == [5, 10]


def test_the_other_codecs_silence_is_sound() -> None:
    others: tuple[tuple[Encoding, bytes], ...] = (
        ("linear16", b"\xff"), ("mulaw", b"\xd5"), ("alaw", b"\xff"), ("mulaw", b"\0"),
    )  # fmt: skip
    for encoding, byte in others:
        fmt = audio_format(RATE, encoding, 2)
        line = Connection(fmt, byte * (fmt.bytes_per_s * 10))
        line.hear(final(0, 0, 10))
        assert line.cursors_s == [10, 0]


def test_half_of_a_sample_that_is_zero_is_no_silence() -> None:
    fmt = audio_format(RATE, channels=2)
    line = Connection(fmt, b"\1\1\0\1" * (10 * RATE))
    line.hear(final(0, 0, 10))
    assert line.cursors_s == [10, 0]


def test_sound_on_the_channel_ahead_is_none_on_the_silent_one() -> None:
    line = Connection(*legs("linear16", (True, False, 3), (True, True, 0.001), (True, False, 20)))
    line.hear(final(0, 0, 15))
    assert line.cursors_s == [15, 3]
    line.hear(final(1, 0, 3.5))  # Deepgram's own final comes after all
    assert line.cursors_s == [15, 3.5]
    line.hear(final(0, 15, 16))
    assert line.cursors_s == [16, 11]
    line.hear(final(1, 3, 12, "late"))  # of which the rest counts
    assert line.cursors_s == [16, 12]


def test_finals_of_a_lead_that_are_repeated_pass_no_silence() -> None:
    line = Connection(*legs("mulaw", (True, False, 30)))
    line.hear(final(0, 0, 20, "one"))
    assert line.cursors_s == [20, 15]
    line.timeline.rewind()
    again = Connection(timeline=line.timeline)
    again.hear(final(0, 0, 5, "one"))  # 15 to 20 s of the call
    assert again.cursors_s == [20, 15]
    again.hear(final(0, 5, 7, "two"))
    assert again.cursors_s == [22, 17]
