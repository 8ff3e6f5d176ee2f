"""The rules of pulling, each at its exact instants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import Pulling, Step
from trio_asr.core.fleet.view import View

RESTED = 120.0


def beat(name: str, held: Iterable[int] = (), rested: float = RESTED, **fields: Any) -> Beat:
    loads = {shard: Load(rested) for shard in held}
    sets: dict[str, Any] = {key: frozenset(fields.pop(key)) for key in ("wants", "handing") if key in fields}
    return Beat(member=name, incarnation=name, held=loads, **sets, **fields)


def fleet(shards: int, *beats: Beat, **leases: str | None) -> View:
    """A view in which the leases are as the beats say, but for those given as s0, s1, ..."""
    holders: list[str | None] = [""] * shards
    for one in beats:
        for shard in one.held:
            holders[shard] = one.member
    for name, lease in leases.items():
        holders[int(name[1:])] = lease
    return View(holders, beats)


def steps(pulling: Pulling, me: Beat, view: View, *instants: float) -> list[Step]:
    return [pulling.step(me, view, now) for now in instants]


# -- what is free ------------------------------------------------------------------------------------------


def test_who_has_never_seen_another_takes_nothing_for_5_s_then_all() -> None:
    me = beat("a")
    before, after = steps(Pulling("a"), me, fleet(4, me), 0.0, 4.9), None
    assert [one.acquire for one in before] == [[], []]
    pulling = Pulling("a")
    *_, after = steps(pulling, me, fleet(4, me), 0.0, 5.0)
    assert sorted(after.acquire) == [0, 1, 2, 3]


def test_a_cold_start_waits_until_membership_is_quiet_for_2_s_then_takes_a_share() -> None:
    pulling, me = Pulling("a"), beat("a")
    pulling.step(me, fleet(4, me), 0.0)
    both = fleet(4, me, beat("b"))
    found = steps(pulling, me, both, 1.5, 3.4, 3.5)
    assert [len(one.acquire) for one in found] == [0, 0, 2]


def test_what_the_dead_leave_is_taken_at_once() -> None:
    """Only those who join together have to wait for each other."""
    pulling, me = Pulling("a"), beat("a", [0, 1])
    pulling.step(me, fleet(4, me, beat("b", [2, 3])), 0.0)
    (found,) = steps(pulling, me, fleet(4, me), 10.0)
    assert sorted(found.acquire) == [2, 3]


def test_what_the_dead_leave_waits_for_who_has_just_joined() -> None:
    pulling, me = Pulling("a"), beat("a", [0])
    pulling.step(me, fleet(4, me, beat("b", [1, 2, 3])), 0.0)
    both = fleet(4, me, beat("c"))
    found = steps(pulling, me, both, 10.0, 11.9, 12.0)
    assert [len(one.acquire) for one in found] == [0, 0, 1]


def test_who_does_not_see_its_own_beat_takes_nothing() -> None:
    me, other = beat("a"), beat("b")
    assert [one.acquire for one in steps(Pulling("a"), me, fleet(4, other), 0.0, 60.0)] == [[], []]


def test_an_earlier_start_under_the_same_name_may_still_be_leaving() -> None:
    pulling, me, view = Pulling("a"), beat("a"), fleet(4, beat("a", draining=1.0))
    assert [one.acquire for one in steps(pulling, me, view, 0.0, 9.0)] == [[], []]


def test_members_begin_at_different_ends() -> None:
    orders = []
    for name in ("a", "b"):
        me = beat(name)
        orders.append(steps(Pulling(name), me, fleet(64, me), 0.0, 5.0)[1].acquire)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(64))
    assert orders[0] != orders[1]


def test_beyond_a_share_one_shard_at_a_time_is_taken_once_it_was_free_for_3_s() -> None:
    pulling, me, other = Pulling("a"), beat("a", [0, 1]), beat("b", [2])
    pulling.step(me, fleet(4, me, other, s3="b"), 0.0)
    found = steps(pulling, me, fleet(4, me, other), 10.0, 12.9, 13.0)
    assert [one.acquire for one in found] == [[], [], [3]]


def test_overdue_counts_from_the_quiet_on() -> None:
    pulling, me, other = Pulling("a"), beat("a", [0, 1]), beat("b")
    found = steps(pulling, me, fleet(4, me, other), 0.0, 4.9, 5.0)
    assert [len(one.acquire) for one in found] == [0, 0, 1]


def test_what_is_free_is_taken_though_membership_never_rests() -> None:
    """Others join or die every second: a deployment, or a crash loop."""
    pulling, me = Pulling("a"), beat("a", [0, 1])
    taken = None
    for second in range(60):
        others = [beat("b", [2])] + [beat(f"c{second}")] * (second % 2)
        if pulling.step(me, fleet(4, me, *others), float(second)).acquire:
            taken = second
            break
    assert taken is not None
    assert taken <= 10


@pytest.mark.parametrize("lease", [None, "heir:b", "dead"])
def test_a_lease_that_is_held_kept_or_cannot_be_asked_is_not_free(lease: str | None) -> None:
    me = beat("a")
    assert steps(Pulling("a"), me, fleet(1, me, s0=lease), 0.0, 60.0)[1].acquire == []


def test_a_shard_that_a_beat_holds_is_not_free() -> None:
    me, other = beat("a"), beat("b", [0])
    view = fleet(1, me, other, s0="")
    assert steps(Pulling("a"), me, view, 0.0, 60.0)[1].acquire == []


def test_what_is_kept_for_me_is_taken_at_once() -> None:
    me = beat("a")
    assert Pulling("a").step(me, fleet(2, me, beat("b"), s1="heir:a"), 0.0).acquire == [1]


@pytest.mark.parametrize("lease", [None, ""])
def test_leases_that_ran_out_are_no_reason_to_take_or_ask_for_others(
    lease: str | None,
) -> None:
    me, other = beat("a", [0]), beat("b", [3, 4, 5])
    pulling, view = Pulling("a"), fleet(6, me, other, s1=lease, s2=lease)
    found = [pulling.step(me, view, now, {1, 2}) for now in (0.0, 10.0, 60.0)]
    assert [(one.acquire, one.wants) for one in found] == [([], frozenset())] * 3


def test_nothing_is_asked_for_that_would_be_too_much_with_what_has_lapsed() -> None:
    # As in peace: 8 shards of three, of whom one has 2.
    pulling, me = Pulling("a"), beat("a")
    view = fleet(8, me, beat("b", [2, 3, 4]), beat("c", [5, 6, 7]), s0=None, s1=None)
    assert [pulling.step(me, view, now, {0, 1}).wants for now in (0.0, 10.0)] == [frozenset(), frozenset()]


def test_a_shard_that_another_has_by_now_is_made_up_for() -> None:
    me, other, third = beat("a", [0]), beat("b", [3, 4, 5]), beat("c", [1])
    pulling, view = Pulling("a"), fleet(6, me, other, third, s2=None)
    assert [pulling.step(me, view, now, {1}).wants for now in (0.0, 10.0)] == [frozenset(), frozenset({5})]


def test_each_lost_race_makes_the_next_wait_longer_until_one_is_won() -> None:
    pulling, me = Pulling("a"), beat("a")
    view = fleet(4, me, beat("b"))
    pulling.step(me, view, 0.0)
    waits = []
    for now in range(10, 17):
        pulling.lost(float(now))
        waits.append(pulling._not_before - now)
        assert pulling.step(me, view, pulling._not_before - 0.001).acquire == []
        assert len(pulling.step(me, view, pulling._not_before).acquire) == 2
    for wait, lost in zip(waits, (1, 2, 3, 4, 5, 5, 5), strict=True):
        assert lost * 0.1 - 1e-6 <= wait < lost * 0.2
    pulling.won()
    pulling.lost(20.0)
    assert pulling._not_before - 20 < 0.2


# -- what is asked for -------------------------------------------------------------------------------------


def wanted(me: Beat, *others: Beat, shards: int, instants: Iterable[float]) -> list[int]:
    view = fleet(shards, me, *others)
    return [len(one.wants) for one in steps(Pulling(me.member), me, view, *instants)]


def test_one_is_asked_for_once_membership_has_settled_for_3_s() -> None:
    assert wanted(beat("a"), beat("b", range(4)), shards=4, instants=(0.0, 2.9, 3.0)) == [0, 0, 1]


def test_two_by_who_lacks_more_than_20() -> None:
    assert wanted(beat("a"), beat("b", range(42)), shards=42, instants=(0.0, 3.0)) == [0, 2]
    assert wanted(beat("a"), beat("b", range(40)), shards=40, instants=(0.0, 3.0)) == [0, 1]


def test_what_was_handed_over_rests_for_120_s() -> None:
    for rested, wants in ((119.9, 0), (120.0, 1)):
        other = beat("b", range(4), rested)
        assert wanted(beat("a"), other, shards=4, instants=(0.0, 3.0)) == [0, wants]


def test_nothing_is_asked_for_that_would_only_turn_the_difference_round() -> None:
    # The share of 3 by two is 2, rounded up: nobody has too many.
    assert wanted(beat("a", [0]), beat("b", [1, 2]), shards=3, instants=(0.0, 3.0)) == [0, 0]


def test_the_fullest_is_asked() -> None:
    me, full, fuller = beat("a"), beat("b", range(4)), beat("c", range(4, 9))
    assert steps(Pulling("a"), me, fleet(9, me, full, fuller), 0.0, 3.0)[1].wants < frozenset(range(4, 9))


def test_a_want_that_is_not_granted_in_5_s_makes_room_for_another_and_is_left_alone_as_long() -> None:
    pulling, me = Pulling("a"), beat("a")
    view = fleet(2, me, beat("b", range(2)))
    _, first, still, other, back = steps(pulling, me, view, 0.0, 3.0, 7.9, 8.0, 13.0)
    assert first.wants == still.wants
    assert len(other.wants) == 1
    assert other.wants.isdisjoint(first.wants)
    assert back.wants == first.wants


def test_what_cannot_be_had_does_not_hide_what_can() -> None:
    """The server of some shards is out of this member's reach: in the end all others are asked for."""
    pulling, me = Pulling("a"), beat("a")
    view = fleet(8, me, beat("b", range(4)), beat("c", range(4, 8)))
    wants = [step.wants for step in steps(pulling, me, view, *map(float, range(3 + 8 * 5)))]
    assert frozenset[int]().union(*wants) == frozenset(range(8))


