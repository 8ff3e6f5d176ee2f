"""Each rule of pulling, with the instants at which it holds."""

from __future__ import annotations

from typing import Any

from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import Pulling, Step
from trio_asr.core.fleet.view import View


def member(name: str, held: str | dict[int, float] = "", **fields: Any) -> Beat:
    """Return a beat; shards that are named in a text have rested for ever."""
    rested = dict.fromkeys(map(int, held.split()), 1e6) if isinstance(held, str) else held
    loads = {shard: Load(rested_s=seconds) for shard, seconds in rested.items()}
    return Beat(**{"member": name, "incarnation": "1", "capacity": 10, "held": loads, **fields})


def leases(shards: int, *beats: Beat) -> list[str | None]:
    holders: list[str | None] = [""] * shards
    for beat in beats:
        for shard in beat.held:
            holders[shard] = beat.member
    return holders


class Played:
    """One member's rules among beats that stay as they are."""

    def __init__(self, *beats: Beat, shards: int = 4) -> None:
        self.me, self.view = beats[0], View(leases(shards, *beats), beats)
        self.rules = Pulling(self.me.member)

    def at(self, now: float) -> Step:
        return self.rules.step(self.me, self.view, now)


def test_a_member_alone_takes_everything_after_five_seconds() -> None:
    played = Played(member("a"))
    assert [played.at(now).acquire for now in (0.0, 4.9)] == [[], []]
    assert sorted(played.at(5.0).acquire) == [0, 1, 2, 3]


def test_among_others_a_member_takes_its_share_after_two_seconds() -> None:
    played = Played(member("a"), member("b"))
    assert [played.at(now).acquire for now in (0.0, 1.9)] == [[], []]
    assert len(played.at(2.0).acquire) == 2


def test_a_share_is_by_capacity() -> None:
    played = Played(member("a", capacity=30), member("b", capacity=10))
    played.at(0.0)
    assert len(played.at(2.0).acquire) == 3


def test_who_joins_makes_the_others_wait_anew() -> None:
    played = Played(member("a"), member("b"))
    played.at(0.0)
    beats = [played.me, member("b"), member("c")]
    played.view = View(leases(4, *beats), beats)
    assert [played.at(now).acquire for now in (1.5, 3.4)] == [[], []]
    assert len(played.at(3.5).acquire) == 2


def test_beyond_its_share_a_member_takes_one_that_is_overdue() -> None:
    played = Played(member("a", "0 1"), member("b", "2"))
    assert [played.at(now).acquire for now in (0.0, 2.0, 4.9)] == [[], [], []]
    assert played.at(5.0).acquire == [3]


def test_a_shard_whose_node_cannot_be_asked_is_not_free() -> None:
    played = Played(member("a"))
    played.view = View(["", None, "", None], [played.me])
    played.at(0.0)
    assert sorted(played.at(5.0).acquire) == [0, 2]


def test_a_shard_kept_for_a_member_is_its_own_at_once_and_nobody_elses() -> None:
    back, other = member("a"), member("b", "2 3")
    kept = View(["heir:a", "heir:a", "b", "b"], [back, other])
    assert sorted(Pulling("a").step(back, kept, 0.0).acquire) == [0, 1]
    stranger = Pulling("b")
    assert [stranger.step(other, kept, now).acquire for now in (0.0, 2.0, 60.0)] == [[], [], []]


def test_a_race_that_was_lost_is_waited_for_a_little_longer_each_time() -> None:
    played = Played(member("a"), member("b"))
    played.at(0.0)
    played.rules.lost(2.0)
    assert (played.at(2.09).acquire, len(played.at(2.2).acquire)) == ([], 2)
    for _ in range(9):
        played.rules.lost(3.0)
    assert (played.at(3.49).acquire, len(played.at(4.0).acquire)) == ([], 2)
    played.rules.won()
    played.rules.lost(5.0)
    assert len(played.at(5.2).acquire) == 2


