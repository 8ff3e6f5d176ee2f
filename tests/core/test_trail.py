"""Where reading has been lately."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.core.trail import KEPT, STEP_MS, Trail
from trio_asr.wire.ids import ORIGIN, id_of, key


def noted(*ids: str) -> Trail:
    trail = Trail()
    for entry in ids:
        trail.note(entry, hash(entry))
    return trail


def last_up_to(trail: Trail, last: str) -> str:
    found = trail.up_to(last)
    assert all(one.content == hash(one.entry) for one in found)
    return found[-1].entry if found else ORIGIN


def test_the_newest_that_is_not_above() -> None:
    trail = noted("100-0", "200-5", "300-0")
    assert last_up_to(trail, "999-0") == "300-0"
    assert last_up_to(trail, "300-0") == "300-0"
    assert last_up_to(trail, "299-9") == "200-5"
    assert last_up_to(trail, "99-9") == ORIGIN
    assert last_up_to(Trail(), "1-0") == ORIGIN


def test_not_every_entry_is_kept() -> None:
    trail = noted("100-0", f"{99 + STEP_MS}-0", f"{100 + STEP_MS}-0")
    assert last_up_to(trail, f"{99 + STEP_MS}-9") == "100-0"
    assert last_up_to(trail, "999-0") == f"{100 + STEP_MS}-0"


def test_what_is_above_is_forgotten() -> None:
    trail = noted("100-0", "200-0", "300-0")
    trail.back_to("200-0")
    assert last_up_to(trail, "999-0") == "200-0"
    trail.note("250-0", hash("250-0"))
    assert last_up_to(trail, "999-0") == "250-0"
    trail.back_to(ORIGIN)
    assert last_up_to(trail, "999-0") == ORIGIN


def test_it_is_bounded() -> None:
    trail = noted(*(f"{i * STEP_MS}-0" for i in range(1, 3 * KEPT)))
    assert last_up_to(trail, f"{2 * KEPT * STEP_MS - 1}-0") == ORIGIN
    assert last_up_to(trail, f"{2 * KEPT * STEP_MS}-0") == f"{2 * KEPT * STEP_MS}-0"


def test_ids_whose_clock_stands() -> None:
    """A server whose clock was set back, or a stream with an id of the future, counts the second part up."""
    trail = noted(*(f"100-{i}" for i in range(0, 4000, 4)))
    assert last_up_to(trail, "100-3990") == "100-3988"


@given(
    st.lists(st.integers(1, 2**70), unique=True, max_size=50), st.integers(0, 2**70), st.integers(0, 2**70)
)
def test_it_names_only_what_was_noted(keys: list[int], last: int, back: int) -> None:
    ids = [id_of(one) for one in sorted(keys)]
    trail = noted(*ids)
    found = last_up_to(trail, id_of(last))
    assert found == ORIGIN or found in ids
    assert key(found) <= last
    trail.back_to(id_of(back))
    assert key(last_up_to(trail, id_of(2**80))) <= back
