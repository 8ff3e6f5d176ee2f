"""The flow of a call's audio, to the last bit."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.interaction.feed import FLOWING_S, Flow


@given(st.floats(0, 1e9))
def test_who_sleeps_until_the_audio_stands_still_finds_it_so(last: float) -> None:
    """On a clock that jumps to just that moment, one more look would be for ever."""
    flow = Flow()
    flow.arrived(last)
    assert flow.until == last + FLOWING_S
    assert not flow.flowing(flow.until)
    assert flow.flowing(math.nextafter(flow.until, 0))


def test_what_is_over_does_not_flow() -> None:
    flow = Flow()
    assert not flow.flowing(0.0)
    flow.arrived(1.0)
    assert flow.flowing(1.0)
    flow.over = True
    assert not flow.flowing(1.0)
