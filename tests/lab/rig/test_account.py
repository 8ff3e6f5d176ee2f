"""The accounting itself: it must see every kind of mistake, or the tests that rely on it prove nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.lab.rig.account import CallAccount, account, recovery_s
from trio_asr.lab.rig.evidence import Evidence
from trio_asr.lab.rig.spans import minus, repeated, size, union
from trio_asr.simulator.stamps import stamp

RATE = 8000
SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).map(tuple), max_size=8)


def samples(spans: Any) -> list[int]:
    return [sample for first, last in spans for sample in range(first, last)]


@given(SPANS, SPANS)
def test_spans_are_sets_of_samples(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    assert samples(union(one)) == sorted(set(samples(one)))
    assert samples(minus(one, other)) == sorted(set(samples(one)) - set(samples(other)))
    assert size(one) == len(samples(one))
    assert repeated(one) == len(samples(one)) - len(set(samples(one)))


def final(seq: int, first: int, last: int, *, call: int = 1, shift_ms: int = 0, **more: Any) -> Any:
    word = f"c{call}:{first}-{last}"
    start_ms, end_ms = first * 1000 // RATE + shift_ms, last * 1000 // RATE + shift_ms
    return {
        "type": "final",
        "seq": seq,
        "text": word,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "timestamp_ms": 1000 + end_ms,
        "words": [{"word": word, "start_ms": start_ms, "end_ms": end_ms}],
    } | more


OPENED = {"event": "connection_opened", "connection": 1, "request_id": "r1"}
LIFE = [{"event": "started"}, OPENED, {"event": "ended"}]


def of(*finals: Any, events: Any = LIFE, audio: bytes | None = None, **more: Any) -> CallAccount:
    evidence = Evidence(
        audio={"a": stamp(1, 0, RATE) if audio is None else audio},
        transcripts={"a": list(finals)},
        events={"a": events},
    )
    return account(evidence, {"a": RATE}, **more).calls["a"]


def figures(one: CallAccount) -> tuple[int, int, int, int, int]:
    return one.samples, one.covered, one.lost, one.doubled, one.strangers


def test_a_call_that_went_well() -> None:
    one = of(final(1, 0, 4000), final(2, 4000, 8000))
    assert figures(one) == (8000, 8000, 0, 0, 0)
    assert (one.shift_ms, one.faults, one.complete, one.connections) == (0, [], True, 1)


def test_a_single_lost_sample_is_seen() -> None:
    one = of(final(1, 0, 3999), final(2, 4000, 8000))
    assert figures(one) == (8000, 7999, 1, 0, 0)
    assert one.missing == [(3999, 4000)]
    assert not one.complete


def test_a_single_doubled_sample_is_seen() -> None:
    assert figures(of(final(1, 0, 4001), final(2, 4000, 8000))) == (8000, 8000, 0, 1, 0)


def test_samples_of_another_call_or_from_nowhere_are_seen() -> None:
    assert figures(of(final(1, 0, 8000), final(2, 8000, 8100)))[4] == 100
    assert figures(of(final(1, 0, 8000), final(2, 8000, 8100, call=2)))[4] == 100


def test_a_gap_is_accounted_for_and_not_lost() -> None:
    gap = {"event": "gap", "reason": "skipped", "samples": 4000, "start_ms": 0, "end_ms": 500}
    one = of(final(1, 4000, 8000), events=[*LIFE[:2], gap, LIFE[2]])
    assert (one.gaps, one.lost) == ({"skipped": 4000}, 0)


def test_a_shift_is_seen() -> None:
    assert of(final(1, 0, 4000), final(2, 4000, 8000, shift_ms=31)).shift_ms == 31


def test_two_series_have_the_times_of_their_order() -> None:
    audio = stamp(1, 0, 800) + stamp(2, 0, 800)
    said = [final(1, 0, 800), final(2, 0, 800, call=2, shift_ms=100)]
    assert of(*said, audio=audio, by_order=True).shift_ms == 0
    assert of(*said, audio=audio).shift_ms == 100


def test_faults_of_the_sequence_are_seen() -> None:
    assert "strictly" in of(final(1, 0, 4000), final(1, 4000, 8000)).faults[0]
    assert "before" in of(final(1, 4000, 8000), final(2, 0, 4000)).faults[0]
    assert (
        "empty"
        in of(final(1, 0, 8000), {**final(2, 0, 0), "text": " ", "words": [], "type": "partial"}).faults[0]
    )
    assert "out of range" in of(final(0, 0, 8000)).faults[0]
    assert "words" in of(final(1, 0, 8000, words=[])).faults[0]
    assert "reused" in of(final(1, 0, 8000), events=[OPENED, OPENED]).faults[0]


def test_a_call_that_goes_on_has_not_ended() -> None:
    assert not of(final(1, 0, 8000), events=[*LIFE, {"event": "resumed"}]).ended


def test_what_was_cut_from_the_stream_is_known_from_the_feeder() -> None:
    one = of(final(1, 0, 4000), audio=stamp(1, 0, 4000), fed={"a": (1, 8000)})
    assert (one.samples, one.lost, one.missing) == (8000, 4000, [(4000, 8000)])


def connection(request_id: str, accepted_at: float | None, closed_at: float | None, **more: Any) -> Any:
    return {
        "request_id": request_id,
        "accepted_at": accepted_at,
        "closed_at": closed_at,
        "status": 101 if accepted_at is not None else 503,
        "silence_s": 1.0,
        "speed": 1.0,
    } | more


def test_two_sockets_of_a_call_at_once_are_seen() -> None:
    opened = [{**OPENED, "request_id": f"r{i}", "connection": i} for i in (1, 2, 3)]
    for closed_at, overlaps in [(5.0, 0), (5.1, 1), (None, 1)]:
        found = account(
            Evidence(
                audio={"a": stamp(1, 0, 80)},
                events={"a": opened},
                connections=[
                    connection("r1", 1, closed_at, speed=1.3),
                    connection("r2", 5, 6, silence_s=4.0),
                    connection("r3", 6, None),
                    connection("r4", 6, None),
                    connection("r5", None, 7),
                ],
            ),
            {"a": RATE},
        )
        assert (found.overlaps, found.dialled, found.refused, found.unannounced) == (overlaps, 4, 1, 1)
        assert (found.speed, found.silence_s) == (1.3, 4.0)


def test_recovery_is_that_of_the_slowest_call_that_went_on() -> None:
    evidence = Evidence(
        transcripts={
            "a": [final(1, 0, 8000, timestamp_ms=2000), final(2, 0, 8000, timestamp_ms=4000)],
            "b": [final(1, 0, 8000, timestamp_ms=5500), final(2, 0, 8000, timestamp_ms=9000)],
            "over": [final(1, 0, 8000, timestamp_ms=2500)],
        }
    )
    assert recovery_s(evidence, 3000) == 2.5
    assert recovery_s(evidence, 10_000) == 0.0
