"""The pure parts of the load command: what is fed, what is made of the counters, what was lost."""

from __future__ import annotations

import base64
import json
import math

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from trio_asr.client.audio import Recording
from trio_asr.client.producer import Call, Entries
from trio_asr.lab.load.account import Published, account, delays_s
from trio_asr.lab.load.feeder import Fed
from trio_asr.lab.load.frames import Frames
from trio_asr.lab.load.measure import exact_percentile, stat_cpu_s
from trio_asr.lab.load.plan import TICKS, Plan
from trio_asr.lab.load.report import Measured, Reading, Usage, report, table
from trio_asr.lab.rig.legs import ROLES, number_of, stamped
from trio_asr.lab.rig.page import Page
from trio_asr.simulator.stamps import read
from trio_asr.wire.audio_format import Encoding

PLAN = Plan(calls=3, seconds=4, ramp_s=1.0)
LEGS = Plan(calls=2, seconds=4, ramp_s=1.0, channels=2, encoding="mulaw", entries=Entries.MSGPACK)


def final(number: int, *spans: tuple[int, int], kind: str = "final", at_ms: int = 0) -> Published:
    return Published(at_ms, {"type": kind, "text": " ".join(f"c{number}:{a}-{b}" for a, b in spans)})


def life(plan: Plan = PLAN) -> list[dict[str, str]]:
    return [
        {"interaction_id": plan.name(number), "event": event}
        for number in range(1, plan.calls + 1)
        for event in ("started", "connection_opened", "ended")
    ]


def everything(plan: Plan = PLAN) -> dict[int, list[Published]]:
    return {number: [final(number, (0, plan.samples(number)))] for number in range(1, plan.calls + 1)}


# -- what is fed -------------------------------------------------------------------------------------------


def test_all_calls_are_in_progress_throughout_the_window() -> None:
    begin, end = PLAN.window
    for number in range(1, PLAN.calls + 1):
        first = PLAN.first_tick(number) * PLAN.tick_s
        assert first < PLAN.ramp_s < begin
        assert first + PLAN.frames(number) * PLAN.frame_ms / 1000 >= end - PLAN.frame_ms / 1000


def test_a_frame_is_added_once_it_was_spoken() -> None:
    first = PLAN.first_tick(2)
    assert PLAN.spoken_s(2, 1) == PLAN.spoken_s(2, 160) == pytest.approx((first + TICKS) * PLAN.tick_s)
    assert PLAN.spoken_s(2, 161) == pytest.approx((first + 2 * TICKS) * PLAN.tick_s)


@pytest.mark.parametrize("frame_ms", [20, 40, 36])
def test_frames_hold_the_calls_samples_in_order(frame_ms: int) -> None:
    plan = Plan(calls=1, seconds=2, frame_ms=frame_ms, ramp_s=0.1)
    frames, pcm, seqs = Frames(plan, 1), b"", []
    while frames.left:
        command = frames.next(1234)
        data = command[command.index(b"{") : -2]
        assert f"${len(data)}\r\n".encode() in command
        document = json.loads(data)
        assert document["interaction_id"] == plan.name(1)
        assert document["timestamp_ms"] == 1234
        seqs.append(document["seq"])
        pcm += base64.b64decode(document["audio"], validate=True)
    assert seqs == list(range(1, plan.frames(1) + 1))
    assert read(pcm) == [(1, 0, plan.samples(1))]