def test_what_another_has_got_meanwhile_is_not_asked_for_any_more() -> None:
    pulling, me = Pulling("a"), beat("a")
    (first,) = steps(pulling, me, fleet(8, me, beat("b", [0], draining=0.0)), 0.0)
    assert first.wants == {0}
    (on_its_way,) = steps(pulling, me, fleet(8, me, beat("b", draining=1.0), s0="heir:c"), 1.0)
    assert on_its_way.wants == {0}
    (gone,) = steps(pulling, me, fleet(8, me, beat("c", [0], 0.0)), 2.0)
    assert gone.wants == frozenset()


def test_who_has_its_share_asks_no_more() -> None:
    pulling, me = Pulling("a"), beat("a")
    assert len(steps(pulling, me, fleet(2, me, beat("b", range(2))), 0.0, 3.0)[1].wants) == 1
    now = beat("a", [0], 0.0)
    assert pulling.step(now, fleet(2, now, beat("b", [1])), 4.0).wants == frozenset()


# -- deployments -------------------------------------------------------------------------------------------


def test_four_are_asked_for_at_once_and_without_rest_from_who_drains() -> None:
    leaving = beat("b", range(8), 0.0, draining=0.0)
    assert wanted(beat("a"), leaving, shards=8, instants=(0.0,)) == [4]


