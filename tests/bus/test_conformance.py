"""What the daemon relies on, held against the real server and the one in memory alike.

Each test takes `clock` only so that pytest-trio runs it on that clock.
"""

from __future__ import annotations

import pytest
import trio
from tests.bus.bus_harness import AUDIO, ENDS, LONG_MS, BusHarness, commit, data
from trio.abc import Clock

from trio_asr.bus.base import Answer, Batch, Bus, Tenure
from trio_asr.wire import ids
from trio_asr.wire.ids import ORIGIN
from trio_asr.wire.records import Commit, Outcome, Stored, Write

APPLIED, DONE, STALE = Answer(Outcome.APPLIED), Answer(Outcome.DONE), Answer(Outcome.STALE)
LEASE_MS = 200


def read_ids(batch: Batch) -> tuple[list[str], list[str]]:
    return [name.decode() for name, _ in batch.audio], [name.decode() for name, _ in batch.ends]


# -- reading -------------------------------------------------------------------------------------------------


async def test_reads_what_lies_after_the_positions(clock: Clock | None, harness: BusHarness) -> None:
    """Both streams in one answer; fields come raw and complete; reading takes nothing away."""
    bus = harness.worker()
    one, two = harness.add(AUDIO, b"one"), harness.add(AUDIO, b"t\x00wo")
    end = harness.add(ENDS, b"end")
    for _ in range(2):
        batch = await bus.read(ORIGIN, ORIGIN)
        first, second = batch.audio
        assert (first[0], first[1]) == (one.encode(), [b"data", b"one"])
        assert (second[0], second[1]) == (two.encode(), [b"data", b"t\x00wo"])
        assert read_ids(batch) == ([one, two], [end])
    assert read_ids(await bus.read(one, end)) == ([two], [])
    assert read_ids(await bus.read(two, ORIGIN)) == ([], [end])
    assert read_ids(await bus.read(ids.before(two), end)) == ([two], [])


async def test_reading_needs_no_ownership(clock: Clock | None, harness: BusHarness) -> None:
    owner = harness.worker()
    assert await owner.acquire(LONG_MS) is Tenure.HELD
    added = harness.add(AUDIO, b"x")
    assert read_ids(await harness.worker().read(ORIGIN, ORIGIN)) == ([added], [])


async def test_ids_are_of_one_clock(clock: Clock | None, harness: BusHarness) -> None:
    """An end can be placed among the frames by its id; `now_ms` is of the same clock."""
    bus = harness.worker()
    before = await bus.now_ms()
    added = [harness.add(AUDIO, b"a"), harness.add(AUDIO, b"b")]
    assert ids.key(added[0]) < ids.key(added[1])
    assert before <= ids.milliseconds(added[0]) <= before + 5000
    await trio.sleep(0.01)
    assert ids.key(harness.add(ENDS, b"e")) > ids.key(added[1])


async def test_an_empty_read_comes_back(clock: Clock | None, harness: BusHarness) -> None:
    with trio.fail_after(60):
        assert not any(await harness.worker().read(ORIGIN, ORIGIN))


@pytest.mark.parametrize("stream", [AUDIO, ENDS])
async def test_a_waiting_read_wakes_for_either_stream(
    clock: Clock | None, harness: BusHarness, stream: str
) -> None:
    bus = harness.worker()
    batches: list[Batch] = []

    async def read() -> None:
        while not batches or not (batches[-1].audio or batches[-1].ends):
            batches.append(await bus.read(ORIGIN, ORIGIN))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.02)
            added = harness.add(stream, b"x")
    assert read_ids(batches[-1]) == (([added], []) if stream == AUDIO else ([], [added]))


async def test_a_full_read_says_so(clock: Clock | None, harness: BusHarness) -> None:
    """The limit is each stream's own; exactly the limit may be all there is, but nobody can know."""
    bus = harness.worker()
    added = [harness.add(AUDIO, b"x") for _ in range(7)]
    batch = await bus.read(ORIGIN, ORIGIN)
    assert read_ids(batch) == (added[:5], [])
    assert (batch.audio_full, batch.ends_full) == (True, False)
    batch = await bus.read(added[4], ORIGIN)
    assert read_ids(batch) == (added[5:], [])
    assert not batch.audio_full
    assert (await bus.read(added[1], ORIGIN)).audio_full
    ends = [harness.add(ENDS, b"x") for _ in range(5)]
    batch = await bus.read(added[6], ORIGIN)
    assert read_ids(batch) == ([], ends)
    assert (batch.audio_full, batch.ends_full) == (False, True)