@pytest.mark.parametrize("entries", list(Entries))
@pytest.mark.parametrize(
    ("channels", "encoding"), [(1, "linear16"), (1, "alaw"), (2, "linear16"), (2, "mulaw")]
)
def test_frames_made_cheaply_are_those_of_every_producer(
    channels: int, encoding: Encoding, entries: Entries
) -> None:
    plan = Plan(calls=1, seconds=1, ramp_s=0.1, channels=channels, encoding=encoding, entries=entries)
    frames, samples = Frames(plan, 1), plan.samples(1)
    roles = ROLES if channels == 2 else ()
    recording = Recording(stamped(plan.format, 1, 0, samples), plan.format)
    call = Call(plan.name(1), recording, "load", roles, entries)
    for number in range(plan.frames(1)):
        field, document = call.frame(number, plan.frame_ms, 1_700_000_000_000 + number)
        command = frames.next(1_700_000_000_000 + number)
        if entries is Entries.MSGPACK:
            head, _, data = command.removesuffix(b"\r\n").partition(b"$1\r\nm\r\n")
            assert (field, msgspec.msgpack.decode(data.split(b"\r\n", 1)[1])) == (
                "m", msgspec.msgpack.decode(document),
            )  # fmt: skip
            assert len(data.split(b"\r\n", 1)[1]) == len(document)
        else:
            head = command.removesuffix(b"$4\r\ndata\r\n$%d\r\n%b\r\n" % (len(document), document))
        assert head == b"*5\r\n$4\r\nXADD\r\n$12\r\naudio_stream\r\n$1\r\n*\r\n"
    assert frames.left == 0


def test_frames_and_ends_go_into_the_shard_of_their_call() -> None:
    """`load-00001` is in shard 0 of 8."""
    plan = Plan(calls=1, seconds=1, ramp_s=0.1, shards=8, group="g")
    frames = Frames(plan, 1)
    assert frames.next(0).startswith(b"*5\r\n$4\r\nXADD\r\n$18\r\n{g.0}:audio_stream\r\n")
    assert frames.end(0).startswith(b"*5\r\n$4\r\nXADD\r\n$14\r\n{g.0}:call_end\r\n")
    assert plan.input == "mono, linear16, json, 8 shards"


# -- what is made of counters ------------------------------------------------------------------------------


def test_percentiles_of_what_was_observed_between_two_pages() -> None:
    registry = CollectorRegistry()
    seen = Histogram("delay_seconds", "Text.", buckets=(0.01, 0.02, 0.05), registry=registry)
    seen.observe(9.0)
    before = Page(generate_latest(registry).decode()).histogram("delay_seconds")
    for _ in range(50):
        seen.observe(0.005)
        seen.observe(0.015)
    after = Page(generate_latest(registry).decode()).histogram("delay_seconds")
    between = after.since(before)
    assert sum(between.counts) == 100
    assert between.quantile(0.5) == pytest.approx(0.01)
    assert between.quantile(0.75) == pytest.approx(0.015)
    assert after.quantile(1) == math.inf
    assert before.since(before).quantile(0.5) is None


def test_pages_are_read_with_and_without_labels() -> None:
    page = Page('# HELP x y\nx_total 3.0\ny_total{reason="a b"} 1.0\ny_total{reason="c"} 2.5\n')
    assert (page.value("x_total"), page.value("y_total"), page.value("z")) == (3, 0, 0)


def test_cpu_time_is_found_behind_any_name() -> None:
    line = "7 (a) b (c) S 1 7 7 0 -1 0 1 2 3 4 150 50 0 0 20 0 3 0 1 1 1"
    assert stat_cpu_s(line) == pytest.approx(stat_cpu_s("7 (x) S 1 7 7 0 -1 0 1 2 3 4 0 200 0 0 20 0 3"))


def test_exact_percentiles() -> None:
    assert exact_percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert exact_percentile([float(n) for n in range(1, 101)], 99) == 99.0
    assert math.isnan(exact_percentile([], 50))


# -- what was lost -----------------------------------------------------------------------------------------


def test_a_perfect_run() -> None:
    found = account(PLAN, everything(), life())
    assert (found.fed, found.lost, found.connections) == (found.covered, 0, 3)
    assert (found.gaps, found.doubled, found.strangers, found.unended) == (0, 0, 0, 0)


