"""What the rows of two channels check beyond the promises: that the fault was there, and what it may cost."""

from __future__ import annotations

from typing import Any

import pytest

from trio_asr.lab.chaos.leg_rows import ROWS
from trio_asr.lab.chaos.row import ChaosRun, Finding, Row
from trio_asr.lab.rig.account import Account
from trio_asr.lab.rig.count import CallAccount, ChannelAccount
from trio_asr.lab.rig.evidence import Evidence

NO_RIG: Any = None


def row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def check(
    name: str, *channels: ChannelAccount, received_s: tuple[float, ...] = ()
) -> tuple[list[str], list[str]]:
    """Return what a row finds broken in a call `a`, and what it notes."""
    opened = [{"event": "connection_opened", "request_id": f"r{i}"} for i in range(len(received_s))]
    connections = [
        {"request_id": f"r{i}", "accepted_at": i, "audio_bytes": seconds * 16_000, "bytes_per_s": 16_000}
        for i, seconds in enumerate(received_s)
    ]
    found = Finding(
        ChaosRun(NO_RIG),
        Account({"a": CallAccount("a", list(channels))}),
        Evidence(events={"a": opened}, connections=connections),
    )
    return row(name).check(found), found.run.notes


def leg(samples: int = 128_000, **gaps: int) -> ChannelAccount:
    return ChannelAccount(samples=samples, gaps=gaps)


def test_every_row_has_two_channels() -> None:
    assert {row.shape.channels for row in ROWS} == {2}


@pytest.mark.parametrize(
    ("name", "received_s", "broken"),
    [
        ("leg-drop", (9.0, 12.0), []),
        ("leg-drop", (9.0, 7.5), ["a: 0.5 s were sent again"]),  # nobody lagged
        ("leg-drop", (9.0, 18.0), ["a: 11.0 s were sent again"]),
        ("leg-silent", (9.0, 10.0), []),
        ("leg-silent", (9.0, 12.0), ["a: 5.0 s were sent again"]),
    ],
)
def test_what_is_sent_again_is_what_lagged(
    name: str, received_s: tuple[float, ...], broken: list[str]
) -> None:
    said, notes = check(name, leg(), leg(8000), received_s=received_s)
    again = sum(received_s) - 16
    assert (said, notes) == (broken, [f"sent again: {again:.1f}-{again:.1f} s"])


def test_one_channel_alone_is_given_up() -> None:
    assert check("leg-unanswered", leg(), leg(unanswered=128_000)) == ([], [])
    (said,), _ = check("leg-unanswered", leg(unanswered=80), leg(unanswered=128_000))
    assert said == "a: channel 0 has gaps {'unanswered': 80}, not {}"
    (said,), _ = check("leg-unanswered", leg(), leg())
    assert said == "a: channel 1 has gaps {}, not {'unanswered': 128000}"


def test_a_long_hole_is_a_gap_of_its_length_on_each_channel() -> None:
    assert check("hole-30s", leg(source=240_000), leg(source=240_000)) == ([], [])
    (said,), _ = check("hole-30s", leg(source=240_000), leg())
    assert said == "a has gaps {}, not {'source': 240000}"
