"""What others do to a call. They serve all calls, so none of it may raise."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from tests.call_harness import call_harness
from trio.testing import MockClock

from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.outbox import Outbox
from trio_asr.interaction.interaction import Interaction
from trio_asr.wire.codes import EndReason
from trio_asr.wire.records import Stored
from trio_asr.wire.transcripts import Topics

OPERATIONS: list[Callable[[Interaction], object]] = [
    lambda one: one.end_at("1-0", EndReason.CALL_END),
    lambda one: one.close(),
    lambda one: one.fail(),
    lambda one: one.fall_behind(),
    lambda one: one.caught_up(),
    lambda one: one.forget_above("0-1"),
]


async def test_no_order_of_what_others_do_is_an_illegal_move(autojump_clock: MockClock) -> None:
    async with call_harness() as (on, _):
        for operations in itertools.product(OPERATIONS, repeat=4):
            outbox = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
            one = Interaction(Call(outbox, Bounds(1000, 120)), on.services)
            for operation in operations:
                failed, over = one.failed, one.over
                operation(one)
                assert one.failed >= failed
                assert one.over >= over


async def test_an_end_of_a_call_that_is_over_is_still_known(autojump_clock: MockClock) -> None:
    """A call that failed reads again up to the end that it had."""
    async with call_harness() as (on, _):
        outbox = Outbox("call", Topics("transcript.call", "asr_events", 1000), Stored())
        one = Interaction(Call(outbox, Bounds(1000, 120)), on.services)
        one.fail()
        one.end_at("7-0", EndReason.CALL_END)
        assert one.failed
        assert one.call_end == "7-0"
