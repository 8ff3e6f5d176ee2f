"""What the rows through the ingest check beyond the promises, and how they account for the first hop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from trio_asr.lab.chaos.bad_peers import frame, request
from trio_asr.lab.chaos.ingest_calls import IngestCall, judge_hop, one_hole
from trio_asr.lab.chaos.ingest_rows import ROWS
from trio_asr.lab.chaos.row import ChaosRun, Finding
from trio_asr.lab.chaos.running import Terms
from trio_asr.lab.dial.platforms import PLATFORMS, fitted
from trio_asr.lab.dial.report import Report, SocketReport
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.added import Added, added
from trio_asr.lab.rig.callers import Callers, DialledCall
from trio_asr.lab.rig.count import CallAccount, ChannelAccount
from trio_asr.lab.rig.evidence import Evidence, Piece
from trio_asr.lab.rig.legs import ROLES, stamped
from trio_asr.lab.rig.shape import TWO_LEGS
from trio_asr.lab.rig.spans import Span, minus, size
from trio_asr.wire.call_entries import EntryWriter, end_entry

NO_RIG: Any = None
WHOLE = (0, 80_000)


def finding(
    sockets: Sequence[Sequence[Span]],
    stored: Sequence[Span],
    *,
    call: DialledCall | None = None,
    ages: Sequence[float] = (0.0, 0.0),
    shift_ms: float = 0.0,
) -> Finding:
    """Return what is found of a call of 10 s with two legs of which Redis has `stored`, all in finals."""
    call = call or IngestCall("a", 1, 10.0, shape=TWO_LEGS).dialled
    form = call.dial.recording.format
    report = Report("a", None)
    for number, (spans, age_s) in enumerate(zip(sockets, ages, strict=False), 1):
        report.sockets.append(one := SocketReport(number, age_s=age_s))
        for leg in range(2):
            for span in spans:
                one.send(leg, *span)
    channels = [
        ChannelAccount(
            samples=call.samples,
            covered=size(stored),
            lost=call.samples - size(stored),
            missing=minus([WHOLE], stored),
        )
        for _ in range(2)
    ]
    run = ChaosRun(NO_RIG)
    run.callers = Callers([call], NO_RIG)
    run.callers.reports["a"] = report
    audio = [Piece(form, ROLES, stamped(form, 1, first, last - first)) for first, last in stored]
    account = Account({"a": CallAccount("a", channels, shift_ms=shift_ms)})
    return Finding(run, account, Evidence(audio={"a": audio}))


def judged(
    found: Finding, *, entries: Sequence[Span] = (WHOLE,), ends: Sequence[str] = ("stop",)
) -> list[str]:
    return judge_hop(found, Added({"a": list(entries)}, {"a": list(ends)}))


def given_up(found: Finding) -> list[tuple[dict[str, int], int]]:
    return [(channel.gaps, channel.lost) for _, channel in found.account.channels]


def test_all_that_was_spoken_is_there() -> None:
    found = finding([[WHOLE]], [WHOLE])
    assert judged(found) == []
    assert given_up(found) == [({}, 0)] * 2


def test_what_no_socket_had_was_not_sent_and_what_redis_has_not_was_not_stored() -> None:
    found = finding([[(0, 40_000)], [(48_000, 80_000)]], [(0, 39_200), (48_000, 80_000)])
    assert judged(found) == []
    assert given_up(found) == [({"not sent": 8000, "not stored": 800}, 0)] * 2


def test_what_is_on_redis_and_in_no_final_stays_lost() -> None:
    found = finding([[(0, 40_000)], [(48_000, 80_000)]], [(0, 40_000), (48_000, 80_000)])
    found.account.calls["a"].channels[1].lost += 160
    assert judged(found) == []
    assert given_up(found) == [({"not sent": 8000}, 0), ({"not sent": 8000}, 160)]


@pytest.mark.parametrize(
    ("ends", "said"), [((), "0 ends: []"), (("stop", "idle"), "2 ends: ['stop', 'idle']")]
)
def test_each_call_has_one_end(ends: Sequence[str], said: str) -> None:
    assert judged(finding([[WHOLE]], [WHOLE]), ends=ends) == [f"a has {said}"]


def test_nothing_is_on_the_stream_twice() -> None:
    entries = [(0, 800), (800, 1600), (1599, 80_000)]
    assert judged(finding([[WHOLE]], [WHOLE]), entries=entries) == [
        "a is on the stream twice from position 1599 on"
    ]


def test_a_shift_is_one_but_for_what_the_caller_was_late() -> None:
    assert judged(finding([[WHOLE]], [WHOLE], shift_ms=20.0)) == []
    assert judged(finding([[WHOLE]], [WHOLE], shift_ms=21.0)) == ["a is shifted by 21 ms"]
    two = [[(0, 40_000)], [(40_000, 80_000)]]
    assert judged(finding(two, [WHOLE], ages=(0.2, 0.25), shift_ms=60.0)) == []
    assert judged(finding(two, [WHOLE], ages=(0.2, 0.25), shift_ms=80.0)) == ["a is shifted by 30 ms"]


@pytest.mark.parametrize(
    ("stored", "right"),
    [
        ([(0, 40_000), (48_000, 80_000)], True),
        ([(0, 39_200), (48_000, 80_000)], True),  # 100 ms were not stored yet
        ([(0, 39_199), (48_000, 80_000)], False),
        ([(0, 40_000), (48_008, 80_000)], False),
        ([(0, 16_000), (16_160, 40_000), (48_000, 80_000)], False),
        ([WHOLE], False),
    ],
)
def test_the_hole_is_where_no_socket_was(
    stored: list[Span], right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_asr.lab.chaos.ingest_calls.first_hop", lambda _: [])
    found = finding([[(0, 40_000)], [(48_000, 80_000)]], stored)
    assert (one_hole(0.1)(found) == []) is right


@pytest.mark.integration
def test_what_is_on_redis_is_read(redis_url: str) -> None:
    form = TWO_LEGS.format(8000)
    writer = EntryWriter("a", "acme", form, ROLES)
    with redis.Redis.from_url(redis_url) as client:
        for number, position in enumerate((0, 160, 300), 1):
            entry = writer.entry(position, number, 0.0, stamped(form, 1, position, 160))
            client.xadd("audio_stream", {"m": entry})
        client.xadd("call_end", {"data": end_entry("a", "acme", "stop")})
    found = added(redis_url)
    assert found.entries == {"a": [(0, 160), (160, 320), (300, 460)]}
    assert found.again("a") == [(300, 460)]
    assert found.ends == {"a": ["stop"]}


def test_the_calls_of_all_rows_can_be_placed() -> None:
    for row in ROWS:
        for call in row.calls():
            assert isinstance(call, IngestCall)
            dial = call.dialled.dial
            assert fitted(dial).recording.format == dial.recording.format  # stamps would not survive
            assert dial.platform in PLATFORMS


def test_platforms_have_forms_of_their_own() -> None:
    assert {Terms().unfit(row) for row in ROWS} == {""}
    for terms in (Terms(channels=2), Terms(encoding="mulaw"), Terms(positions=True)):
        assert {terms.unfit(row) for row in ROWS} == {"platforms send audio in forms of their own"}


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_bad_peer_speaks_the_protocol_as_far_as_it_likes(size: int) -> None:
    server = ServerProtocol(max_size=None)
    server.receive_data(request("/twilio"))
    (asked,) = server.events_received()
    server.send_response(server.accept(asked))  # type: ignore[arg-type]
    server.receive_data(frame(1, b"x" * size))
    assert server.events_received() == [Frame(Opcode.TEXT, b"x" * size)]
