"""`trio-asr fleet plan`: a small fleet played to the end, what it needs, and what it warns of."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from trio_asr.lab.fleet.command import fleet
from trio_asr.lab.fleet.needs import needs, warnings
from trio_asr.lab.fleet.phases import Play


def test_a_small_fleet_is_played_to_the_end() -> None:
    phases = {phase.name: phase for phase in Play(64, 8, 1, 5.0, 120).phases()}
    assert phases["idle"].moves == 0
    assert phases["+1 members"].moves == phases["+1 members"].needed == 7
    assert phases["deploy, surge 10 %"].moves <= 80
    assert phases["deploy, surge 10 %"].unowned_s == 0
    assert phases["crash of 5 %"].unowned_s < 9
    assert phases["crash of a third"].unowned_s < 15


def test_the_same_seed_plays_the_same() -> None:
    first, second = (list(Play(16, 3, 7, 5.0, 10).phases()) for _ in range(2))
    assert first == second


def test_what_a_hundred_thousand_calls_need() -> None:
    assert needs(100_000, 200, 2048) == [
        ("Redis primaries, 20 ms frames", "250"),
        ("Redis primaries, 20 ms frames, 16 at once", "90"),
        ("Redis primaries, 100 ms frames", "56"),
        ("Redis primaries, 100 ms frames, 16 at once", "31"),
        ("Redis memory with redis.trim", "45.0 GB"),
        ("connections at Deepgram, with one member's headroom", "100500"),
        ("silence of a call at a hand-over", "374 ms"),
    ]
    assert warnings(100_000, 200, 2048) == []


def test_few_shards_and_many_calls_are_warned_of() -> None:
    assert warnings(1000, 4, 10) == [
        "fewer than 10 shards a member: loads are uneven; take 40",
        "more than 50 calls a shard: hand-overs are slow; take 20 shards",
    ]


def test_the_command_shows_it() -> None:
    result = CliRunner().invoke(
        fleet, ["plan", "--calls", "100", "--shards", "16", "--members", "2", "--minutes", "1"]
    )
    assert result.exit_code == 0
    assert result.output.startswith("                       moves moves/needed   unowned s  worst member")
    assert "warning: fewer than 10 shards a member" in result.output


@pytest.mark.parametrize("wrong", [["--members", "65"], ["--shards", "16385"], ["--calls", "0"]])
def test_what_cannot_be_is_wrong_usage(wrong: list[str]) -> None:
    result = CliRunner().invoke(fleet, ["plan", *wrong])
    assert result.exit_code == 2
    assert "Error: " in result.output