async def test_a_stream_cut_under_the_reader_is_told(clock: Clock | None, harness: BusHarness) -> None:
    """Producers that add with a small MAXLEN delete what nobody has read yet."""
    bus = harness.worker()
    added = [harness.add(AUDIO, b"x") for _ in range(4)]
    assert (await bus.read(ORIGIN, ORIGIN)).trimmed is None
    added += [harness.add(AUDIO, b"x", maxlen=3) for _ in range(2)]
    batch = await bus.read(added[2], ORIGIN)
    assert read_ids(batch) == (added[3:], [])
    is_next = ids.key(added[3]) == ids.key(added[2]) + 1  # of the same millisecond
    assert batch.trimmed == (None if is_next else ids.before(added[3])), "else there may have been more"
    batch = await bus.read(added[1], ORIGIN)
    assert read_ids(batch) == (added[3:], [])
    assert batch.trimmed == ids.before(added[3])
    assert (await bus.read(ids.before(added[3]), ORIGIN)).trimmed is None, "nothing can be in between"
    assert (await bus.read(ORIGIN, ORIGIN)).trimmed is None, "who begins with what there is misses nothing"
    added.append(harness.add(AUDIO, b"x", maxlen=1))
    assert (await bus.read(added[4], ORIGIN)).trimmed == ids.before(added[6])
    batch = await bus.read(added[6], ORIGIN)
    assert not any(batch[:5]), "nothing new"


@pytest.mark.usefixtures("counting")
async def test_what_was_read_may_be_cut_off_without_an_alarm(
    clock: Clock | None, harness: BusHarness
) -> None:
    """A call pauses, and its producer or an operator cleans up meanwhile; then the next frame comes."""
    bus = harness.worker()
    at = ORIGIN
    for round_ in range(6):
        added = [harness.add(AUDIO, b"x") for _ in range(3)]
        batch = await bus.read(at, ORIGIN)
        assert (read_ids(batch), batch.trimmed) == ((added, []), None)
        at = added[-1]
        if round_ == 0:
            assert not any((await bus.read(at, ORIGIN))[:5])
        if round_ % 2:
            harness.cut(AUDIO, added)
        else:
            harness.add(AUDIO, b"y", maxlen=1)
            batch = await bus.read(at, ORIGIN)
            assert (len(batch.audio), batch.trimmed) == (1, None)
            at = read_ids(batch)[0][0]
    harness.drop(AUDIO)
    added = [harness.add(AUDIO, b"x")]
    batch = await bus.read(at, ORIGIN)
    assert (read_ids(batch), batch.trimmed) == ((added, []), None)


