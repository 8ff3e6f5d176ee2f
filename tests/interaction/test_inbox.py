"""Frames on their way to a call: held back while they make nothing due, and never longer."""

from __future__ import annotations

import itertools

import pytest
import trio
from tests.call_harness import RATE, CallHarness, call_harness, whole
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryBus
from trio_asr.core.bounds import Bounds
from trio_asr.core.call import Call
from trio_asr.core.outbox import Outbox
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.interaction import interaction
from trio_asr.interaction.inbox import Frames
from trio_asr.interaction.interaction import Interaction
from trio_asr.simulator.board import Board
from trio_asr.simulator.faults import Faults
from trio_asr.simulator.server import SimulatorSettings
from trio_asr.simulator.stamps import stamp
from trio_asr.wire.audio_format import audio_format
from trio_asr.wire.codes import EndReason
from trio_asr.wire.frames import Frame
from trio_asr.wire.transcripts import Topics

FRAME_S = 0.02


class CountedCall(Call):
    """Counts the batches that it is handed."""

    batches = 0

    def receive(self, frames: Frames, now: float = 0.0) -> ReceiveResult:
        self.batches += 1
        return super().receive(frames, now)


class InboxHarness:
    """One call, given frames as the dispatcher gives them."""

    def __init__(self, call: CountedCall, interaction: Interaction) -> None:
        self.call, self.interaction = call, interaction
        self.done = trio.Event()
        self.samples = self._seq = 0

    def speak(self, seconds: float = FRAME_S, rate: int = RATE) -> bool:
        count = round(seconds * rate)
        self._seq += 1
        frame = Frame("call", stamp(1, self.samples, count), rate, self._seq, self._seq * 20, "tenant")
        frame.format = audio_format(rate)
        self.samples += count
        frame.entry, frame.digest = f"{self._seq}-0", self._seq
        return not self.interaction.inbox.add(frame) or self.interaction.hand_over(trio.current_time())

    async def talk(self, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            assert self.speak()
            await trio.sleep(FRAME_S)

    async def hang_up(self) -> None:
        self.interaction.close()
        await self.done.wait()


async def start_inbox(on: CallHarness, nursery: trio.Nursery) -> InboxHarness:
    stored = (await MemoryBus(on.store, audio_stream="", end_stream="").load(["call"]))[0]
    call = CountedCall(
        Outbox("call", Topics("transcript.call", "asr_events", 1000), stored), Bounds(1000, 120)
    )
    harness = InboxHarness(call, Interaction(call, on.services, "tenant"))
    harness.interaction.end = "9999999999999-0", EndReason.CLOSED

    async def run() -> None:
        await harness.interaction.run()
        harness.done.set()

    nursery.start_soon(run)
    return harness


async def test_a_call_is_woken_once_per_chunk_and_its_chunks_are_in_time(autojump_clock: MockClock) -> None:
    async with call_harness() as (on, nursery):
        harness = await start_inbox(on, nursery)
        await harness.talk(5)
        instants = on.sent()
        assert instants[0] == 0.48  # the frame that completes 500 ms comes at 24 * 20 ms
        assert [round(b - a, 6) for a, b in itertools.pairwise(instants)] == [0.2] * 22
        assert harness.call.batches <= 25 + len(instants)  # one by one only until there is a connection
        await harness.hang_up()
        assert whole(on.finals(), harness.samples)


async def test_frames_held_back_leave_by_timer_when_no_more_come(autojump_clock: MockClock) -> None:
    async with call_harness() as (on, nursery):
        harness = await start_inbox(on, nursery)
        harness.speak(0.5)
        await trio.sleep(0.1)
        harness.speak(0.1)
        assert harness.interaction.inbox.frames
        await trio.sleep(3)
        assert on.sent() == [0.0, 0.5]  # 500 ms after the last flush
        assert not harness.interaction.inbox.frames
        await harness.hang_up()
        assert whole(on.finals(), harness.samples)


async def test_frames_of_another_rate_are_not_held_back(autojump_clock: MockClock) -> None:
    """The connection of the rate before is over with them."""
    async with call_harness() as (on, nursery):
        harness = await start_inbox(on, nursery)
        harness.speak(0.5)
        await trio.sleep(0.1)
        harness.speak(0.02, 2 * RATE)
        assert not harness.interaction.inbox.frames
        await harness.hang_up()
        assert len(on.connections) == 2
        assert [final["connection"] for final in on.finals()] == [1, 2]


async def test_frames_held_back_are_not_forgotten_with_their_connection(autojump_clock: MockClock) -> None:
    simulator = SimulatorSettings(board=Board(Faults()))
    async with call_harness(simulator) as (on, nursery):
        harness = await start_inbox(on, nursery)
        harness.speak(0.5)
        await trio.sleep(0.1)
        harness.speak(0.1)
        simulator.board.strike(Faults(abort_after_s=0))
        await trio.sleep(0.1)
        assert not harness.interaction.inbox.frames
        await trio.sleep(20)
        assert len(on.connections) == 2
        await harness.hang_up()
        assert whole(on.finals(), harness.samples)


async def test_a_call_that_cannot_take_its_frames_says_so(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interaction, "BATCHES", 1)
    async with call_harness() as (on, nursery):
        harness = await start_inbox(on, nursery)
        assert harness.speak(0.5)
        assert not harness.speak(0.5)
        nursery.cancel_scope.cancel()


async def test_nor_does_one_that_is_failing(autojump_clock: MockClock) -> None:
    async with call_harness() as (on, nursery):
        harness = await start_inbox(on, nursery)
        harness.interaction._batches.close()
        assert not harness.speak(0.5)
        nursery.cancel_scope.cancel()
