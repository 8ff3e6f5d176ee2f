"""What only the real server does: types, memory, scripts, lifetimes, freezing, and broken connections.

On the real clock, against servers of the test's own where it does something to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
import redis
import trio
import trio.testing
from redis.exceptions import NoScriptError
from tests.bus.bus_harness import AUDIO, ENDS, GROUP, LONG_MS, PREFIX, RedisBusHarness, commit, data
from tests.bus.proxy import proxy

from trio_asr.bus import connection, streams
from trio_asr.bus.answers import judged
from trio_asr.bus.base import Answer, Bus, BusUnavailable, KeyMisused, Tenure
from trio_asr.bus.connection import Command, PipelinedConnection
from trio_asr.bus.redis import RedisBus
from trio_asr.lab.rig.valkey import EmbeddedValkey
from trio_asr.wire.ids import ORIGIN
from trio_asr.wire.records import Commit, Outcome, Stored, Write

APPLIED, DONE, STALE = Answer(Outcome.APPLIED), Answer(Outcome.DONE), Answer(Outcome.STALE)
TIMEOUT_S = 1.0
# As the library calls it, or as a server before 7.0 wraps it.
SCRIPT = "@user_script:24: @user_script: 24"
OUT_OF_MEMORY, READ_ONLY = "OutOfMemory|-OOM", "ReadOnly|-READONLY"
NewValkey = Callable[..., EmbeddedValkey]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets that give up soon, so that freezing for longer than that is soon over."""
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", TIMEOUT_S)
    monkeypatch.setattr(streams, "BLOCK_MS", 60)


@asynccontextmanager
async def owned(url: str, workers_url: str = "") -> AsyncIterator[tuple[RedisBusHarness, RedisBus]]:
    """Own the calls; the worker may take another way to the server than the test."""
    harness = RedisBusHarness(url, workers_url)
    bus = harness.worker()
    assert await bus.acquire(LONG_MS) is Tenure.HELD
    yield harness, bus
    await harness.aclose()


async def patiently(bus: Bus, *commits: Commit) -> list[Answer]:
    """Send the same commits until they are answered, as the committer does."""
    with trio.fail_after(60):
        while True:
            try:
                return await bus.commit(commits)
            except BusUnavailable:
                continue


# -- the script ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_key_of_another_type_refuses_all_of_its_commit(
    redis_url: str, place: int, shared: bool
) -> None:
    """Nothing is written, not to the commit's other streams either; other commits do not notice.

    A stream that is cut is everybody's: then it is not this commit's fault.
    """
    async with owned(redis_url) as (harness, bus):
        harness.client.set("a", "text")
        streams = ["out", "events"]
        streams.insert(place, "a")
        maxlen = 10 if shared else 0
        poisoned = Commit("bad", 1, b"s", tuple(Write(stream, b"x", maxlen) for stream in streams))
        answers = await bus.commit([commit(1, "1"), poisoned, commit(2, "2")])
        assert answers[::2] == [APPLIED, APPLIED]
        if shared:
            assert answers[1] == Answer(Outcome.BLOCKED, "a")
        else:
            assert answers[1].outcome is Outcome.REFUSED
            assert answers[1].reason.startswith("a: WRONGTYPE")
        assert data(harness, "out") == [b"1", b"2"]
        assert harness.entries("events") == []
        assert await bus.load(["bad"]) == [Stored()]
        assert await bus.live_calls() == [b"c1"]
        harness.client.delete("a")
        assert await bus.commit([poisoned]) == [APPLIED], "once the key is gone it goes through"


async def test_without_memory_nothing_is_written(new_valkey: NewValkey) -> None:
    """It is the server's trouble, not the commit's: unavailable, and the lease holds on."""
    server = new_valkey(options={"maxmemory-policy": "noeviction"})
    async with owned(server.url) as (harness, bus):
        await bus.commit([commit(1, "a")])
        harness.client.config_set("maxmemory", "1")
        for one in (commit(2, "b"), commit(2), commit(1, "x", owner="new"), commit(2, live=False)):
            with pytest.raises(BusUnavailable, match=OUT_OF_MEMORY):
                await bus.commit([one])
        assert data(harness, "out") == [b"a"]
        assert await bus.load(["c1", "new"]) == [Stored(1, b"state 1 of c1"), Stored()]
        assert await bus.renew(LONG_MS) is Tenure.HELD
        harness.client.config_set("maxmemory", "0")
        assert await bus.commit([commit(2, "b")]) == [APPLIED]


