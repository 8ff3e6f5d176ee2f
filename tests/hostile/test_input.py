"""Both input streams: whatever stands on them, the daemon lives and three calls beside it are whole."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from functools import partial

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.hostile import daemon_harness, junk
from tests.hostile.daemon_harness import AUDIO, DEAD, ENDS, DaemonHarness, MemoryBackend, Producer, run_daemon
from trio.testing import MockClock

BOUNDED = settings(max_examples=examples(25), deadline=None, suppress_health_check=junk.UNHEALTHY)
FINAL_S = 3.0  # between two finals of a call that speaks: its segments are 1 s

LITERAL = [
    *(junk.document({**junk.HEALTHY, name: b'"--5"'}) for name in ("seq", "timestamp_ms", "sample_rate")),
    *(
        junk.document({**junk.HEALTHY, name: value})
        for name in ("seq", "timestamp_ms", "sample_rate", "interaction_id", "audio", "tenant_id", "encoding")
        for value in junk.VALUES
    ),
    # Where the interpreter's own limit lies depends on who decodes: all depths around it.
    *(
        junk.document({**junk.HEALTHY, name: junk.nested(depth)})
        for name in ("trace_id", "audio", "seq")
        for depth in range(850, 1000, 1 if name == "trace_id" else 7)
    ),
    *(junk.nested(depth, b"", b"[", b"") for depth in (999, 100_000)),
    b"",
    b"null",
    b"\x00",
    b"{",
    b'{"interaction_id":"bad","audio":' + junk.nested(970, b'"AAAA"', b"[", b"]") + b"}",
]


def run(beside: Sequence[tuple[str, bytes]]) -> None:
    """Add entries while three good calls speak."""

    async def main() -> None:
        backend = MemoryBackend()

        async def add() -> None:
            for stream, data in beside:
                backend.add(stream, data)
                await trio.sleep(2.0 / len(beside))

        async with run_daemon(backend) as one:
            await one.three_good_calls(add)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("stream", [AUDIO, ENDS])
@pytest.mark.parametrize("first", range(0, len(LITERAL), 40))
def test_known_junk(stream: str, first: int) -> None:
    run([(stream, data) for data in LITERAL[first : first + 40]])


@BOUNDED
@given(st.lists(st.tuples(st.sampled_from([AUDIO, AUDIO, ENDS]), junk.frames), min_size=1, max_size=20))
def test_any_junk(entries: list[tuple[str, bytes]]) -> None:
    run(entries)


@BOUNDED
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["data", "audio", "m", "x"]), st.binary(max_size=50)), max_size=9
    )
)
def test_any_fields(entries: list[dict[str, bytes]]) -> None:
    """Entries whose fields are of any number and name."""

    async def main() -> None:
        backend = MemoryBackend()

        async def add() -> None:
            for entry in entries:
                backend.add(
                    AUDIO, entry.get("data"), **{name: entry[name] for name in entry if name != "data"}
                )
                backend.add(ENDS, None, **{name: entry[name] for name in entry if name != "data"})
                await trio.sleep(0.2)

        async with run_daemon(backend) as one:
            await one.three_good_calls(add)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("count", [60, 330])
async def test_large_odd_entries_take_turns(count: int, autojump_clock: MockClock) -> None:
    """Entries of 1.8 MB that only a patient decoder reads: each is a turn of the loop, and not a long one."""
    backend = MemoryBackend()
    many = b"[" + b",".join([b'{"a":1}'] * 225_000) + b"]"
    odd = junk.document({**junk.HEALTHY, "seq": b'" 5"', "x": many})

    async def add() -> None:
        await trio.sleep(1)
        for _ in range(count):
            backend.add(AUDIO, odd)

    async with run_daemon(backend) as one:
        await one.three_good_calls(add)
        assert one.counted("asr_unfinalized_bytes") < 64_000_000


async def test_a_call_fed_all_at_once_makes_nobody_wait(autojump_clock: MockClock) -> None:
    """150 s of one call in one go: those who speak get their finals, and a new call begins at once."""
    backend = MemoryBackend()
    heard: dict[str, list[float]] = {}

    async def watch(one: DaemonHarness, producer: Producer) -> None:
        """Note when each final of a call is there: the stream's own times are of the wall clock."""
        seen = heard.setdefault(producer.id, [trio.current_time()])
        while True:
            seen += [trio.current_time()] * (len(one.finals(producer.id)) + 1 - len(seen))
            await trio.sleep(0.1)

    async with run_daemon(backend) as one, trio.open_nursery() as nursery:
        live = [one.producer(number) for number in (1, 2)]
        late, flood = one.producer(3, "late"), one.producer(4, "flood")
        for producer in live:
            nursery.start_soon(producer.talk, 40)
            nursery.start_soon(watch, one, producer)
        await trio.sleep(5)
        for _ in range(150 * 50):
            flood.speak(0.02)
        flood.end()
        await trio.sleep(10)
        nursery.start_soon(watch, one, late)
        await late.talk(10)
        late.end()
        await trio.sleep(20)
        for producer in live:
            producer.end()
        await one.ended(*live, late, flood, within=200)
        waits = {
            producer.id: max(after - before for before, after in itertools.pairwise(heard[producer.id]))
            for producer in (*live, late)
        }
        assert max(waits.values()) <= FINAL_S, waits
        one.is_whole(*live, late, flood)
        nursery.cancel_scope.cancel()