def test_a_joiner_asks_the_fullest_after_three_seconds_for_one() -> None:
    played = Played(member("a"), member("b", "0 1 2 3"), member("c", "4 5"), shards=6)
    assert [played.at(now).wants for now in (0.0, 2.9)] == [frozenset(), frozenset()]
    (wanted,) = played.at(3.0).wants
    assert wanted in {0, 1, 2, 3}


def test_a_joiner_that_lacks_more_than_twenty_asks_for_two() -> None:
    played = Played(member("a"), member("b", " ".join(map(str, range(42)))), shards=42)
    played.at(0.0)
    assert len(played.at(3.0).wants) == 2


def test_nobody_asks_where_the_giver_would_then_have_less() -> None:
    played = Played(member("a", "0"), member("b", "1 2"), shards=3)
    assert [played.at(now).wants for now in (0.0, 3.0, 60.0)] == [frozenset()] * 3


def test_a_shard_that_was_handed_over_rests_for_two_minutes() -> None:
    played = Played(member("a"), member("b", {0: 119.9, 1: 119.9, 2: 120.0, 3: 0.0}))
    played.at(0.0)
    assert played.at(3.0).wants == {2}


def test_a_want_in_vain_expires_and_so_does_its_refusal() -> None:
    played = Played(member("a"), member("b", "0 1"), shards=2)
    played.at(0.0)
    first = played.at(3.0).wants
    assert played.at(7.9).wants == first
    second = played.at(8.0).wants
    assert first | second == {0, 1}
    assert not first & second
    assert played.at(13.0).wants == first


def test_one_is_granted_at_a_time_to_whoever_has_least() -> None:
    full = member("a", "0 1 2 3")
    asking = [member("b", "4", wants=frozenset({0, 1})), member("c", wants=frozenset({0}))]
    assert Played(full, *asking, shards=5).at(0.0).hand_over == [(0, "c")]
    busy = member("a", "0 1 2 3", handing=frozenset({3}))
    assert Played(busy, *asking, shards=5).at(0.0).hand_over == []


def test_a_wish_that_would_leave_the_giver_with_less_is_not_granted() -> None:
    played = Played(member("a", "0 1"), member("b", "2", wants=frozenset({0})), shards=3)
    assert played.at(0.0).hand_over == []


def test_who_drains_grants_four_at_a_time_and_takes_nothing() -> None:
    leaving = member("a", "0 1 2 3 4", draining=1.0, generation="2")
    heir = member("b", generation="1", wants=frozenset(range(5)))
    step = Played(leaving, heir, shards=6).at(60.0)
    assert step == Step(hand_over=[(shard, "b") for shard in range(4)])


def test_what_is_drained_is_asked_for_at_once_by_four() -> None:
    played = Played(member("a"), member("b", "0 1 2 3 4", draining=0.0), shards=5)
    assert len(played.at(0.0).wants) == 4


def test_an_older_generation_waits_five_seconds_for_what_newer_ones_drain() -> None:
    old = member("a", generation="1.9")
    for drained_s, asked in ((4.9, 0), (5.0, 4)):
        leaving = member("b", "0 1 2 3", generation="1.10", draining=drained_s)
        assert len(Played(old, leaving).at(0.0).wants) == asked


def test_the_newest_generation_asks_older_ones_after_ten_seconds() -> None:
    new, old = member("a", generation="2"), member("b", "0 1 2 3", generation="1")
    played = Played(new, old)
    assert [played.at(now).wants for now in (0.0, 9.9)] == [frozenset(), frozenset()]
    assert len(played.at(10.0).wants) == 1
    other = Played(member("b", generation="1"), member("a", "0 1 2 3", generation="2"))
    assert [other.at(now).wants for now in (0.0, 60.0)] == [frozenset(), frozenset()]


def test_a_member_whose_own_beat_is_not_seen_takes_nothing() -> None:
    rules, seen = Pulling("a"), View(["", ""], [member("b")])
    assert [rules.step(member("a"), seen, now) for now in (0.0, 60.0)] == [Step(), Step()]