@pytest.mark.usefixtures("counting")
async def test_what_was_added_and_cut_off_between_two_reads_is_told(
    clock: Clock | None, harness: BusHarness
) -> None:
    bus = harness.worker()
    at = harness.add(AUDIO, b"x")
    await bus.read(ORIGIN, ORIGIN)
    assert not (await bus.read(at, ORIGIN)).audio
    unread = [harness.add(AUDIO, b"x") for _ in range(2)]
    harness.cut(AUDIO, [at, *unread])
    after = [harness.add(AUDIO, b"x") for _ in range(2)]
    batch = await bus.read(at, ORIGIN)
    assert (read_ids(batch)[0], batch.trimmed) == (after, ids.before(after[0]))
    harness.cut(AUDIO, after)
    assert not (await bus.read(after[1], ORIGIN)).audio
    after.append(harness.add(AUDIO, b"x"))
    batch = await bus.read(after[1], ORIGIN)
    assert (read_ids(batch)[0], batch.trimmed) == (after[2:], None), "told once"


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("made", [False, True])
async def test_what_was_cut_off_before_the_first_read_of_a_new_stream_is_told(
    clock: Clock | None, harness: BusHarness, made: bool
) -> None:
    """Who has seen that there was nothing knows what was added since."""
    bus = harness.worker()
    if made:
        await bus.show_lag(ORIGIN, ORIGIN)  # as every worker does; it makes the stream
    for _ in range(3):
        assert not (await bus.read(ORIGIN, ORIGIN)).audio
    added = [harness.add(AUDIO, b"x", maxlen=4) for _ in range(12)]
    batch = await bus.read(ORIGIN, ORIGIN)
    assert (read_ids(batch)[0], batch.trimmed) == (added[8:], ids.before(added[8]))
    assert (await harness.worker().read(ORIGIN, ORIGIN)).trimmed is None, "a new one does not know"


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("seen", [False, True])
async def test_what_was_cut_off_of_a_stream_that_began_again_is_told(
    clock: Clock | None, harness: BusHarness, seen: bool
) -> None:
    """Also while fewer were ever added to it than to the one before: what was read of that does not count."""
    bus = harness.worker()
    added = [harness.add(AUDIO, b"x") for _ in range(20)]
    assert (await bus.read(ORIGIN, ORIGIN)).trimmed is None
    assert not (await bus.read(added[-1], ORIGIN)).audio
    harness.drop(AUDIO)
    if seen:
        assert not (await bus.read(added[-1], ORIGIN)).audio
    again = [harness.add(AUDIO, b"x", maxlen=4) for _ in range(12)]
    batch = await bus.read(added[-1], ORIGIN)
    assert (read_ids(batch)[0], batch.trimmed) == (again[8:], ids.before(again[8]))
    again.append(harness.add(AUDIO, b"x", maxlen=4))
    batch = await bus.read(again[11], ORIGIN)
    assert (read_ids(batch)[0], batch.trimmed) == (again[12:], None), "told once"


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize("lost", [False, True])
async def test_a_reader_that_goes_on_from_another_knows_what_was_read(
    clock: Clock | None, harness: BusHarness, lost: bool
) -> None:
    """What was read before a restart may be cut off without an alarm, what was added since may not."""
    added = [harness.add(AUDIO, b"x") for _ in range(3)]
    bus = harness.worker()
    known = (await bus.read(ORIGIN, ORIGIN)).added
    assert known == 3
    if lost:
        added.append(harness.add(AUDIO, b"x"))
    harness.cut(AUDIO, added)
    again = [harness.add(AUDIO, b"x")]
    before = ids.before(added[0])
    for back in (bus, harness.worker()):
        back.goes_on(added[2], known)
        batch = await back.read(before, ORIGIN)
        assert read_ids(batch)[0] == again
        assert batch.trimmed == (ids.before(again[0]) if lost else None)
        assert batch.added == known + lost + 1
    assert (await harness.worker().read(before, ORIGIN)).trimmed == ids.before(again[0]), "who knows nothing"


@pytest.mark.usefixtures("counting")
async def test_a_stream_that_has_nothing_any_more_says_so(clock: Clock | None, harness: BusHarness) -> None:
    bus = harness.worker()
    added = [harness.add(AUDIO, b"x") for _ in range(2)]
    harness.cut(AUDIO, added)
    batch = await bus.read(added[0], ORIGIN)
    assert (batch.audio, batch.gone) == ([], added[1])
    added.append(harness.add(AUDIO, b"x"))
    assert (await bus.read(added[1], ORIGIN)).trimmed is None


async def test_trimming_keeps_what_is_read_from_there_on(clock: Clock | None, harness: BusHarness) -> None:
    bus = harness.worker()
    added = [harness.add(AUDIO, b"x") for _ in range(4)]
    for floor in (added[2], added[0]):
        await bus.trim(floor)
        assert read_ids(await bus.read(ids.before(added[2]), ORIGIN)) == (added[2:], [])


# -- committing ----------------------------------------------------------------------------------------------