async def test_the_script_cache_may_be_flushed_at_any_time(redis_url: str) -> None:
    async with owned(redis_url) as (harness, bus):
        assert await bus.commit([commit(1, "1")]) == [APPLIED]
        harness.client.script_flush()
        assert await bus.commit([commit(2, "2"), commit(3, "3"), commit(3, "3")]) == [APPLIED, APPLIED, DONE]
        harness.client.script_flush()
        assert await bus.renew(LONG_MS) is Tenure.HELD
        assert data(harness, "out") == [b"1", b"2", b"3"]


async def test_the_script_cache_flushed_in_the_middle_of_a_pipeline(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before the flush are applied, those after it sent again: none twice, none out of order."""
    round_trip = PipelinedConnection._round_trip

    def flush_in_the_middle(self: PipelinedConnection, commands: Sequence[Command]) -> list[object]:
        monkeypatch.undo()
        replies = round_trip(self, [*commands[:3], ("SCRIPT", "FLUSH"), *commands[3:]])
        del replies[3]
        assert [isinstance(reply, NoScriptError) for reply in replies] == [False] * 3 + [True] * 4
        return replies

    async with owned(redis_url) as (harness, bus):
        assert await bus.commit([commit(1, "1")]) == [APPLIED]
        monkeypatch.setattr(PipelinedConnection, "_round_trip", flush_in_the_middle)
        assert await bus.commit([commit(rev, str(rev)) for rev in range(2, 9)]) == [APPLIED] * 7
        assert PipelinedConnection._round_trip is round_trip
        assert data(harness, "out") == [str(rev).encode() for rev in range(1, 9)]


async def test_the_state_of_a_live_call_stays_and_that_of_an_ended_one_expires(redis_url: str) -> None:
    """The reader's stays for ever; so does that of a call that lives again."""
    async with owned(redis_url) as (harness, bus):
        key, day_ms = PREFIX + "call:c1", 24 * 3600 * 1000
        await bus.commit([commit(1), commit(1, owner="")])
        assert harness.client.pttl(key) == -1
        await bus.commit([commit(2, live=False)])
        assert day_ms - 5000 < harness.client.pttl(key) <= day_ms
        await bus.commit([commit(3)])
        assert harness.client.pttl(key) == -1
        assert harness.client.pttl(PREFIX + "reader") == -1
        assert harness.client.pttl(PREFIX + "fence") == -1
        assert 0 < harness.client.pttl(PREFIX + "lease") <= LONG_MS


async def test_a_length_bounds_a_stream(new_valkey: NewValkey) -> None:
    """Approximately, by whole nodes; streams without a length are never cut."""
    server = new_valkey(options={"stream-node-max-entries": "10"})
    async with owned(server.url) as (harness, bus):
        for rev in range(1, 101):
            writes = (Write("events", b"%d" % rev, 20), Write("out", b"%d" % rev))
            assert await bus.commit([Commit("c1", rev, b"%d" % rev, writes)]) == [APPLIED]
        events = data(harness, "events")
        assert 20 <= len(events) < 31
        assert events[-1] == b"100"
        assert len(data(harness, "out")) == 100


async def test_read_only(new_valkey: NewValkey) -> None:
    """A replica in the master's place (a failover) is no refusal of a commit: it is to be tried again."""
    server = new_valkey()
    async with owned(server.url) as (harness, bus):
        assert await bus.commit([commit(1, "a")]) == [APPLIED]
        harness.client.replicaof("127.0.0.1", "1")
        for _ in range(2):
            with pytest.raises(BusUnavailable, match=READ_ONLY):
                await bus.commit([commit(2, "b"), commit(3, "c")])
            with pytest.raises(BusUnavailable, match=READ_ONLY):
                await bus.renew(LONG_MS)
        harness.client.replicaof("NO", "ONE")
        assert await bus.commit([commit(2, "b"), commit(3, "c")]) == [APPLIED, APPLIED]
        assert data(harness, "out") == [b"a", b"b", b"c"]


async def test_a_server_that_cannot_save_is_unavailable(new_valkey: NewValkey) -> None:
    """With snapshots on and a full disk the server takes no writes at all."""
    server = new_valkey(save="3600 1")
    async with owned(server.url) as (harness, bus):
        assert await bus.commit([commit(1, "a")]) == [APPLIED]
        server.directory.joinpath("dump.rdb").mkdir()  # so that the snapshot cannot take its place
        harness.client.bgsave()
        with trio.fail_after(60):
            while harness.client.info("persistence")["rdb_last_bgsave_status"] == "ok":  # noqa: ASYNC110
                await trio.sleep(0.01)
        with pytest.raises(BusUnavailable, match="MISCONF"):
            await bus.commit([commit(2, "b")])
        harness.client.config_set("stop-writes-on-bgsave-error", "no")
        assert await bus.commit([commit(2, "b")]) == [APPLIED]
        harness.client.config_set("save", "")  # or it would not stop


@pytest.mark.parametrize(
    "wrap", ["{}", f"{SCRIPT}: {{}}", f"Error running script (call to f_8e): {SCRIPT}: {{}}"]
)
def test_whose_refusal_it_is(wrap: str) -> None:
    """Servers before 7.0 wrap what a script was refused. Whatever else it says is no fault of the commit's.

    The script itself answers what is wrong with a call's own stream.
    """
    dash = "-" if wrap != "{}" else ""
    for code in (
        "READONLY",
        "OOM",
        "MISCONF",
        "NOREPLICAS",
        "BUSY",
        "MASTERDOWN",
        "MOVED",
        "ASK",
        "TRYAGAIN",
        "CLUSTERDOWN",
    ):
        with pytest.raises(redis.ResponseError, match="Not now"):
            judged(commit(1), redis.ResponseError(wrap.format(f"{dash}{code} Not now.")))
    for other in (
        "NOPERM No permissions to access the key 'BUSY OOM x'",
        "ACL failure in script: User w has no permissions to run the 'xadd' command",
        "ERR Can not execute a write command 'xadd' while the cluster is down and readonly",
        "UNBLOCKED force unblock from blocking operation",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "ERR Script killed by user with SCRIPT KILL.",
        "ERR max daily request limit exceeded. Limit: 500000, Usage: 500000",
        "INPROG Failover in progress",
    ):
        answer = judged(commit(1), redis.ResponseError(wrap.format(f"{dash}{other}")))
        assert answer.outcome is Outcome.FAILED
        assert other in answer.reason


# -- freezing and breaking -----------------------------------------------------------------------------------


async def test_frozen_for_longer_than_the_timeout(new_valkey: NewValkey, impatient: None) -> None:
    """The frozen server has the commit in its socket already, and applies it on waking. (requirements 7)"""
    server = new_valkey()
    async with owned(server.url) as (harness, bus):
        assert await bus.commit([commit(1, "1")]) == [APPLIED]
        server.pause()
        commits = [commit(2, "2"), commit(1, "3", owner="c2"), commit(1, "4", owner="c3")]
        for _ in range(2):
            with pytest.raises(BusUnavailable, match="Timeout"):
                await bus.commit(commits)
        with pytest.raises(BusUnavailable):
            await bus.read(ORIGIN, ORIGIN)
        server.resume()
        assert await patiently(bus, *commits) == [DONE, DONE, DONE]
        assert data(harness, "out") == [b"1", b"2", b"3", b"4"]
        # A connection that was given up must not leave its answers to the next request.
        assert await bus.load(["c2"]) == [Stored(1, b"state 1 of c2")]
        assert await bus.commit([commit(3, "5"), commit(9, "x")]) == [APPLIED, STALE]


async def test_paused_clients(new_valkey: NewValkey, impatient: None) -> None:
    """CLIENT PAUSE: commands are taken and answered later. (requirements 7)"""
    server = new_valkey()
    async with owned(server.url) as (harness, bus):
        assert await bus.commit([commit(1, "1")]) == [APPLIED]
        harness.client.client_pause(round(TIMEOUT_S * 2500))
        with pytest.raises(BusUnavailable):
            await bus.commit([commit(2, "2")])
        assert await patiently(bus, commit(2, "2")) in ([DONE], [APPLIED])
        assert await patiently(bus, commit(3, "3")) == [APPLIED]
        assert data(harness, "out") == [b"1", b"2", b"3"]


@pytest.mark.parametrize("side", ["request", "answer"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.9])
async def test_a_connection_reset_in_the_middle_of_a_pipeline(
    redis_url: str, valkey: EmbeddedValkey, side: str, part: float
) -> None:
    """Whatever part was taken, the repeat applies the rest and nothing twice. (requirements 7)"""
    with proxy(valkey.port) as between:
        url = between.url.removesuffix("/0") + redis_url[redis_url.rindex("/") :]
        async with owned(redis_url, url) as (harness, bus):
            assert await bus.commit([commit(1, "1")]) == [APPLIED]
            connections = between.connections

            def cut(data: bytes) -> int | None:
                between.on_request = between.on_answer = lambda _: None
                return round(len(data) * part)

            setattr(between, f"on_{side}", cut)
            commits = [commit(1, str(i), owner=f"call-{i}") for i in range(2, 20)]
            with pytest.raises(BusUnavailable):
                await bus.commit(commits)
            answers = [answer.outcome for answer in await bus.commit(commits)]
            assert between.connections == connections + 1
            applied = answers.index(Outcome.APPLIED) if Outcome.APPLIED in answers else len(answers)
            assert answers == [Outcome.DONE] * applied + [Outcome.APPLIED] * (18 - applied)
            assert applied == 18 or side == "request"
            assert data(harness, "out") == [str(rev).encode() for rev in range(1, 20)]


@pytest.mark.parametrize("job", ["commit", "renew", "acquire", "load", "read", "live_calls"])
async def test_nothing_is_sent_again_behind_our_back(
    redis_url: str, valkey: EmbeddedValkey, job: str, impatient: None
) -> None:
    """The client library's own retries are off: each request reaches the server once and fails once."""
    jobs: dict[str, Callable[[Bus], Awaitable[object]]] = {
        "commit": lambda bus: bus.commit([commit(1, "x")]),
        "renew": lambda bus: bus.renew(LONG_MS),
        "acquire": lambda bus: bus.acquire(LONG_MS),
        "load": lambda bus: bus.load(["c1"]),
        "read": lambda bus: bus.read(ORIGIN, ORIGIN),
        "live_calls": lambda bus: bus.live_calls(),
    }
    requests: list[bytes] = []
    with proxy(valkey.port) as between:
        url = between.url.removesuffix("/0") + redis_url[redis_url.rindex("/") :]
        async with owned(redis_url, url) as (_, bus):
            await jobs["load"](bus)
            await bus.read("9999999999999-0", "9999999999999-0")

            def lose(data: bytes) -> int:
                requests.append(data)
                return 0

            between.on_request = lose
            with pytest.raises(BusUnavailable):
                await jobs[job](bus)
    assert len(requests) == 1


# -- ownership -----------------------------------------------------------------------------------------------


async def test_a_lost_answer_to_acquire_does_not_lock_us_out(new_valkey: NewValkey) -> None:
    """Asked again we are told that it is ours, and need not wait for our own lease to expire."""
    server = new_valkey()
    with proxy(server.port) as between:
        harness = RedisBusHarness(server.url, between.url)
        bus, other = harness.worker(), harness.worker()

        def lose(_: bytes) -> int:
            between.on_answer = lambda _: None
            return 0

        assert await bus.acquire(LONG_MS) is Tenure.HELD
        await bus.release()
        between.on_answer = lose
        with pytest.raises(BusUnavailable):
            await bus.acquire(LONG_MS)
        assert await other.acquire(LONG_MS) is Tenure.LOST
        assert await bus.acquire(LONG_MS) is Tenure.HELD
        assert await bus.commit([commit(1)]) == [APPLIED]
        assert await other.acquire(LONG_MS) is Tenure.LOST
        await harness.aclose()


# -- reading -------------------------------------------------------------------------------------------------


async def test_large_entries_lower_the_count(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one read brings is bounded in bytes; nothing is passed over; small ones raise it again."""
    monkeypatch.setattr(streams, "READ_BYTES", 1_000_000)
    monkeypatch.setattr(streams, "CADENCE_S", 0.0)
    async with owned(redis_url) as (harness, bus):
        added = [harness.add(AUDIO, bytes(200_000)) for _ in range(50)]
        added += [harness.add(AUDIO, bytes(100)) for _ in range(100)]
        sizes, read, full = [], [ORIGIN], True
        while full:
            batch = await bus.read(read[-1], ORIGIN)
            read += [name.decode() for name, _ in batch.audio]
            sizes.append(len(batch.audio))
            full = batch.audio_full
        assert read[1:] == added
        assert sizes[0] <= 32, "the first read knows nothing yet"
        assert set(sizes[1:4]) == {4}
        assert max(sizes) > 30


async def test_a_reply_above_the_servers_output_limit(new_valkey: NewValkey) -> None:
    """The server cuts the connection of a reader that asks for more than it may have: ask for less."""
    server = new_valkey(options={"client-output-buffer-limit": "normal 1mb 0 0"})
    async with owned(server.url) as (harness, bus):
        added = [harness.add(AUDIO, bytes(100_000)) for _ in range(100)]
        read = [ORIGIN]
        with trio.fail_after(60):
            while read[-1] != added[-1]:
                with suppress(BusUnavailable):
                    batch = await bus.read(read[-1], ORIGIN)
                    read += [name.decode() for name, _ in batch.audio]
        assert read[1:] == added


async def test_deleted_entries_are_no_cut(redis_url: str) -> None:
    """Somebody who deletes entries one by one when done with them has not cut the stream."""
    async with owned(redis_url) as (harness, bus):
        added = [harness.add(AUDIO, b"x") for _ in range(3)]
        harness.client.xdel(AUDIO, added[1])
        batch = await bus.read(added[1], ORIGIN)
        assert (len(batch.audio), batch.trimmed) == (1, None)


async def test_trimming_stops_at_what_other_groups_have_to_read(new_valkey: NewValkey) -> None:
    """By whole nodes, here of one entry."""
    server = new_valkey(options={"stream-node-max-entries": "1"})
    async with owned(server.url) as (harness, bus):
        added = [harness.add(AUDIO, b"x") for _ in range(6)]
        for name, at, taken in (("reads", added[3], 0), ("acknowledges", added[0], 3)):
            harness.client.xgroup_create(AUDIO, name, at)
            if taken:
                harness.client.xreadgroup(name, "consumer", {AUDIO: ">"}, count=taken)
        await bus.show_lag(ORIGIN, ORIGIN)
        await bus.trim(added[5])
        assert [name.decode() for name, _ in harness.entries(AUDIO)] == added[1:]
        harness.client.xack(AUDIO, "acknowledges", *added[1:4])
        await bus.trim(added[5])
        assert [name.decode() for name, _ in harness.entries(AUDIO)] == added[3:]
        harness.client.xgroup_destroy(AUDIO, "reads")
        harness.client.xgroup_destroy(AUDIO, "acknowledges")
        await bus.trim(added[5])
        assert [name.decode() for name, _ in harness.entries(AUDIO)] == added[5:]


@pytest.fixture
def lasting_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a read wait for audio for longer than any test: what comes back meanwhile did not wait for it."""
    monkeypatch.setattr(streams, "BLOCK_MS", 600_000)


async def test_reading_and_writing_do_not_wait_for_each_other(redis_url: str, lasting_reads: None) -> None:
    """A read that waits for audio holds up neither a commit nor a renewal; that starved the old worker."""
    async with owned(redis_url) as (_, bus), trio.open_nursery() as nursery:
        nursery.start_soon(bus.read, ORIGIN, ORIGIN)
        await trio.testing.wait_all_tasks_blocked(0.05)
        with trio.fail_after(60):
            for rev in range(1, 6):
                assert await bus.commit([commit(rev, "x")]) == [APPLIED]
                assert await bus.renew(LONG_MS) is Tenure.HELD
        nursery.cancel_scope.cancel()


async def test_workers_do_not_wait_for_each_other(redis_url: str, lasting_reads: None) -> None:
    """Neither do two readers: threads are each bus' own."""
    async with owned(redis_url) as (harness, bus):
        other = harness.worker()
        async with trio.open_nursery() as nursery:
            for one in (bus, other):
                nursery.start_soon(one.read, ORIGIN, ORIGIN)
            await trio.testing.wait_all_tasks_blocked(0.05)
            with trio.fail_after(60):
                assert await other.acquire(LONG_MS) is Tenure.LOST
                assert await bus.commit([commit(1, "x")]) == [APPLIED]
            nursery.cancel_scope.cancel()


async def test_cancelling_does_not_wait_for_a_frozen_server(new_valkey: NewValkey) -> None:
    """A stop must be able to keep its time."""
    server = new_valkey()
    async with owned(server.url) as (_, bus):
        await bus.commit([commit(1)])
        server.pause()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bus.read, ORIGIN, ORIGIN)
            nursery.start_soon(bus.commit, [commit(2)])
            nursery.start_soon(bus.renew, LONG_MS)
            await trio.testing.wait_all_tasks_blocked(0.05)
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < connection.SOCKET_TIMEOUT_S
        server.resume()


async def test_show_lag_as_operators_see_it(redis_url: str) -> None:
    """A group of the configured name shows the floors, whatever happens to it or its streams."""
    async with owned(redis_url) as (harness, bus):
        await bus.show_lag(ORIGIN, ORIGIN)
        added = [harness.add(AUDIO, b"x") for _ in range(10)]
        ended = [harness.add(ENDS, b"x") for _ in range(3)]
        await bus.show_lag(added[6], ended[1])
        assert group(harness)[:2] == (GROUP.encode(), added[6].encode())
        assert group(harness, ENDS)[:2] == (GROUP.encode(), ended[1].encode())
        harness.client.xgroup_destroy(AUDIO, GROUP)
        harness.client.delete(ENDS)
        await bus.show_lag(added[7], ended[1])
        assert group(harness)[:2] == (GROUP.encode(), added[7].encode())
        assert group(harness, ENDS)[:2] == (GROUP.encode(), ended[1].encode())
        other = harness.worker()
        await other.show_lag(added[9], ended[2])
        assert group(harness) == (GROUP.encode(), added[9].encode(), 0)
        harness.client.set(ENDS, "no stream")
        with pytest.raises(BusUnavailable, match="WRONGTYPE"):
            await bus.show_lag(added[8], ended[2])
        assert group(harness)[1] == added[8].encode(), "the one has nothing to do with the other"


def group(harness: RedisBusHarness, stream: str = AUDIO) -> tuple[object, object, object]:
    (one,) = cast("list[dict[str, object]]", harness.client.xinfo_groups(stream))
    return one["name"], one["last-delivered-id"], one.get("lag", 0)  # no lag before 7.0


# -- what cannot be written ----------------------------------------------------------------------------------

TOP = f"{2**64 - 1}-{2**64 - 1}"


@pytest.mark.parametrize("other", ["used up", "a list"])
@pytest.mark.parametrize("first", [True, False])
async def test_a_write_that_fails_after_others_of_its_commit(redis_url: str, other: str, first: bool) -> None:
    """What was added is taken back: the next attempt writes all of it, once."""
    async with owned(redis_url) as (harness, bus):
        assert await bus.commit([commit(1, "before")]) == [APPLIED]
        if other == "a list":
            harness.client.rpush("events", "x")
        else:
            harness.client.xadd("events", {"data": "x"}, id=TOP)
        says, tells = Write("out", b"text"), Write("events", b"event", 1000)
        writes = (tells, says, says) if first else (says, says, tells)
        one = Commit("c1", 2, b"state", writes)
        for _ in range(3):
            failed, healthy = await bus.commit([one, commit(1, "x", owner="other")])
            assert failed.outcome is (Outcome.BLOCKED if other == "a list" else Outcome.FAILED)
            assert "events" in failed.reason
            assert healthy in (APPLIED, DONE)
        assert data(harness, "out") == [b"before", b"x"]
        assert (await bus.load(["c1"]))[0].rev == 1
        harness.client.delete("events")
        assert await bus.commit([one]) == [APPLIED]
        assert await bus.commit([one]) == [DONE]
        assert data(harness, "out") == [b"before", b"x", b"text", b"text"]
        assert data(harness, "events") == [b"event"]


async def test_a_transcript_stream_that_is_used_up_is_its_calls_trouble_alone(redis_url: str) -> None:
    async with owned(redis_url) as (harness, bus):
        harness.client.xadd("out", {"data": "x"}, id=TOP)
        one = Commit("c1", 1, b"state", (Write("events", b"event", 1000), Write("out", b"text")))
        refused, applied = await bus.commit([one, commit(1, "x", owner="other", stream="elsewhere")])
        assert (refused.outcome, applied) == (Outcome.REFUSED, APPLIED)
        assert "out" in refused.reason
        assert harness.client.xlen("events") == 0
        harness.client.delete("out")
        assert await bus.commit([one]) == [APPLIED]
        assert (data(harness, "out"), data(harness, "events")) == ([b"text"], [b"event"])


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("command", ["hmget", "xadd", "hset", "sadd", "persist", "srem", "pexpire"])
async def test_a_command_that_the_user_may_not_give(redis_url: str, command: str, before: int) -> None:
    """Whichever of a commit's own it is, nothing is written, and it goes through once the right is given."""
    admin: Any = redis.Redis.from_url(redis_url)
    workers_url = redis_url.replace("redis://", "redis://worker:secret@")
    admin.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all")
    lives = command not in ("srem", "pexpire")
    try:
        async with owned(redis_url, workers_url) as (harness, bus):
            if before:
                assert await bus.commit([commit(1, "first", live=not lives)]) == [APPLIED]
            there = await contents(harness, bus)
            one = commit(before + 1, "text", live=lives)
            admin.execute_command("ACL", "SETUSER", "worker", f"-{command}")
            for _ in range(3):
                (answer,) = await bus.commit([one])
                assert answer.outcome is Outcome.FAILED
                assert command in answer.reason
            admin.execute_command("ACL", "SETUSER", "worker", f"+{command}")
            assert await contents(harness, bus) == there
            assert await bus.commit([one]) == [APPLIED]
            assert data(harness, "out") == [b"first"] * before + [b"text"]
            assert await bus.live_calls() == [b"c1"] * lives
            ttl_ms = harness.client.pttl(PREFIX + "call:c1")
            assert (ttl_ms < 0) is lives, "it is kept for as long as it is live, and then for a while"
    finally:
        admin.execute_command("ACL", "DELUSER", "worker")
    admin.close()


async def contents(harness: RedisBusHarness, bus: Bus) -> object:
    return data(harness, "out"), await bus.load(["c1"]), await bus.live_calls()


async def test_a_stream_that_the_user_may_not_write(redis_url: str) -> None:
    """The commit of that call fails, with the server's words, and the others do not notice."""
    admin: Any = redis.Redis.from_url(redis_url)
    workers_url = redis_url.replace("redis://", "redis://worker:secret@")
    keys = ("~trio_asr:*", f"~{AUDIO}", f"~{ENDS}", "~out")
    admin.execute_command("ACL", "SETUSER", "worker", "on", ">secret", *keys, "&*", "+@all")
    try:
        async with owned(redis_url, workers_url) as (harness, bus):
            forbidden = commit(1, "x", owner="other", stream="elsewhere")
            answers = await bus.commit([forbidden, commit(1, "text")])
            assert [answer.outcome for answer in answers] == [Outcome.FAILED, Outcome.APPLIED]
            assert "ermission" in answers[0].reason
            assert await bus.load(["other"]) == [Stored()]
            admin.execute_command("ACL", "SETUSER", "worker", "~elsewhere")
            assert await bus.commit([forbidden]) == [APPLIED]
            assert data(harness, "elsewhere") == [b"x"]
    finally:
        admin.execute_command("ACL", "DELUSER", "worker")
    admin.close()


async def test_an_answer_that_comes_twice(redis_url: str, valkey: EmbeddedValkey) -> None:
    """Of whichever command: no other one takes it for its own, and nothing is done twice."""
    with proxy(valkey.port) as between:
        url = between.url.removesuffix("/0") + redis_url[redis_url.rindex("/") :]
        async with owned(redis_url, url) as (harness, bus):
            harness.add(ENDS, b"end")
            frames = [harness.add(AUDIO, bytes([i])) for i in range(5)]
            revs = {f"c{i}": 0 for i in range(4)}

            async def commit_some() -> object:
                commits = [
                    commit(revs[f"c{i}"] + 1, f"{i}-{revs[f'c{i}'] + 1}", owner=f"c{i}") for i in range(4)
                ]
                answers = await bus.commit(commits)
                assert all(answer in (APPLIED, DONE) for answer in answers)
                for owner in revs:
                    revs[owner] += 1
                return None

            async def load_some() -> object:
                return [(one.rev, one.fault) for one in await bus.load(["c3", "", "c0", "nobody"])]

            async def read_some() -> object:
                batch = await bus.read(frames[1], ORIGIN)
                read = [raw.decode() for raw, _ in batch.audio]  # fewer at a time after a failure
                return read and read == frames[2 : 2 + len(read)], len(batch.ends)

            async def read_again() -> object:
                read = [raw.decode() for raw, _ in (await bus.read_again(frames[2])).entries]
                return read and read == frames[3 : 3 + len(read)]

            jobs: list[tuple[Callable[[], Awaitable[object]], Callable[[], object]]] = [
                (commit_some, lambda: None),
                (load_some, lambda: [(revs["c3"], ""), (0, ""), (revs["c0"], ""), (0, "")]),
                (read_some, lambda: (True, 1)),
                (read_again, lambda: True),
                (lambda: bus.renew(LONG_MS), lambda: Tenure.HELD),
                (bus.live_calls, lambda: [b"c0", b"c1", b"c2", b"c3"]),
                (lambda: bus.forget_live([b"strange"]), lambda: None),
                (bus.consumers, list),
                (bus.neighbours, list),
                (lambda: bus.show_lag(ORIGIN, ORIGIN), lambda: None),
                (lambda: bus.trim(ORIGIN), lambda: None),
                (lambda: bus.set_aside("nobody"), lambda: PREFIX + "broken:nobody"),
            ]
            await commit_some()
            for doubled, _ in jobs:
                for then, right in jobs:
                    between.times = 2
                    with suppress(BusUnavailable):
                        await doubled()
                    between.times = 1
                    for _ in range(5):
                        try:
                            got = await then()
                        except BusUnavailable:
                            continue
                        assert got == right()
                        break
                    else:
                        raise AssertionError("no answer")
            texts = [text.decode() for text in data(harness, "out")]
            assert len(texts) == len(set(texts))
            expected = [f"{i}-{rev}" for i in range(4) for rev in range(1, revs[f"c{i}"] + 1)]
            assert sorted(texts) == sorted(expected)


@pytest.mark.parametrize("kind", ["list", "string", "stream", "zset"])
@pytest.mark.parametrize("name", ["live", "fence", "lease"])
async def test_a_key_of_another_type_is_named_and_nothing_written(
    redis_url: str, name: str, kind: str
) -> None:
    """Once it is out of the way, all goes on, and nothing was lost or doubled."""
    if (name, kind) in (("fence", "string"), ("lease", "string")):
        return  # that is its type
    async with owned(redis_url) as (harness, bus):
        assert await bus.commit([commit(1, "1")]) == [APPLIED]
        key, client = PREFIX + name, harness.client
        client.rename(key, "kept")
        {  # type: ignore[no-untyped-call]
            "list": lambda: client.rpush(key, "x"),
            "string": lambda: client.set(key, "x"),
            "stream": lambda: client.xadd(key, {"x": "y"}),
            "zset": lambda: client.zadd(key, {"x": 1}),
        }[kind]()
        if name != "live":
            with pytest.raises(KeyMisused, match=name):
                await bus.renew(LONG_MS)
            with pytest.raises(KeyMisused, match=name):
                await harness.worker().acquire(LONG_MS)
        else:
            with pytest.raises(KeyMisused, match=name):
                await bus.live_calls()
        if name != "lease":
            assert await bus.commit([commit(2, "2")]) == [Answer(Outcome.BLOCKED, key)]
            assert data(harness, "out") == [b"1"]
        client.rename("kept", key)
        assert await bus.renew(LONG_MS) is Tenure.HELD
        assert await bus.commit([commit(2, "2")]) == [APPLIED]
        assert await bus.live_calls() == [b"c1"]
        assert data(harness, "out") == [b"1", b"2"]
