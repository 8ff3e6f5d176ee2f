"""A series: what it asks of the store, and what becomes of its audio when there is no answer."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from trio_asr.core.ingest.series import Batch, Identity, Series, Terms
from trio_asr.core.ingest.tally import Tally
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.call_entries import EntryWriter, Past, decode_past

MULAW, LINEAR = audio_format(8000, "mulaw"), audio_format(8000)
NOW_MS = 1_790_000_000_000
ME = Identity("call", "tenant", "me")


class On:
    """A series, and the store as it would be."""

    def __init__(
        self, fmt: Format = MULAW, resume_from: int | None = None, terms: Terms | None = None
    ) -> None:
        self.tally = Tally()
        writer = EntryWriter("call", "tenant", fmt, (), {"queue": "gold"})
        self.series = Series(
            ME,
            fmt,
            writer,
            terms=terms or Terms(),
            tally=self.tally,
            now=0.0,
            counts=True,
            resume_from=resume_from,
        )
        self.entries: list[dict[str, Any]] = []
        self.ends: list[dict[str, Any]] = []
        self.position, self.about = 0, b""

    def speak(self, audio: bytes, now: float, at_ms: float | None = None) -> None:
        self.series.hear(audio, now, 0, at_ms)
        self.series.gather(now)

    def take(self, now: float, *, late_s: float = 0.0) -> None:
        """Let the series ask for its call; the answer comes later."""
        assert self.series.wants_call
        self.series.asks_for_call(now)
        self.series.take(NOW_MS + round(now * 1000), self.position, self.about, now + late_s)

    def store(self, now: float) -> Batch | None:
        batch = self.series.batch()
        if batch is not None:
            assert batch.before == self.position
            self.position, self.about = batch.after, batch.about
            self.entries += [msgspec.msgpack.decode(entry) for entry in batch.entries]
            self.ends += [msgspec.json.decode(end) for end in (batch.end,) if end]
            assert self.series.added() is batch
        return batch

    @property
    def placed(self) -> list[tuple[int, bytes]]:
        return [(entry["position"], entry["audio"]) for entry in self.entries]


def test_a_call_from_its_first_audio_to_its_end() -> None:
    on = On()
    assert not on.series.wants_call
    assert on.series.batch() is None
    on.speak(b"a" * 900, 1.0)
    on.take(1.15)
    on.store(1.15)
    assert on.entries == [
        {
            "interaction_id": "call", "tenant_id": "tenant",
            "encoding": "mulaw", "sample_rate": 8000, "channels": 1, "meta": {"queue": "gold"},
            "position": 0, "seq": 1, "timestamp_ms": NOW_MS + 1000, "audio": b"a" * 800,
        }
    ]  # fmt: skip
    assert on.store(1.15) is None
    on.series.finish("callended", 1.3)
    on.store(1.3)
    assert on.placed[1:] == [(800, b"a" * 100)]
    assert on.entries[1]["timestamp_ms"] == NOW_MS + 1100
    assert on.ends == [{"interaction_id": "call", "tenant_id": "tenant", "reason": "callended"}]
    assert on.series.over
    assert decode_past(on.about) == Past("mulaw", 8000, 1, NOW_MS + 1000, 0, 2, 1, 900)


def test_a_batch_without_an_answer_is_asked_for_again_as_it_is() -> None:
    on = On()
    on.speak(b"a" * 800, 0)
    on.take(0)
    batch = on.series.batch()
    on.speak(b"b" * 1600, 0.2)
    on.series.finish("stop", 0.3)
    assert on.series.batch() is batch
    on.store(0.4)
    on.store(0.4)
    assert on.placed == [(0, b"a" * 800), (800, b"b" * 800), (1600, b"b" * 800)]
    assert len(on.ends) == 1


def test_beyond_its_bound_the_oldest_audio_is_a_hole() -> None:
    on = On(terms=Terms(max_buffered_s=1))
    on.speak(b"a" * 800, 0)
    on.take(0)
    assert on.series.batch() is not None  # it is on its way, and may be stored
    for n in range(20):
        on.speak(bytes([n]) * 800, n / 10)
    assert on.tally.dropped_s == pytest.approx(1.0)
    assert on.series.waiting_s == 1.0
    on.store(2)
    on.store(2)
    assert on.placed == [(0, b"a" * 800)] + [(800 * (n + 1), bytes([n]) * 800) for n in range(10, 20)]
    assert on.series.stored == 21


def test_the_next_socket_goes_on_at_the_clock() -> None:
    one = On()
    one.speak(b"a" * 800, 0)
    one.take(0)
    one.store(0)
    two = On()
    two.position, two.about = one.position, one.about
    two.speak(b"b" * 800, 3.1)
    two.take(3.4)
    two.store(3.4)
    assert two.placed == [(24_800, b"b" * 800)]
    assert (two.entries[0]["seq"], two.entries[0]["timestamp_ms"]) == (2, NOW_MS + 3100)


def test_a_socket_that_is_gone_ends_its_call_after_a_while() -> None:
    on = On()
    on.speak(b"a" * 100, 0)
    on.take(0)
    on.series.leave(1)
    on.store(1)
    assert on.placed == [(0, b"a" * 100)]
    assert on.series.due_at() == 4
    on.series.tick(3.9)
    assert on.store(3.9) is None
    on.series.tick(4)
    on.store(4)
    assert [end["reason"] for end in on.ends] == ["disconnected"]
    assert (on.series.over, on.series.due_at()) == (True, math.inf)


def test_a_call_of_which_nothing_is_heard_ends() -> None:
    on = On(terms=Terms(idle_s=60))
    on.speak(b"a" * 800, 0)
    on.take(0)
    on.store(0)
    on.series.alive(30)
    assert on.series.due_at() == 90
    on.series.tick(90)
    on.store(90)
    assert [end["reason"] for end in on.ends] == ["idle"]


@pytest.mark.parametrize("how", ["finish", "leave"])
def test_without_audio_there_is_no_call(how: str) -> None:
    on = On()
    on.series.finish("stop", 1) if how == "finish" else on.series.leave(1)
    assert on.series.over
    assert not on.series.wants_call


@pytest.mark.parametrize("audio", [b"", b"a"])
def test_without_a_whole_sample_there_is_none(audio: bytes) -> None:
    on = On(LINEAR)
    on.speak(audio, 1)
    assert not on.series.wants_call
    on.series.leave(2)
    assert on.series.over


def test_audio_behind_the_end_is_not_taken() -> None:
    on = On()
    on.speak(b"a" * 800, 0)
    on.take(0)
    on.series.finish("stop", 0)
    on.speak(b"b" * 800, 0.1)
    on.store(0.2)
    assert on.placed == [(0, b"a" * 800)]
    assert on.tally.audio_bytes == 800


def test_what_the_platform_says_is_missing() -> None:
    on = On()
    on.speak(b"a" * 160, 0)
    on.series.lose(1500)
    on.speak(b"b" * 160, 0.1)
    on.take(0.1)
    on.series.finish("stop", 0.1)
    on.store(0.1)
    assert on.placed == [(0, b"a" * 160), (12_160, b"b" * 160)]
    assert (on.tally.holes, on.tally.hole_s) == (1, 1.5)


def test_what_is_missing_is_no_more_than_workers_believe() -> None:
    on = On()
    on.speak(b"a" * 160, 0)
    on.series.lose(7200_000)
    on.speak(b"b" * 160, 7200)
    on.take(7200)
    on.series.finish("stop", 7200)
    on.store(7200)
    assert on.placed == [(0, b"a" * 160), (160 + 3500 * 8000, b"b" * 160)]


def test_a_call_that_another_socket_has_is_given_up() -> None:
    on = On()
    on.speak(b"a" * 1600, 0)
    on.take(0)
    on.series.give_up()
    assert on.series.over
    assert on.tally.superseded_s == pytest.approx(0.2)
    assert on.series.batch() is None


# -- a client that numbers its messages, and resumes ---------------------------------------------------------


def messages(first: int, last: int) -> list[bytes]:
    """Messages of 30 ms of audio that say their number."""
    return [n.to_bytes(2, "big") * 240 for n in range(first, last + 1)]


def test_a_message_is_stored_with_its_last_sample() -> None:
    on = On(LINEAR)
    for number, message in enumerate(messages(1, 4), 1):
        on.speak(message, number * 0.03)
    on.take(0.12)
    assert on.series.stored == 0
    on.store(0.12)
    assert (on.position, on.series.stored) == (800, 3)


def test_a_client_that_resumes_loses_and_repeats_nothing() -> None:
    one = On(LINEAR)
    for number, message in enumerate(messages(1, 7), 1):
        one.speak(message, number * 0.03)
    one.take(0.2)
    one.store(0.2)
    assert (one.position, one.series.stored) == (1600, 6)
    two = On(LINEAR, resume_from=4)
    two.position, two.about = one.position, one.about
    assert two.series.wants_call  # to be able to tell the client
    two.take(9)
    assert two.series.stored == 6
    for message in messages(5, 12):
        two.speak(message, 9.1)
    two.series.finish("stop", 9.2)
    while two.store(9.2):
        pass
    assert b"".join(audio for _, audio in one.placed + two.placed) == b"".join(messages(1, 12))
    assert two.placed[0][0] == 1600


def test_a_client_may_send_before_it_is_told() -> None:
    one = On(LINEAR)
    for message in messages(1, 5):
        one.speak(message, 0.15)
    one.take(0.15)
    one.store(0.15)
    two = On(LINEAR, resume_from=0)
    two.position, two.about = one.position, one.about
    for message in messages(1, 8):
        two.speak(message, 1)
    two.take(1)
    two.series.finish("stop", 1)
    two.store(1)
    assert b"".join(audio for _, audio in one.placed + two.placed) == b"".join(messages(1, 8))


def test_a_client_that_knows_of_more_than_is_stored_goes_on_at_the_clock() -> None:
    one = On(LINEAR)
    for message in messages(1, 5):
        one.speak(message, 0)
    one.take(0)
    one.store(0)
    two = On(LINEAR, resume_from=30)
    two.position, two.about = one.position, one.about
    two.take(1)
    two.speak(messages(31, 34)[0] * 4, 1.05)
    two.series.finish("stop", 2)
    two.store(2)
    assert two.placed[0][0] == 8000


# -- messages that may change places -------------------------------------------------------------------------


def test_7_numbered_messages_are_put_in_order_and_repeats_are_left_out() -> None:
    on = On()
    for number in (1, 2, 4, 3, 3, 5):
        on.series.hear(bytes([number]) * 160, 0.1, 0, number * 20.0, number)
    on.series.gather(0.1)
    on.take(0.1)
    on.store(0.1)
    assert on.placed == [(0, b"".join(bytes([number]) * 160 for number in range(1, 6)))]
    assert (on.tally.repeats, on.tally.holes) == (1, 0)


def test_7_a_message_waits_for_one_before_it_only_so_long() -> None:
    on = On()
    for number in (1, 3):
        on.series.hear(bytes([number]) * 160, 0.1, 0, number * 20.0, number)
    on.series.gather(0.1)
    on.take(0.1)
    assert on.series.due_at() == pytest.approx(0.3)
    on.series.tick(0.31)
    on.series.tick(0.6)
    while on.store(0.6):
        pass
    assert on.placed == [(0, b"\x01" * 160), (320, b"\x03" * 160)]
    assert on.tally.hole_s == pytest.approx(0.02)


def test_7_what_waits_goes_out_with_the_end() -> None:
    on = On()
    for number in (1, 3):
        on.series.hear(bytes([number]) * 160, 0.1, 0, number * 20.0, number)
    on.take(0.1)
    on.series.finish("stop", 0.12)
    while on.store(0.12):
        pass
    assert [position for position, _ in on.placed] == [0, 320]