async def test_a_commit_writes_and_stores(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    two_streams = Commit("c1", 2, b"two", (Write("out", b"2"), Write("events", b"e")))
    assert await bus.commit([commit(1, "a", "b")]) == [APPLIED]
    assert await bus.commit([two_streams]) == [APPLIED]
    assert data(harness, "out") == [b"a", b"b", b"2"]
    assert data(harness, "events") == [b"e"]
    assert await bus.load(["c1"]) == [Stored(2, b"two")]


async def test_a_repeated_commit_writes_nothing(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    """A lost answer is not known from a lost request: the same commit is sent again. (requirements 7)"""
    assert await bus.commit([commit(1, "a")]) == [APPLIED]
    assert await bus.commit([commit(1, "a")]) == [DONE]
    assert await bus.commit([commit(2, "b"), commit(2, "b")]) == [APPLIED, DONE]
    assert data(harness, "out") == [b"a", b"b"]
    assert await bus.load(["c1"]) == [Stored(2, b"state 2 of c1")]


@pytest.mark.parametrize(
    "late",
    [commit(1, "x"), commit(2, "x", state=b"of another history"), commit(4, "x")],
    ids=["overtaken", "same revision, other state", "from the future"],
)
async def test_a_commit_that_does_not_fit_writes_nothing(
    clock: Clock | None, harness: BusHarness, bus: Bus, late: Commit
) -> None:
    await bus.commit([commit(1, "a"), commit(2, "b")])
    assert await bus.commit([late]) == [STALE]
    assert data(harness, "out") == [b"a", b"b"]
    assert await bus.load(["c1"]) == [Stored(2, b"state 2 of c1")]


async def test_commits_are_judged_each_on_its_own(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    await bus.commit([commit(1, "a"), commit(1, "b", owner="c2")])
    answers = await bus.commit(
        [commit(1, "a"), commit(9, "x", owner="c2"), commit(1, "c", owner="c3"), commit(2, "d")]
    )
    assert answers == [DONE, STALE, APPLIED, APPLIED]
    assert data(harness, "out") == [b"a", b"b", b"c", b"d"]


async def test_no_commits_are_no_answers(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    assert await bus.commit([]) == []


async def test_another_owner_fences_a_commit_out(clock: Clock | None, harness: BusHarness) -> None:
    old, new = harness.worker(), harness.worker()
    assert await old.acquire(LEASE_MS) is Tenure.HELD
    assert await old.commit([commit(1, "a")]) == [APPLIED]
    await trio.sleep(LEASE_MS / 1000 + 0.01)
    assert await new.acquire(LONG_MS) is Tenure.HELD
    late = [commit(2, "late"), commit(1, "late", owner="c2"), commit(1, "a")]
    assert await old.commit(late) == [Answer(Outcome.FENCED)] * 3
    assert data(harness, "out") == [b"a"]
    assert await new.load(["c1", "c2"]) == [Stored(1, b"state 1 of c1"), Stored()]
    assert await new.commit([commit(2, "b")]) == [APPLIED]


async def test_a_commit_without_any_fence_writes_nothing(
    clock: Clock | None, harness: BusHarness, bus: Bus
) -> None:
    await bus.commit([commit(1, "a")])
    harness.lose_all()
    assert await bus.commit([commit(2, "b")]) == [Answer(Outcome.UNFENCED)]
    assert data(harness, "out") == []
    assert await bus.load(["c1"]) == [Stored()]
    # With the fence set again, what was in flight restores the state: no revision is none to contradict.
    assert await bus.renew(LONG_MS) is Tenure.MISSING
    assert await bus.acquire(LONG_MS) is Tenure.HELD
    assert await bus.commit([commit(2, "b")]) == [APPLIED]
    assert await bus.load(["c1"]) == [Stored(2, b"state 2 of c1")]
    assert await bus.live_calls() == [b"c1"]


async def test_who_never_owned_commits_nothing(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    assert await harness.worker().commit([commit(1, "x")]) == [Answer(Outcome.FENCED)]
    assert data(harness, "out") == []


# -- what a start reads --------------------------------------------------------------------------------------


async def test_live_calls(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    """Calls are live from their first commit to the one that ends them, and again after a later one."""
    assert await bus.live_calls() == []
    await bus.commit([commit(1, owner="b"), commit(1, owner="a"), commit(1, owner="")])
    assert await bus.live_calls() == [b"a", b"b"]
    await bus.commit([commit(2, owner="a", live=False)])
    assert await bus.live_calls() == [b"b"]
    assert await bus.load(["a"]) == [Stored(2, b"state 2 of a")], "what an ended call had is kept"
    await bus.commit([commit(3, owner="a")])
    assert await bus.live_calls() == [b"a", b"b"]


async def test_load_keeps_the_order(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    """The reader's own state, "", is apart from every call's."""
    owners = [f"c{i}" for i in range(1200)]
    await bus.commit([commit(1, owner=owner) for owner in ("c7", "c1100", "reader", "")])
    stored = dict(zip(owners, await bus.load(owners), strict=True))
    assert {owner for owner, one in stored.items() if one != Stored()} == {"c7", "c1100"}
    assert stored["c1100"] == Stored(1, b"state 1 of c1100")
    assert await bus.load(["", "x", "reader"]) == [
        Stored(1, b"state 1 of "),
        Stored(),
        Stored(1, b"state 1 of reader"),
    ]
    assert await bus.load([]) == []


async def test_owners_of_any_name(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    owner = "Ünïcode / with: blanks %s *?[a] " + "x" * 200
    assert await bus.commit([commit(1, "a", owner=owner, stream=f"transcript.{owner}")]) == [APPLIED]
    assert await bus.live_calls() == [owner.encode()]
    assert await bus.load([owner]) == [Stored(1, f"state 1 of {owner}".encode())]


async def test_show_lag(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    """It can be said at any time, also before any audio, and changes nothing that is read."""
    await bus.show_lag(ORIGIN, ORIGIN)
    added = harness.add(AUDIO, b"x")
    await bus.show_lag(added, ORIGIN)
    assert read_ids(await bus.read(ORIGIN, ORIGIN)) == ([added], [])


# -- ownership -----------------------------------------------------------------------------------------------


async def test_one_owner_at_a_time(clock: Clock | None, harness: BusHarness) -> None:
    first, second = harness.worker(), harness.worker()
    assert await first.acquire(LONG_MS) is Tenure.HELD
    assert await second.acquire(LONG_MS) is Tenure.LOST
    assert await first.renew(LONG_MS) is Tenure.HELD
    assert await second.renew(LONG_MS) is Tenure.LOST


async def test_a_lease_expires(clock: Clock | None, harness: BusHarness) -> None:
    """Renewing puts it off; after it expired another takes over, and the first is told."""
    first, second = harness.worker(), harness.worker()
    assert await first.acquire(LEASE_MS) is Tenure.HELD
    await trio.sleep(LEASE_MS / 2000)
    assert await first.renew(LONG_MS) is Tenure.HELD
    await trio.sleep(LEASE_MS * 0.8 / 1000)
    assert await second.acquire(LONG_MS) is Tenure.LOST, "the renewed lease lasts longer than the first"
    assert await first.renew(LEASE_MS) is Tenure.HELD
    await trio.sleep(LEASE_MS * 1.3 / 1000)
    assert await second.acquire(LONG_MS) is Tenure.HELD
    assert await first.renew(LEASE_MS) is Tenure.LOST
    assert await first.acquire(LEASE_MS) is Tenure.LOST
    assert await second.renew(LONG_MS) is Tenure.HELD


async def test_an_expired_lease_that_nobody_took_is_made_anew(
    clock: Clock | None, harness: BusHarness
) -> None:
    """A pause costs nothing while nobody else is interested: the fence is still ours."""
    first, second = harness.worker(), harness.worker()
    assert await first.acquire(LEASE_MS // 4) is Tenure.HELD
    await trio.sleep(LEASE_MS * 2 / 4000)
    assert await first.commit([commit(1, "a")]) == [APPLIED], "commits ask for the fence only"
    assert await first.renew(LONG_MS) is Tenure.HELD
    assert await second.acquire(LONG_MS) is Tenure.LOST


async def test_a_released_lease_is_free_at_once(clock: Clock | None, harness: BusHarness) -> None:
    first, second = harness.worker(), harness.worker()
    assert await first.acquire(LONG_MS) is Tenure.HELD
    await first.release()
    assert await second.acquire(LONG_MS) is Tenure.HELD
    await first.release()  # a second time, late: it is somebody else's now
    assert await first.acquire(LONG_MS) is Tenure.LOST
    assert await second.renew(LONG_MS) is Tenure.HELD


async def test_release_without_ownership_changes_nothing(
    clock: Clock | None, harness: BusHarness, bus: Bus
) -> None:
    await harness.worker().release()
    assert await harness.worker().acquire(LONG_MS) is Tenure.LOST
    assert await bus.renew(LONG_MS) is Tenure.HELD


async def test_every_tenure_has_a_fence_of_its_own(clock: Clock | None, harness: BusHarness) -> None:
    """What is still under way from a worker's own former tenure is fenced out, too."""
    bus, former = harness.worker(), harness.worker()
    assert await former.acquire(LONG_MS) is Tenure.HELD
    await former.release()
    assert await bus.acquire(LONG_MS) is Tenure.HELD
    await bus.release()
    assert await former.acquire(LONG_MS) is Tenure.HELD
    assert await bus.commit([commit(1, "x")]) == [Answer(Outcome.FENCED)]


async def test_a_missing_fence(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    """A server that lost its data says so, to the owner and to others, until somebody acquires."""
    harness.lose_all()
    assert await bus.renew(LONG_MS) is Tenure.MISSING
    assert await bus.renew(LONG_MS) is Tenure.MISSING, "renewing does not hide it"
    other = harness.worker()
    assert await other.renew(LONG_MS) is Tenure.MISSING
    assert await other.acquire(LONG_MS) is Tenure.HELD
    assert await bus.renew(LONG_MS) is Tenure.LOST


async def test_only_one_of_many_acquires(clock: Clock | None, harness: BusHarness) -> None:
    workers = [harness.worker() for _ in range(5)]
    held: list[bool] = []

    async def acquire(worker: Bus) -> None:
        held.append(await worker.acquire(LONG_MS) is Tenure.HELD)

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(acquire, worker)
    assert sorted(held) == [False] * 4 + [True]


@pytest.mark.parametrize("heir", [None, "b"])
async def test_what_is_under_way_of_who_gave_up_takes_no_effect(
    clock: Clock | None, harness: BusHarness, heir: str | None
) -> None:
    """Not even while nobody owns the calls: a late renewal would bring the lease back."""
    first, second = harness.worker("a"), harness.worker("b")
    assert await first.acquire(LONG_MS) is Tenure.HELD
    assert await first.commit([commit(1, "a")]) == [APPLIED]
    await (first.release() if heir is None else first.pass_on(heir))
    assert await first.renew(LONG_MS) is Tenure.LOST
    assert await first.commit([commit(2, "late")]) == [Answer(Outcome.FENCED)]
    await first.pass_on("c")  # a second time, since its answer was lost
    await first.release()
    assert await second.acquire(LONG_MS) is Tenure.HELD
    assert await first.renew(LONG_MS) is Tenure.LOST
    assert await second.commit([commit(2, "b")]) == [APPLIED]
    assert data(harness, "out") == [b"a", b"b"]


async def test_what_is_passed_on_is_the_heirs_alone(clock: Clock | None, harness: BusHarness) -> None:
    first, heir, other, lone = (harness.worker(name) for name in ("a", "b", "c", ""))
    assert await first.acquire(LONG_MS) is Tenure.HELD
    await first.pass_on("b")
    for one in (other, lone, first):
        assert await one.acquire(LONG_MS) is Tenure.LOST
    assert await heir.acquire(LONG_MS) is Tenure.HELD
    assert await heir.acquire(LONG_MS) is Tenure.LOST, "it is no heir's any more"


async def test_an_heir_may_be_oneself(clock: Clock | None, harness: BusHarness) -> None:
    """A member that restarts in place finds its calls again."""
    bus = harness.worker("a")
    assert await bus.acquire(LONG_MS) is Tenure.HELD
    await bus.pass_on("a", LONG_MS)
    assert await harness.worker("b").acquire(LONG_MS) is Tenure.LOST
    assert await harness.worker("a").acquire(LONG_MS) is Tenure.HELD


async def test_an_heir_that_does_not_come_loses_it(clock: Clock | None, harness: BusHarness) -> None:
    """There is no state of a hand-over that lasts."""
    first, other = harness.worker("a"), harness.worker("c")
    assert await first.acquire(LONG_MS) is Tenure.HELD
    await first.pass_on("b", LEASE_MS // 4)
    await trio.sleep(LEASE_MS * 2 / 4000)
    assert await first.renew(LONG_MS) is Tenure.LOST
    assert await other.acquire(LONG_MS) is Tenure.HELD


async def test_who_owns_nothing_passes_nothing_on(clock: Clock | None, harness: BusHarness, bus: Bus) -> None:
    await harness.worker("a").pass_on("b")
    assert await harness.worker("b").acquire(LONG_MS) is Tenure.LOST
    assert await bus.renew(LONG_MS) is Tenure.HELD