@pytest.mark.parametrize(("drained", "wants"), [(7.9, 0), (8.0, 4)])
def test_an_older_generation_gets_what_a_newer_drains_after_8_s(drained: float, wants: int) -> None:
    leaving = beat("b", range(8), draining=drained, generation="2")
    assert wanted(beat("a", generation="1"), leaving, shards=8, instants=(0.0,)) == [wants]


def test_the_newest_asks_an_older_generation_after_10_s() -> None:
    old = beat("b", range(4), generation="1")
    assert wanted(beat("a", generation="2"), old, shards=4, instants=(0.0, 9.9, 10.0)) == [0, 0, 1]


def test_the_newest_asks_only_the_older_while_there_is_one() -> None:
    me, peer, old = beat("a", generation="2"), beat("b", range(6), generation="2"), beat("c", [6, 7])
    _, found = steps(Pulling("a"), me, fleet(8, me, peer, old), 0.0, 10.0)
    assert found.wants < {6, 7}
    old = beat("c", [6])  # which it would leave with nothing: that waits until the old one leaves
    _, found = steps(Pulling("a"), me, fleet(7, me, peer, old), 0.0, 10.0)
    assert found.wants == frozenset()


def test_an_older_generation_asks_nobody_alive() -> None:
    new = beat("b", range(4), generation="2")
    assert wanted(beat("a", generation="1"), new, shards=4, instants=(0.0, 60.0)) == [0, 0]


# -- what is given -----------------------------------------------------------------------------------------


def given(me: Beat, *others: Beat) -> list[tuple[int, str]]:
    return Pulling(me.member).step(me, fleet(16, me, *others), 0.0).hand_over


def test_one_at_a_time_is_handed_over_to_the_asker_with_the_least() -> None:
    me = beat("a", range(8))
    askers = beat("b", [8], wants=[2, 3]), beat("c", wants=[2])
    assert given(me, *askers) == [(2, "c")]
    assert given(beat("a", range(8), handing=[7]), *askers) == []


