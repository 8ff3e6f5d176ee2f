"""What is given up: of which channel, from where to where, and what is committed of it."""

import json
from typing import Any

from trio_asr.core.giving_up import abandoned, give_up
from trio_asr.core.outbox import Outbox
from trio_asr.core.timeline import Timeline
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import GapReason
from trio_asr.wire.records import Outcome, Stored
from trio_asr.wire.resume_point import PAST_END, ResumePoint
from trio_asr.wire.transcripts import Item, Topics

ONE, TWO = audio_format(8000), audio_format(8000, "mulaw", 2)
FAST_ONE, FAST_TWO = audio_format(16_000), audio_format(16_000, "mulaw", 2)
CUSTOMER: dict[str, Any] = {"channel": 0, "role": "customer"}
AGENT: dict[str, Any] = {"channel": 1, "role": "agent"}


class Harness:
    """A timeline of seconds of audio of these formats, and its outbox."""

    def __init__(self, *audio: tuple[Format, int]) -> None:
        self.timeline = Timeline(ResumePoint())
        self.outbox = Outbox("call", Topics("t", "e", 100), Stored())
        self.outbox.roles = ("customer", "agent")
        for n, (fmt, seconds) in enumerate(audio):
            self.timeline.append(f"{n + 1}-0", bytes(fmt.bytes_per_s * seconds), fmt)

    def give_up(self, end: int, channel: int | None = None) -> float:
        return give_up(self.timeline, self.outbox, end, GapReason.MEMORY, channel)

    def ahead(self, sample: int, channel: int) -> None:
        """Have a final of a channel."""
        self.outbox.put(Item(resume_point=self.timeline.finalize(sample, channel)))

    def gaps(self) -> list[dict[str, Any]]:
        """Commit all that waits, and return its gaps."""
        written: list[dict[str, Any]] = []
        while (commit := self.outbox.next_commit(1)) is not None:
            written += [json.loads(write.data) for write in commit.writes]
            self.outbox.settle(Outcome.APPLIED)
        left_out = ("event", "interaction_id", "tenant_id", "timestamp_ms")
        return [{name: one[name] for name in one if name not in left_out} for one in written]


def gap(start_ms: int, end_ms: int, samples: int, *, reason: str = "memory", **leg: Any) -> dict[str, Any]:
    return {"reason": reason, "start_ms": start_ms, "end_ms": end_ms, "samples": samples, **leg}


def test_each_channel_has_a_gap_of_its_own() -> None:
    on = Harness((TWO, 10))
    on.ahead(16_000, 1)
    assert on.give_up(40_000) == 5.0
    assert on.timeline.cursors == [40_000, 40_000]
    assert on.gaps() == [gap(0, 5000, 40_000, **CUSTOMER), gap(2000, 5000, 24_000, **AGENT)]
    assert on.outbox.confirmed.place == ResumePoint(
        40_000, "1-0", 80_000, 80_000, 8000, encoding="mulaw", channels=2
    )


def test_a_channel_that_is_ahead_of_all_that_is_given_up_has_none() -> None:
    on = Harness((TWO, 10))
    on.ahead(48_000, 0)
    assert on.give_up(40_000) == 5.0
    assert on.timeline.cursors == [48_000, 40_000]
    assert on.gaps() == [gap(0, 5000, 40_000, **AGENT)]
    assert on.outbox.confirmed.place.lead == (8000, 0)
    assert on.give_up(40_000) == 0.0


def test_one_channel_is_given_up_alone() -> None:
    on = Harness((TWO, 10))
    assert on.give_up(40_000, 1) == 5.0
    assert (on.timeline.finalized, on.timeline.cursors) == (0, [0, 40_000])
    assert on.give_up(80_000, 0) == 10.0
    assert (on.timeline.finalized, on.timeline.cursors) == (40_000, [80_000, 40_000])
    assert on.gaps() == [gap(0, 5000, 40_000, **AGENT), gap(0, 10_000, 80_000, **CUSTOMER)]


def test_between_the_gaps_of_two_channels_a_restart_finds_the_one_that_was_committed() -> None:
    on = Harness((TWO, 10))
    on.give_up(40_000)
    first, second = on.outbox._queue
    assert first.resume_point is not None
    assert first.resume_point.cursors == [40_000, 0]
    assert second.resume_point is not None
    assert second.resume_point.cursors == [40_000, 40_000]


