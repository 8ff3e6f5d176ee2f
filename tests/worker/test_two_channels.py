"""Calls of two channels over the deaths of workers: each channel goes on where it was."""

from __future__ import annotations

from typing import Any

import trio
from tests.call_harness import whole
from tests.worker_harness import RATE, EchoProvider, Producer, WorkerHarness, run_worker
from trio.testing import MockClock

from trio_asr.bus.memory import MemoryStore
from trio_asr.lab.rig.legs import LEG, ROLES


def finals(on: WorkerHarness, call: Producer, channel: int) -> list[dict[str, Any]]:
    return [one for one in on.finals(call) if one["channel"] == channel]


def complete(on: WorkerHarness, call: Producer) -> bool:
    """Return whether all audio of each channel is in its finals: once, and in order."""
    return all(
        whole(finals(on, call, channel), call.samples, call.number + channel * LEG) for channel in (0, 1)
    )


async def test_another_worker_goes_on_where_each_channel_was(autojump_clock: MockClock) -> None:
    store, provider = MemoryStore(), EchoProvider()
    async with run_worker(store=store, provider=provider) as on:
        call = on.producer(channels=2)
        await call.talk(5)
        await trio.sleep(0.5)
        provider.mute_channels = {1}
        await call.talk(6)
        await trio.sleep(0.5)
        point = on.checkpoint(call).place
        assert (point.finalized, point.lead) == (5 * RATE, (6 * RATE, 0))
        assert [finals(on, call, channel)[-1]["end_ms"] for channel in (0, 1)] == [11_000, 5000]
    provider.mute_channels = set()
    async with run_worker(store=store, provider=provider) as on:
        await call.talk(3)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
        assert provider.links[-1].audio_bytes == 4 * (call.samples - 5 * RATE)
        assert {one["role"] for one in finals(on, call, 1)} == {ROLES[1]}
        assert on.checkpoint(call).place.cursors == [call.samples] * 2


async def test_a_worker_that_dies_again_and_again(autojump_clock: MockClock) -> None:
    """And while it lives, another channel lags each time."""
    store, provider = MemoryStore(), EchoProvider(segment_ms=700)
    call = Producer(store, "call-1", 1, channels=2)
    for n in range(5):
        provider.mute_channels = {n % 2}
        async with run_worker(store=store, provider=provider):
            await call.talk(2.3)
    provider.mute_channels = set()
    async with run_worker(store=store, provider=provider) as on:
        await call.talk(2.3)
        await on.finish(call)
        assert complete(on, call)
        assert on.happened(call) == ["started", "ended"]