@pytest.mark.soak
async def test_a_new_id_per_frame_takes_no_places(autojump_clock: MockClock) -> None:
    """1,600 calls of one frame each: a genuine call has its first final within 5 s, and is whole."""
    backend = MemoryBackend()
    config = daemon_harness.settings(backend, max_calls=100)
    async with run_daemon(backend, config) as one, trio.open_nursery() as nursery:

        async def flood() -> None:
            for number in range(1600):
                Producer(backend, f"one-frame-{number}", 100 + number).speak(0.02)
                await trio.sleep(0.02)

        nursery.start_soon(flood)
        await trio.sleep(10)
        genuine = one.producer(1, "genuine")
        nursery.start_soon(genuine.talk, 10)
        await trio.sleep(5)
        assert one.finals("genuine")
        await trio.sleep(6)
        genuine.end()
        await one.ended(genuine)
        one.is_whole(genuine)
        nursery.cancel_scope.cancel()


async def test_frames_after_the_end_are_bounded_in_bytes(autojump_clock: MockClock) -> None:
    """A call that is over is fed on, a megabyte a frame: what is kept of that is bounded."""
    backend = MemoryBackend()
    config = daemon_harness.settings(backend, max_unfinalized_total_mb=8)
    big = junk.document({**junk.HEALTHY, "audio": b'"' + base64.b64encode(bytes(1_000_000)) + b'"'})

    async with run_daemon(backend, config) as one:

        async def add() -> None:
            bad = Producer(backend, "bad", 9)
            await bad.talk(1)
            bad.end()
            for _ in range(60):
                backend.add(AUDIO, big)
                await trio.sleep(0.02)
            assert one.counted("asr_unfinalized_bytes") <= 3 * 8_000_000

        await one.three_good_calls(add)


async def test_an_id_used_again_by_another_tenant_is_another_call(autojump_clock: MockClock) -> None:
    """Times from 0, its own tenant; `seq` of the stream goes on."""
    backend = MemoryBackend()
    async with run_daemon(backend) as one:
        first = Producer(backend, "again", 1, tenant="one")
        await first.talk(3)
        first.end()
        await one.ended(first)
        await trio.sleep(10)
        second = Producer(backend, "again", 2, tenant="two")
        await second.talk(3)
        second.end()
        await trio.sleep(10)
        said = backend.documents("transcript.again")
        assert [m["tenant_id"] for m in said] == sorted(m["tenant_id"] for m in said)
        assert {m["tenant_id"] for m in said} == {"one", "two"}
        seqs = [m["seq"] for m in said]
        assert seqs == sorted(set(seqs))
        again = [m for m in said if m["tenant_id"] == "two" and m["type"] == "final"]
        assert again[0]["start_ms"] < 100
        assert "c2:" in again[0]["text"]


async def test_no_dead_letter_is_above_its_size(autojump_clock: MockClock) -> None:
    backend = MemoryBackend()
    async with run_daemon(backend) as one:
        backend.add(AUDIO, b"x" * 3_000_000)
        backend.add(ENDS, b"\xff" * 3_000_000)
        await one.three_good_calls(partial(trio.sleep, 0.1), seconds=1.0)
        assert len(backend.documents(DEAD)) == 2
        assert all(len(letter["data"]) <= 4096 for letter in backend.documents(DEAD))