def test_no_gap_of_two_channels_goes_over_a_border() -> None:
    """Or it would say of the wrong channels that they were given up; and a lead would cross it."""
    on = Harness((ONE, 1), (TWO, 1), (FAST_TWO, 1), (ONE, 1))
    on.timeline.finalize(4000)
    assert on.give_up(36_000) == 3.0
    assert on.timeline.cursors == [36_000]
    leads = [item.resume_point and item.resume_point.lead for item in on.outbox._queue]
    assert [bool(lead) for lead in leads] == [False, True, False, True, False, False]
    assert on.gaps() == [
        gap(500, 1000, 4000),
        gap(1000, 2000, 8000, **CUSTOMER),
        gap(1000, 2000, 8000, **AGENT),
        gap(2000, 3000, 16_000, **CUSTOMER),
        gap(2000, 3000, 16_000, **AGENT),
        gap(3000, 3500, 4000),
    ]


def test_a_gap_of_one_channel_goes_over_a_change_of_rate() -> None:
    on = Harness((ONE, 1), (FAST_ONE, 1), (ONE, 1))
    assert on.give_up(32_000) == 3.0
    assert on.gaps() == [gap(0, 3000, 32_000)]


def test_the_seconds_are_those_of_the_channel_that_gave_up_most() -> None:
    on = Harness((TWO, 2), (FAST_TWO, 2))
    on.ahead(12_000, 0)
    assert on.give_up(24_000) == 2.5
    assert [one["samples"] for one in on.gaps()] == [4000, 16_000, 8000, 8000]


def test_what_never_came_is_a_gap_of_each_channel_once_both_have_come_there() -> None:
    on = Harness((TWO, 1))
    on.timeline.skip(800_000, TWO)
    on.timeline.append("2-0", bytes(TWO.bytes_per_s), TWO)
    assert on.give_up(8000, 1) == 1.0
    assert on.timeline.cursors == [0, 8000]
    assert on.give_up(8000, 0) == 1.0
    assert on.timeline.cursors == [808_000, 808_000]
    assert on.gaps()[2:] == [
        gap(1000, 101_000, 800_000, reason="source", **CUSTOMER),
        gap(1000, 101_000, 800_000, reason="source", **AGENT),
    ]


def test_what_never_came_before_audio_of_two_channels_is_theirs() -> None:
    on = Harness((ONE, 1))
    on.timeline.skip(8000, TWO)
    on.timeline.append("2-0", bytes(TWO.bytes_per_s), TWO)
    on.give_up(8000)
    assert on.gaps() == [
        gap(0, 1000, 8000),
        gap(1000, 2000, 8000, reason="source", **CUSTOMER),
        gap(1000, 2000, 8000, reason="source", **AGENT),
    ]


def test_a_call_that_fails_gives_up_what_redis_has_no_final_of() -> None:
    on = Harness((TWO, 2), (ONE, 1))
    on.ahead(12_000, 1)
    on.gaps()
    on.ahead(14_000, 0)  # of which Redis does not know
    items = abandoned(on.timeline, on.outbox, "9-0")
    assert [item.resume_point for item in items[:-1]] == [None] * 3
    point = items[-1].resume_point
    assert point == ResumePoint(24_000, "9-0", PAST_END, 48_000, 8000, 16_000, 2_000_000)
    on.outbox._queue = items
    internal = {"reason": "internal"}
    assert on.gaps() == [
        gap(0, 2000, 16_000, **CUSTOMER) | internal,
        gap(1500, 2000, 4000, **AGENT) | internal,
        gap(2000, 3000, 8000) | internal,
    ]
    assert on.outbox.confirmed.place == point


def test_a_channel_of_which_redis_has_everything_has_no_gap() -> None:
    on = Harness((TWO, 2))
    on.ahead(16_000, 1)
    on.gaps()
    on.outbox._queue = abandoned(on.timeline, on.outbox, "9-0")
    assert on.gaps() == [gap(0, 2000, 16_000, reason="internal", **CUSTOMER)]
    assert on.outbox.confirmed.place.cursors == [16_000, 16_000]
