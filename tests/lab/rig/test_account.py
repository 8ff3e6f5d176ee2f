"""The accounting itself: it must see every kind of mistake, or the tests that rely on it prove nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.lab.rig.account import account, longest_quiet_s, most_at_once, recovery_s
from trio_asr.lab.rig.count import CallAccount
from trio_asr.lab.rig.evidence import Evidence, Piece
from trio_asr.lab.rig.legs import ROLES, number_of, stamped
from trio_asr.lab.rig.present import fed
from trio_asr.lab.rig.spans import minus, repeated, size, union
from trio_asr.simulator.stamps import stamp
from trio_asr.wire.audio_format import audio_format

RATE = 8000
MONO, LEGS = audio_format(RATE), audio_format(RATE, "mulaw", 2)
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
LIFE: Any = [{"event": "started"}, OPENED, {"event": "ended"}]


def of(*finals: Any, events: Any = LIFE, audio: bytes | None = None, **more: Any) -> CallAccount:
    evidence = Evidence(
        audio={"a": [Piece(MONO, (), stamp(1, 0, RATE) if audio is None else audio)]},
        transcripts={"a": list(finals)},
        events={"a": events},
    )
    return account(evidence, {"a": RATE}, **more).calls["a"]


def figures(one: CallAccount) -> tuple[int, int, int, int, int]:
    (channel,) = one.channels
    return channel.samples, channel.covered, channel.lost, channel.doubled, one.strangers


def test_a_call_that_went_well() -> None:
    one = of(final(1, 0, 4000), final(2, 4000, 8000))
    assert figures(one) == (8000, 8000, 0, 0, 0)
    assert (one.shift_ms, one.faults, one.complete, one.connections) == (0, [], True, 1)


def test_a_single_lost_sample_is_seen() -> None:
    one = of(final(1, 0, 3999), final(2, 4000, 8000))
    assert figures(one) == (8000, 7999, 1, 0, 0)
    assert one.channels[0].missing == [(3999, 4000)]
    assert not one.complete


def test_a_single_doubled_sample_is_seen() -> None:
    assert figures(of(final(1, 0, 4001), final(2, 4000, 8000))) == (8000, 8000, 0, 1, 0)


def test_samples_of_another_call_or_from_nowhere_are_seen() -> None:
    assert figures(of(final(1, 0, 8000), final(2, 8000, 8100)))[4] == 100
    assert figures(of(final(1, 0, 8000), final(2, 8000, 8100, call=2)))[4] == 100


def test_a_gap_is_accounted_for_and_not_lost() -> None:
    gap = {"event": "gap", "reason": "skipped", "samples": 4000, "start_ms": 0, "end_ms": 500}
    one = of(final(1, 4000, 8000), events=[*LIFE[:2], gap, LIFE[2]])
    assert (one.gaps, one.total("lost")) == ({"skipped": 4000}, 0)


def test_what_the_source_left_out_makes_up_for_nothing() -> None:
    gap = {"event": "gap", "reason": "source", "samples": 4000, "start_ms": 0, "end_ms": 500}
    one = of(final(1, 4000, 8000), events=[*LIFE[:2], gap, LIFE[2]])
    assert (one.gaps, one.total("lost")) == ({"source": 4000}, 4000)


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
    one = of(final(1, 0, 4000), audio=stamp(1, 0, 4000), fed={"a": fed(1, 8000, MONO)})
    assert (figures(one), one.channels[0].missing) == ((8000, 4000, 4000, 0, 0), [(4000, 8000)])


# -- two channels --------------------------------------------------------------------------------------------


def leg(seq: int, first: int, last: int, channel: int, *, words_of: int | None = None, **more: Any) -> Any:
    said = number_of(1, channel if words_of is None else words_of)
    return final(seq, first, last, call=said) | {"channel": channel, "role": ROLES[channel]} | more


def of_two(*finals: Any, events: Any = LIFE) -> CallAccount:
    evidence = Evidence(
        audio={"a": [Piece(LEGS, ROLES, stamped(LEGS, 1, 0, RATE))]},
        transcripts={"a": list(finals)},
        events={"a": events},
    )
    return account(evidence, {"a": RATE}).calls["a"]


def test_each_channel_has_an_account_of_its_own() -> None:
    one = of_two(leg(1, 0, 4000, 0), leg(2, 0, 8000, 1), leg(3, 4001, 8000, 0), leg(4, 7000, 8000, 1))
    left, right = one.channels
    assert (left.samples, left.covered, left.lost, left.doubled, left.missing) == (
        8000, 7999, 1, 0, [(4000, 4001)],
    )  # fmt: skip
    assert (right.samples, right.covered, right.lost, right.doubled) == (8000, 8000, 0, 1000)
    assert (one.total("lost"), one.strangers) == (1, 0)
    # Its channel's order is that of its finals, not that of the other's.
    assert one.faults == ["seq 4 begins at 875, before 1000"]


def test_a_gap_is_that_of_its_channel() -> None:
    gap: Any = {"event": "gap", "reason": "unanswered", "samples": 4000, "channel": 1, "role": "agent"}
    events = [*LIFE[:2], gap, LIFE[2]]
    one = of_two(leg(1, 0, 8000, 0), leg(2, 0, 4000, 1), events=events)
    assert [channel.gaps for channel in one.channels] == [{}, {"unanswered": 4000}]
    assert (one.total("lost"), one.faults) == (0, [])
    other = of_two(leg(1, 0, 4000, 0), leg(2, 0, 8000, 1), events=events)
    assert [channel.lost for channel in other.channels] == [4000, 0]
    for wrong in (2, -1, None):
        assert of_two(events=[{**gap, "channel": wrong}]).faults[0] == f"a gap on channel {wrong} of 2"


def test_words_of_the_other_channel_or_role_are_seen() -> None:
    assert of_two(leg(1, 0, 8000, 0), leg(2, 0, 8000, 1)).faults == []
    for wrong in (
        leg(2, 0, 8000, 0, words_of=1),
        leg(2, 0, 8000, 1, role="customer"),
        {name: value for name, value in leg(2, 0, 8000, 1).items() if name not in ("channel", "role")},
    ):
        (fault,) = of_two(leg(1, 0, 8000, 1 - wrong.get("channel", 1)), wrong).faults[-1:]
        assert fault.startswith("seq 2 is of ")
    assert "is of" in of(final(1, 0, 8000, channel=0)).faults[0]  # mono calls say nothing of channels


def test_a_call_may_become_one_of_two_channels() -> None:
    before, after = stamp(1, 0, 4000), stamped(LEGS, 1, 4000, 4000)
    evidence = Evidence(
        audio={"a": [Piece(MONO, (), before), Piece(LEGS, ROLES, after)]},
        transcripts={"a": [final(1, 0, 4000), leg(2, 4000, 8000, 1), leg(3, 4000, 8000, 0)]},
        events={"a": LIFE},
    )
    one = account(evidence, {"a": RATE}).calls["a"]
    assert [(channel.samples, channel.covered) for channel in one.channels] == [(8000, 8000), (4000, 4000)]
    assert (one.faults, one.strangers, one.shift_ms) == ([], 0, 0)


def connection(request_id: str, accepted_at: float | None, closed_at: float | None, **more: Any) -> Any:
    return {
        "request_id": request_id,
        "accepted_at": accepted_at,
        "closed_at": closed_at,
        "status": 101 if accepted_at is not None else 503,
        "silence_s": 1.0,
        "speed": 1.0,
        "first_audio_at": None,
    } | more


def test_two_sockets_of_a_call_at_once_are_seen() -> None:
    opened = [{**OPENED, "request_id": f"r{i}", "connection": i} for i in (1, 2, 3)]
    for closed_at, overlaps in [(5.0, 0), (5.1, 1), (None, 1)]:
        found = account(
            Evidence(
                audio={"a": [Piece(MONO, (), stamp(1, 0, 80))]},
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


def test_how_many_connections_were_open_at_once() -> None:
    connections = [
        connection("r1", 1, 5),
        connection("r2", 2, None),
        connection("r3", 5, 6),  # as another one closes
        connection("r4", None, 7),  # was refused
        connection("r5", 7, 8),
    ]
    assert most_at_once(Evidence(connections=connections)) == 2
    assert most_at_once(Evidence(connections=[*connections, connection("r6", 5.5, None)])) == 3
    assert most_at_once(Evidence()) == 0


def test_two_sockets_of_a_call_that_get_audio_at_once_are_seen() -> None:
    opened = [{**OPENED, "request_id": f"r{i}", "connection": i} for i in (1, 2, 3, 4)]
    for until, fed_overlaps, unfed_s, together_s in [
        (3.0, 0, 1.5, 0.0),
        (4.0, 0, 1.5, 0.0),
        (4.5, 1, 1.5, 0.5),
        (9.0, 2, -2.5, 5.0),
    ]:
        connections = [
            connection("r1", 1, None, first_audio_at=1.0, last_audio_at=until),
            connection("r2", 3, 6, first_audio_at=4.0, last_audio_at=5.0),
            connection("r3", 6, 7),  # was never fed
            connection("r4", 6, None, first_audio_at=6.5, last_audio_at=8.0),
        ]
        found = account(Evidence(events={"a": opened}, connections=connections), {"a": RATE})
        assert (found.fed_overlaps, found.unfed_s, found.fed_together_s) == (
            fed_overlaps,
            unfed_s,
            together_s,
        )
    assert account(Evidence(), {}).unfed_s == 0.0


def test_recovery_is_that_of_the_slowest_call_that_went_on() -> None:
    evidence = Evidence(
        transcripts={
            "a": [final(1, 0, 8000, timestamp_ms=2000), final(2, 0, 8000, timestamp_ms=4000)],
            "b": [final(1, 0, 8000, timestamp_ms=5500), final(2, 0, 8000, timestamp_ms=9000)],
            "over": [final(1, 0, 8000, timestamp_ms=2500)],
            "later": [final(1, 0, 8000, timestamp_ms=8000)],
        }
    )
    begun = ["a", "b", "over", "silent"]
    assert recovery_s(evidence, begun, 3000) == 2.5
    assert recovery_s(evidence, begun, 10_000) == 0.0


def test_the_longest_time_between_two_finals_of_a_call() -> None:
    def finals(*timestamps_ms: int) -> list[Any]:
        return [final(i, 0, 8000, timestamp_ms=one) for i, one in enumerate(timestamps_ms)]

    partial = {"type": "partial", "timestamp_ms": 3000}
    evidence = Evidence(
        transcripts={"a": [*finals(1000, 2000), partial, *finals(4500)], "b": finals(0), "c": finals(0, 9000)}
    )
    assert longest_quiet_s(evidence, ["a", "b", "none"]) == 2.5
    assert longest_quiet_s(evidence, ["c"]) == 9.0
    assert longest_quiet_s(evidence, []) == 0.0
