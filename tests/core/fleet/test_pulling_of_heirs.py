"""The rules of pulling, one at a time."""

from __future__ import annotations

from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.pulling import REST_S, Pulling
from trio_asr.core.fleet.view import View


def beat(member: str, *held: int, **more: object) -> Beat:
    return Beat(member=member, incarnation="1", held=dict.fromkeys(held, Load(REST_S)), **more)  # type: ignore[arg-type]


def test_a_shard_that_has_just_come_is_not_handed_to_its_owner_once_more() -> None:
    """Its own beat, as others still see it, asks for the shard and holds nothing."""
    before = beat("b", wants=frozenset({0, 1, 2, 3}))
    view = View(["b", "heir:b", "a", "a"], [before, beat("a", 2, 3, draining=1.0)])
    assert Pulling("b").step(beat("b", 0, 1, 2), view, 10).hand_over == []
    leaving = beat("b", 0, 1, 2, draining=0.0)
    assert Pulling("b").step(leaving, view, 10).hand_over == []


def test_what_was_asked_for_is_wanted_until_it_is_there() -> None:
    """Of four shards that are passed on, one has come: the others are waited for."""
    pulling, leaving = Pulling("b"), beat("a", 0, 1, 2, 3, draining=1.0)
    all_of_them = frozenset({0, 1, 2, 3})
    assert pulling.step(beat("b"), View(["a"] * 4, [beat("b"), leaving]), 10).wants == all_of_them
    kept = View(["b", "heir:b", "heir:b", "heir:b"], [beat("b", wants=all_of_them), leaving])
    step = pulling.step(beat("b", 0), kept, 10.1)
    assert (step.acquire, step.wants) == ([], all_of_them - {0})


def test_what_is_kept_for_a_member_that_did_not_ask_is_taken() -> None:
    view = View(["heir:b", "a"], [beat("b"), beat("a", 1)])
    step = Pulling("b").step(beat("b"), view, 10)
    assert (step.acquire, step.wants) == ([0], frozenset())