def test_losses_gaps_repeats_strangers_and_open_calls_are_told_apart() -> None:
    said = everything()
    said[1] = [final(1, (0, 1600), (2400, PLAN.samples(1)))]
    said[2] = [*said[2], final(2, (800, 1000)), final(3, (0, 80))]
    gap = {"interaction_id": PLAN.name(1), "event": "gap", "samples": 500, "reason": "retention"}
    found = account(PLAN, said, [*life()[:-1], gap])
    assert found.covered == found.fed - 800
    assert (found.gaps, found.lost, found.doubled, found.strangers, found.unended) == (500, 300, 200, 80, 1)


def leg(number: int, channel: int, *spans: tuple[int, int], words_of: int | None = None) -> Published:
    """A final of one channel of a call, with the words of that channel."""
    said = final(number_of(number, channel if words_of is None else words_of), *spans)
    return Published(0, said.message | {"channel": channel})


def test_each_channel_counts_for_itself() -> None:
    whole = [(0, LEGS.samples(number)) for number in (1, 2)]
    said = {
        number: [leg(number, channel, span) for channel in (0, 1)] for number, span in enumerate(whole, 1)
    }
    found = account(LEGS, said, life(LEGS))
    assert (found.fed, found.lost, found.strangers) == (found.covered, 0, 0)
    assert found.fed == 2 * sum(LEGS.samples(number) for number in (1, 2))
    said[2][1] = leg(2, 1, (800, LEGS.samples(2)))
    said[2].append(leg(2, 0, (0, 100), words_of=1))
    gap = {"interaction_id": LEGS.name(2), "event": "gap", "samples": 500, "reason": "retention"}
    found = account(LEGS, said, [*life(LEGS), gap | {"channel": 0}])
    assert (found.lost, found.gaps, found.strangers) == (700, 500, 100)
    assert account(LEGS, said, [*life(LEGS), gap | {"channel": 1}]).lost == 200


def test_delays_count_from_the_adding_of_the_last_sample_and_within_the_window_only() -> None:
    sample = 8000 * 5
    spoken = PLAN.spoken_s(1, sample)
    at_ms = 1000 + round(spoken * 1000) + 70
    said = {1: [final(1, (sample - 800, sample), kind="partial", at_ms=at_ms), final(1, (0, 800))]}
    assert delays_s(PLAN, 1000, said, "partial") == [pytest.approx(0.07, abs=0.001)]
    assert delays_s(PLAN, 1000, said, "final") == []


# -- what is shown -----------------------------------------------------------------------------------------


def measured(late: int = 0) -> Measured:
    begin = Reading(10.0, Usage(1.0, 1.0, 1.0, 1.0, 0), Page(""))
    end = Reading(14.0, Usage(1.6, 1.2, 1.1, 1.1, 10_000_000 + 3 * 102_400), Page(""))
    found = account(PLAN, everything(), life())
    fed = Fed(frames=100, late=late)
    return Measured(PLAN, False, 10_000_000, 0.001, begin, end, found, fed, 512.25, [0.1, 0.2], [])


def test_the_report_works_out_the_cost() -> None:
    one = report(measured())
    assert one.cpu_ms_per_call_second == pytest.approx(0.6 / 4 / 3 * 1000)
    assert one.calls_per_core == 20
    assert one.memory_kb_per_call == 100
    assert one.partial_delay.p99 == 200
    assert one.redis_bytes_per_call_second == round(512.25 * 50)
    assert one.send_delay.p50 is None
    assert not one.complaints
    assert one.input == "mono, linear16, json"
    assert table(one).row_count > 5


def test_a_feeder_that_was_late_is_complained_of_and_no_failure_of_the_daemon() -> None:
    one = report(measured(late=7))
    assert "late with 7 of 100 frames" in one.complaints[0]
    assert one.failures == []


def test_what_the_daemon_lost_is_a_failure_and_complained_of() -> None:
    seen = measured()
    seen.account.lost = 80
    one = report(seen)
    assert one.failures == one.complaints == ["80 samples are lost"]