def test_who_drains_hands_over_four_at_a_time_to_any_generation() -> None:
    asker = beat("b", range(8, 16), wants=range(8), generation="1")
    me = beat("a", range(8), draining=0.0, generation="2")
    assert given(me, asker) == [(shard, "b") for shard in range(4)]
    assert given(beat("a", range(8), draining=0.0, handing=[0, 1, 2]), asker) == [(3, "b")]


def test_the_living_give_to_the_newer_and_never_to_the_older() -> None:
    me = beat("a", [0, 1], generation="2")
    assert given(me, beat("b", wants=[0], generation="3")) == [(0, "b")]
    assert given(me, beat("b", [2, 3], wants=[0], generation="3")) == []
    assert given(beat("a", range(8), generation="2"), beat("b", wants=[0], generation="1")) == []


def test_nothing_is_given_that_would_leave_the_giver_with_less() -> None:
    assert given(beat("a", [0]), beat("b", wants=[0])) == []
    assert given(beat("a", [0, 1]), beat("b", wants=[0])) == [(0, "b")]


def test_what_has_just_come_is_not_given_away_but_by_who_leaves() -> None:
    """It was asked of the member that had it before."""
    asker = beat("b", wants=[0])
    assert given(beat("a", range(4), 119.9), asker) == []
    assert given(beat("a", range(4), 120.0), asker) == [(0, "b")]
    assert given(beat("a", range(4), 0.0, draining=0.0), asker) == [(0, "b")]


def test_nothing_is_given_to_who_leaves() -> None:
    assert given(beat("a", range(8)), beat("b", wants=[0], draining=0.0)) == []


def test_who_drains_takes_and_asks_for_nothing() -> None:
    me = beat("a", draining=0.0)
    found = steps(Pulling("a"), me, fleet(4, me, beat("b", [0, 1])), 0.0, 60.0)
    assert [(one.acquire, one.wants) for one in found] == [([], frozenset())] * 2


def test_members_of_an_older_generation_leave_what_their_own_drain_to_the_newer_for_8_s() -> None:
    new = beat("c", generation="2")
    for drained, wants in ((7.9, 0), (8.0, 4)):
        leaving = beat("b", range(8), draining=drained)
        assert wanted(beat("a", generation="1"), leaving, new, shards=8, instants=(0.0,)) == [wants]


@pytest.mark.parametrize("held", [[0, 1, 2], [0, 1, 2, 3]], ids=["below its share", "at its share"])
def test_a_free_shard_that_cannot_be_had_does_not_hide_the_others(held: list[int]) -> None:
    """Its lease may be a key of another type, or its work for a later version: it stays free."""
    for name in "abcdefgh":
        pulling, me, other = Pulling(name), beat(name, held), beat("z", [4, 5])
        view = fleet(8, me, other, s3=name, s6="", s7="")
        found = [pulling.step(me, view, float(second)).acquire for second in range(20)]
        assert {shard for acquire in found for shard in acquire} == {6, 7}


# -- heirs -------------------------------------------------------------------------------------------------


def test_a_shard_that_has_just_come_is_not_handed_to_its_owner_once_more() -> None:
    """Its own beat, as others still see it, asks for the shard and holds nothing."""
    before, giver = beat("b", wants=[0, 1, 2, 3]), beat("a", [2, 3], draining=1.0)
    view = fleet(4, before, giver, s0="b", s1="heir:b")
    assert Pulling("b").step(beat("b", [0, 1, 2]), view, 10).hand_over == []
    leaving = beat("b", [0, 1, 2], draining=0.0)
    assert Pulling("b").step(leaving, view, 10).hand_over == []


def test_what_was_asked_for_is_wanted_until_it_is_there() -> None:
    """Of four shards that are passed on, one has come: the others are waited for."""
    pulling, leaving = Pulling("b"), beat("a", range(4), draining=1.0)
    all_of_them = frozenset(range(4))
    assert pulling.step(beat("b"), fleet(4, beat("b"), leaving), 10).wants == all_of_them
    view = fleet(4, beat("b", wants=range(4)), leaving, s0="b", s1="heir:b", s2="heir:b", s3="heir:b")
    step = pulling.step(beat("b", [0]), view, 10.1)
    assert (step.acquire, step.wants) == ([], all_of_them - {0})


def test_what_is_kept_for_a_member_that_did_not_ask_is_taken() -> None:
    view = fleet(2, beat("b"), beat("a", [1]), s0="heir:b")
    step = Pulling("b").step(beat("b"), view, 10)
    assert (step.acquire, step.wants) == ([0], frozenset())
