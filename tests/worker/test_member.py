"""Whole members of a fleet on the autojump clock: who holds what, when, and what calls notice of it."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
import trio
from tests.fleet_harness import LEASE_S, FleetHarness, MemberHarness, member_config, run_fleet
from tests.worker_harness import Producer
from trio.testing import MockClock

from trio_asr.config import Config, FlushConfig
from trio_asr.core.fleet.beat import Beat, Load
from trio_asr.core.fleet.route import shard_of
from trio_asr.telemetry.groups import leaves
from trio_asr.wire.records import Stored
from trio_asr.worker.beating import beats
from trio_asr.worker.joining import FleetError
from trio_asr.worker.member import LEAVING_STEP_S

IDS = ("call-a", "call-b", "call-c", "call-d", "call-e", "call-f")


def talk(on: FleetHarness, nursery: trio.Nursery, seconds: float) -> list[Producer]:
    """Let six calls talk at once, in the shards of their ids."""
    producers = [on.producer(interaction_id) for interaction_id in IDS]
    for producer in producers:
        nursery.start_soon(producer.talk, seconds)
    return producers


async def finish(on: FleetHarness, producers: list[Producer]) -> None:
    for producer in producers:
        producer.end()
    with trio.fail_after(60):
        for producer in producers:
            while not on.is_over(producer):  # noqa: ASYNC110 (the clock jumps)
                await trio.sleep(0.1)
    for producer in producers:
        assert on.is_complete(producer), producer.id


async def handing_over(member: MemberHarness) -> str:
    """Wait until a member hands a shard over; return to whom."""
    with trio.fail_after(30):
        while True:
            heirs = [one.heir for one in member.member.holdings.values() if one.leaving]
            if heirs:
                return heirs[0]
            await trio.sleep(0.01)


async def test_one_alone_takes_all_once_it_has_seen_nobody_else(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        a = on.join("a")
        await trio.sleep(4.9)
        assert a.held == []
        assert (a.role, a.reasons()) == ("standby", [])  # a member without a shard takes part
        await on.owned()
        assert a.held == [0, 1, 2, 3]
        assert a.role == "active"
        assert a.value("asr_fleet_members") == 1
        assert [a.value("asr_shard_held", shard=str(shard)) for shard in range(4)] == [1, 1, 1, 1]


async def test_lines_about_what_is_in_a_shard_name_it(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among 64 shards, a line that does not say of which it is helps nobody."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        on.join("a")
        await on.owned()
        producers = talk(on, nursery, 2)
        await trio.sleep(3)
        await finish(on, producers)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for logger in ("dispatcher", "calls", "interaction"):
        shards = [line.get("shard") for line in lines if line["logger"] == logger]
        assert shards
        assert None not in shards


async def test_two_that_join_together_share(autojump_clock: MockClock) -> None:
    async with run_fleet(8) as on:
        a, b = on.join("a"), on.join("b")
        await on.owned()
        assert trio.current_time() < 10
        assert (len(a.held), len(b.held)) == (4, 4)
        before = on.owners()
        await trio.sleep(600)
        assert on.owners() == before  # at rest nothing moves


async def test_who_joins_later_gets_its_share_and_no_call_loses_a_sample(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        on.join("a")
        await trio.sleep(130)  # what has just moved is left alone for two minutes
        producers = talk(on, nursery, 30)
        await trio.sleep(5)
        b = on.join("b")
        await on.balanced("a", "b")
        assert len(b.held) == 2
        await trio.sleep(30)
        await finish(on, producers)
        connections = {on.connections(producer) for producer in producers}
        assert connections == {1, 2}  # one reconnect for those that moved


async def test_who_stops_hands_all_over_and_goes(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 20)
        await trio.sleep(5)
        a.daemon.stop()
        assert a.role == "draining"
        with trio.fail_after(8):
            await a.done.wait()
        await on.owned()
        assert b.held == [0, 1, 2, 3]
        await trio.sleep(20)
        await finish(on, producers)
        assert {on.connections(producer) for producer in producers} <= {1, 2}
        assert b.value("asr_shard_handovers_total", why="given") == 2


async def test_an_heir_takes_all_that_is_passed_to_it_at_once(autojump_clock: MockClock) -> None:
    async with run_fleet(8) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 20)
        await trio.sleep(5)
        a.daemon.stop()
        kept = [0.0] * 8  # for how long the lease of each shard is kept for its heir
        with trio.fail_after(30):
            while b.held != list(range(8)):
                for shard, store in enumerate(on.fleet.stores):
                    kept[shard] += 0.01 if store.holder == "heir:b" else 0.0
                await trio.sleep(0.01)
        assert max(kept) <= 0.1
        await trio.sleep(20)
        await finish(on, producers)
        assert {on.connections(producer) for producer in producers} <= {1, 2}
        assert b.value("asr_shard_handovers_total", why="gave") == 0


async def test_the_last_one_stops_at_once(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        a = on.join("a")
        await on.owned()
        began = trio.current_time()
        a.daemon.stop()
        await a.done.wait()
        assert trio.current_time() - began < 0.5
        assert [store.holder for store in on.fleet.stores] == [None] * 4
        assert on.fleet.beats == {}


async def test_a_stop_while_a_lease_is_being_tried_for_ends(autojump_clock: MockClock) -> None:
    """What comes to a member that is about to go is given back, too."""
    async with run_fleet(2) as on:
        a = on.join("a")
        bus = a.router.bus(0)
        arrive = bus._arrive

        async def late() -> None:
            bus._arrive = arrive  # type: ignore[method-assign]
            await trio.sleep(2)
            await arrive()

        bus._arrive = late  # type: ignore[method-assign]
        while a.held != [1]:  # noqa: ASYNC110 (the clock jumps)
            await trio.sleep(0.1)
        a.daemon.stop()
        with trio.fail_after(10):
            await a.done.wait()
        assert [store.holder for store in on.fleet.stores] == [None, None]


async def test_what_a_dead_one_held_is_served_again_in_time(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 20)
        await trio.sleep(5)
        a.kill()
        del on.members["a"]
        assert await on.owned() <= LEASE_S + 3
        assert b.held == [0, 1, 2, 3]
        await trio.sleep(20)
        await finish(on, producers)


async def test_what_a_dead_one_held_is_served_in_the_midst_of_a_deployment(autojump_clock: MockClock) -> None:
    """A member joins every 1.5 s; what died meanwhile does not wait for the last of them."""
    async with run_fleet(8) as on, trio.open_nursery() as nursery:
        a, _ = await on.start("a", "b")

        async def deploy() -> None:
            for number in range(40):
                on.join(f"c{number}")
                await trio.sleep(1.5)

        nursery.start_soon(deploy)
        await trio.sleep(5)
        a.kill()
        del on.members["a"]
        assert await on.owned() <= LEASE_S + 7
        nursery.cancel_scope.cancel()


async def test_one_that_freezes_and_wakes_commits_nothing_and_is_a_member_again(
    autojump_clock: MockClock,
) -> None:
    """It sends nothing without its leases, finds other fences, and is filled up again."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 40)
        await trio.sleep(5)
        a.freeze()
        await trio.sleep(LEASE_S + 3)
        assert b.held == [0, 1, 2, 3]
        sent = [link.audio_bytes for link in a.provider.links]
        await trio.sleep(12)
        assert [link.audio_bytes for link in a.provider.links] == sent  # nothing is sent without the lease
        a.wake()
        await trio.sleep(1)
        assert (a.held, a.role) == ([], "standby")
        assert a.value("asr_shard_handovers_total", why="lost") == 2
        await on.balanced("a", "b")
        await trio.sleep(30)
        await finish(on, producers)


async def test_while_the_control_is_away_nothing_moves_and_nothing_stops(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, _ = await on.start("a", "b")
        producers = talk(on, nursery, 40)
        before = on.owners()
        on.fleet.away = True
        await trio.sleep(30)
        assert on.owners() == before
        assert any("fleet" in reason for reason in a.reasons())
        on.fleet.away = False
        await trio.sleep(5)
        assert not any("fleet" in reason for reason in a.reasons())
        await trio.sleep(300)
        assert on.owners() == before
        await finish(on, producers)
        assert {on.connections(producer) for producer in producers} == {1}


@pytest.mark.parametrize(("there_s", "back_s"), [(2.9, 0.0), (1.45, 1.45), (0.0, 2.9)])
async def test_slow_answers_to_its_beats_do_not_make_a_member_come_and_go(
    autojump_clock: MockClock, there_s: float, back_s: float
) -> None:
    """What the others see has not expired when the next beat comes; once none does, it takes part no more."""
    async with run_fleet(4) as on:
        a = on.join("a")
        await on.owned()
        beat = a.router.control.beat

        async def slowly(member: str, data: bytes, ttl_ms: int) -> None:
            await trio.sleep(there_s)
            await beat(member, data, ttl_ms)
            await trio.sleep(back_s)

        a.router.control.beat = slowly  # type: ignore[method-assign]
        for _ in range(600):
            await trio.sleep(0.1)
            assert a.member.takes_part(trio.current_time())
            assert [seen.member for seen in await beats(a.router.control)] == ["a"]
        on.fleet.away = True
        await trio.sleep(there_s + back_s + 4)
        assert not a.member.takes_part(trio.current_time())


async def test_another_number_of_shards_is_refused(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        on.join("a")
        await trio.sleep(1)
        other = on.make("b", shards=8)
        with trio.fail_after(5), pytest.RaisesGroup(FleetError, flatten_subgroups=True) as raised:
            await other.daemon.run()
        (error,) = leaves(raised.value)
        assert str(error) == (
            "fleet.shards = 8: this fleet has begun with 4, which cannot change; begin another one beside "
            "it, under another redis.consumer_group"
        )


async def test_a_beat_of_a_fleet_with_more_shards_harms_nobody(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        other = Beat(member="x", incarnation="x", draining=9.0, held={4: Load(500.0), 5: Load(500.0)})
        on.fleet.beats["x"] = other.encode(), math.inf
        a = on.join("a")
        await on.owned()
        assert a.held == [0, 1, 2, 3]


async def test_a_name_that_is_in_use_is_refused(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        on.join("a")
        await trio.sleep(1)
        began = trio.current_time()
        with pytest.RaisesGroup(FleetError, flatten_subgroups=True) as raised:
            await on.make("a").daemon.run()
        (error,) = leaves(raised.value)
        assert str(error).startswith("fleet.member = 'a': another member of this name is alive")
        assert trio.current_time() - began == pytest.approx(4, abs=0.1)


async def test_two_of_one_name_that_start_together_say_so(autojump_clock: MockClock) -> None:
    """Neither has seen the other's beat when it joined. From then on each hides the other's."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, twin = on.join("a"), on.make("a")
        nursery.start_soon(twin.run)
        reasons = list[str]()
        for _ in range(100):
            await trio.sleep(0.1)
            reasons += [*a.reasons(), *twin.reasons()]
        assert any(reason.startswith("fleet for") for reason in reasons)
        nursery.cancel_scope.cancel()


async def test_a_restart_in_place_moves_nothing(autojump_clock: MockClock) -> None:
    """With `rejoin_s` the shards are kept for the member's next start, under the same name."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = on.join("a", rejoin_s=5), on.join("b")
        await on.balanced("a", "b")
        before = on.owners()
        producers = talk(on, nursery, 20)
        await trio.sleep(5)
        a.daemon.stop()
        with trio.fail_after(1.5):
            await a.done.wait()
        await trio.sleep(3)  # the next start takes a while
        assert len(b.held) == 2
        a = on.join("a", rejoin_s=5)
        await on.owned()
        assert on.owners() == before
        await trio.sleep(20)
        await finish(on, producers)
        assert {on.connections(producer) for producer in producers} <= {1, 2}


async def test_who_does_not_come_back_in_time_is_replaced(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on:
        a, b = on.join("a", rejoin_s=5), on.join("b")
        await on.balanced("a", "b")
        a.daemon.stop()
        await a.done.wait()
        del on.members["a"]
        assert 5 <= await on.owned() <= 5 + 2
        assert b.held == [0, 1, 2, 3]


async def test_an_heir_that_dies_leaves_nothing_dark_for_long(autojump_clock: MockClock) -> None:
    async with run_fleet(6) as on, trio.open_nursery() as nursery:
        a, *_ = await on.start("a", "b", "c")
        producers = talk(on, nursery, 30)
        await trio.sleep(5)
        a.daemon.stop()
        heir = await handing_over(a)
        on.members.pop(heir).kill()
        with trio.fail_after(20):
            await a.done.wait()
        del on.members["a"]
        assert await on.owned() <= LEASE_S + 3
        (other,) = on.members.values()
        assert other.held == [0, 1, 2, 3, 4, 5]
        await trio.sleep(30)
        await finish(on, producers)


async def test_who_is_killed_while_it_leaves_leaves_nothing_dark_for_long(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 30)
        await trio.sleep(5)
        a.daemon.stop()
        await handing_over(a)
        a.kill()
        del on.members["a"]
        assert await on.owned() <= LEASE_S + 3
        assert b.held == [0, 1, 2, 3]
        await trio.sleep(30)
        await finish(on, producers)


async def test_nobody_takes_over_and_the_drain_ends(autojump_clock: MockClock) -> None:
    """The other one is alive, but frozen: after `drain_s` the shards are anybody's."""
    async with run_fleet(4) as on:
        a, b = on.join("a", drain_s=3), on.join("b")
        await on.balanced("a", "b")
        b.freeze()
        began = trio.current_time()
        a.daemon.stop()
        await a.done.wait()
        assert 3 <= trio.current_time() - began < 3.5
        assert sum(store.holder is None for store in on.fleet.stores) == 2


async def test_who_stops_while_nothing_answers_goes_once_its_leases_are_over(
    autojump_clock: MockClock,
) -> None:
    """From then on it owns nothing that could be handed over. Whoever comes back first loses no sample."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b", drain_s=60)
        producers = talk(on, nursery, 40)
        await trio.sleep(5)
        on.all_are_away(away=True)
        a.daemon.stop()
        began = trio.current_time()
        await a.done.wait()
        took_s = trio.current_time() - began
        grace_s = Config().shutdown.grace_ms / 1000
        assert LEASE_S * 3 / 4 + grace_s <= took_s <= LEASE_S + LEAVING_STEP_S + grace_s
        await trio.sleep(10)
        on.all_are_away(away=False)
        del on.members["a"]
        assert await on.owned() <= 5
        assert b.held == [0, 1, 2, 3]
        await trio.sleep(30)
        await finish(on, producers)


async def test_who_stops_while_the_control_alone_is_away_keeps_what_it_has(autojump_clock: MockClock) -> None:
    """It cannot know who is there to take it; its calls go on for as long as it may wait."""
    async with run_fleet(4) as on:
        a, _ = await on.start("a", "b", drain_s=20)
        on.fleet.away = True
        began = trio.current_time()
        a.daemon.stop()
        await trio.sleep(19)
        assert len(a.held) == 2
        await a.done.wait()
        assert trio.current_time() - began == pytest.approx(20, abs=LEAVING_STEP_S + 0.1)


async def test_a_reload_reaches_the_calls_of_all_shards(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a = on.join("a")
        await on.owned()
        talk(on, nursery, 5)
        await trio.sleep(2)
        config = member_config("a", 4, capacity=70)
        a.daemon.reload(msgspec.structs.replace(config, flush=FlushConfig(max_interval_ms=700)))
        for shard, tenure in a.daemon.office.tenures.items():
            assert tenure.services.config.flush.max_interval_ms == 700
            assert tenure.services.config.redis.audio_stream == f"{{asr-worker.{shard}}}:audio_stream"
        await trio.sleep(1)
        assert [beat.capacity for beat in await beats(a.router.control)] == [70]
        nursery.cancel_scope.cancel()


async def test_a_reload_lifts_the_limit_of_all_together(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a = on.join("a", max_connections=2)
        await on.owned()
        producers = talk(on, nursery, 20)
        await trio.sleep(5)
        assert a.daemon.office.open_connections == 2
        a.daemon.reload(member_config("a", 4))
        await trio.sleep(3)
        assert a.daemon.office.open_connections == len(producers)
        nursery.cancel_scope.cancel()


async def test_a_shard_for_a_later_version_is_left_to_one(autojump_clock: MockClock) -> None:
    async with run_fleet(2) as on:
        on.fleet.stores[1].states["call"] = Stored(1, b'{"version":99,"place":"in a way of its own"}')
        on.fleet.stores[1].live.add("call")
        a = on.join("a")
        await trio.sleep(30)
        assert a.held == [0]
        assert on.fleet.stores[1].holder is None
        assert a.role == "active"


async def test_one_frozen_shard_costs_that_shard(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a = on.join("a")
        await on.owned()
        producers = talk(on, nursery, 30)
        await trio.sleep(5)
        store = on.fleet.stores[shard_of(IDS[0], 4)]
        store.away = True
        await trio.sleep(10)
        others = [one for one in producers if one._store is not store]
        before = [len(on.messages(one, f"transcript.{one.id}")) for one in others]
        await trio.sleep(5)
        assert all(
            len(on.messages(one, f"transcript.{one.id}")) > count
            for one, count in zip(others, before, strict=True)
        )
        assert {"commits", "lease", "redis"} <= a.daemon.problems(trio.current_time()).keys()
        store.away = False
        await trio.sleep(15)
        assert a.daemon.problems(trio.current_time()) == {}
        await finish(on, producers)


async def test_who_is_cut_off_from_a_shard_loses_it_to_a_member_that_is_not(
    autojump_clock: MockClock,
) -> None:
    """It beats as before: that must not keep the others from what it cannot serve."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b")
        producers = talk(on, nursery, 40)
        await trio.sleep(5)
        shard = a.held[0]

        within_reach = a.router.cut_off(shard)
        began = trio.current_time()
        with trio.fail_after(30):
            while shard not in b.held:  # noqa: ASYNC110 (the clock jumps)
                await trio.sleep(0.1)
        assert trio.current_time() - began <= LEASE_S + 6  # nobody lacks a shard: it has to be overdue
        within_reach()
        await trio.sleep(30)
        assert a.value("asr_shard_handovers_total", why="lost") == 1  # it may have come back since
        await finish(on, producers)
        assert on.overlaps() == []


async def test_a_member_that_is_cut_from_a_shard_says_so_no_longer_than_its_lease(
    autojump_clock: MockClock,
) -> None:
    """Or the alert that two feed one shard would fire for as long as the way is cut."""
    async with run_fleet(4) as on:
        a, b = await on.start("a", "b")
        lost = a.held[0]
        within_reach = a.router.cut_off(lost)
        await trio.sleep(30)
        assert lost in b.held
        assert [one.sample("asr_shard_held", shard=str(lost)) for one in (a, b)] == [None, 1]
        assert a.value("asr_fleet_shards_held") + b.value("asr_fleet_shards_held") == 4
        within_reach()


async def test_a_shard_whose_server_is_gone_is_nobodys(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the lease is over, whether its holder lives or not. Nobody can ask for it, so nobody fails to."""
    async with run_fleet(4) as on:
        a, b = await on.start("a", "b")
        shard = a.held[0]
        on.fleet.stores[shard].away = True
        await trio.sleep(2)
        assert b.value("asr_fleet_shards_unowned") == 0
        await trio.sleep(LEASE_S)
        assert b.value("asr_fleet_shards_unowned") == 1
        a.kill()
        await trio.sleep(60)
        assert b.value("asr_fleet_shards_unowned") == 1
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        said = [
            one["shards"] for one in lines if one["event"] == "Nobody holds shards that cannot be asked for"
        ]
        assert said[-1] == [shard]
        on.fleet.stores[shard].away = False
        await on.owned()
        await trio.sleep(2)
        assert b.value("asr_fleet_shards_unowned") == 0
        assert "All shards that nobody holds can be asked for" in capsys.readouterr().err


async def test_a_view_that_is_old_is_none(autojump_clock: MockClock) -> None:
    """A standby cannot see anything while Redis is away: what it saw before is no news."""
    async with run_fleet(2) as on:
        await on.start("a", "b")
        c = on.join("c")
        await trio.sleep(10)
        assert (c.value("asr_fleet_members"), c.value("asr_fleet_share")) == (3, 1)
        on.all_are_away(away=True)
        await trio.sleep(5)
        assert c.value("asr_fleet_members") == 0
        assert (c.sample("asr_fleet_share"), c.sample("asr_fleet_shards_unowned")) == (None, None)
        assert c.daemon.elsewhere(IDS[0])["member"] == ""
        picture = c.member.picture()
        assert (picture.unowned, picture.share, picture.members) == (None, None, [])
        on.all_are_away(away=False)
        await trio.sleep(3)
        assert c.value("asr_fleet_members") == 3


async def test_what_a_member_shows_of_the_others(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = on.join("a", capacity=100), on.join("b", generation="2", capacity=100)
        await on.balanced("a", "b")
        talk(on, nursery, 10)
        await trio.sleep(5)
        picture = a.member.picture()
        assert [(row.member, row.shards, row.calls) for row in picture.members] == [
            (name, 2, len(on.members[name].daemon.interactions)) for name in "ab"
        ]
        assert (picture.member, picture.shards, picture.held, picture.share) == ("a", 4, 2, 2)
        assert (picture.unowned, picture.wanted, picture.handing_over) == (0, 0, 0)
        calls = [len(t.calls.interactions) for m in (a, b) for t in m.daemon.office.tenures.values()]
        assert picture.hottest is not None
        assert (picture.hottest.calls, picture.hottest.capacity) == (max(calls), 100)
        owner = on.owners()[shard_of(IDS[0], 4)]
        assert a.daemon.elsewhere(IDS[0]) == {"shard": shard_of(IDS[0], 4), "member": owner}
        assert b.value("asr_fleet_load_ratio") == len(b.daemon.interactions) / 100
        nursery.cancel_scope.cancel()


async def test_a_hot_shard_is_seen_by_its_entries(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a = on.join("a")
        await on.owned()
        busy, quiet = on.producer("call-a"), on.producer("call-b")
        nursery.start_soon(busy.talk, 4, 0.02)
        nursery.start_soon(quiet.talk, 4, 0.1)
        await trio.sleep(5)
        quiet.end()
        await trio.sleep(1)
        entries = dict.fromkeys(map(str, range(4)), 0)
        entries |= {str(shard_of(busy.id, 4)): 200, str(shard_of(quiet.id, 4)): 41}
        assert {one: a.value("asr_shard_entries_total", shard=one) for one in entries} == entries
        nursery.cancel_scope.cancel()


async def test_all_together_have_so_many_connections_and_no_more(autojump_clock: MockClock) -> None:
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a, b = await on.start("a", "b", max_connections=4)
        producers = talk(on, nursery, 20)
        most = 0
        for _ in range(100):
            await trio.sleep(0.1)
            most = max(most, a.daemon.office.open_connections + b.daemon.office.open_connections)
        assert most == 4  # of six calls
        await trio.sleep(12)
        for producer in producers:
            producer.end()
        await finish(on, producers)  # the others had their turn


async def test_who_cannot_reach_the_shards_is_given_none(autojump_clock: MockClock) -> None:
    """It sees the others and beats; but it could not take what is handed over to it."""
    async with run_fleet(4) as on, trio.open_nursery() as nursery:
        a = on.join("a")
        await on.owned()
        await trio.sleep(130)
        producers = talk(on, nursery, 60)
        b = on.make("b")

        b.router.cut_off(*range(4))
        on.members["b"] = b
        nursery.start_soon(b.run)
        for _ in range(600):
            await trio.sleep(0.1)
            assert a.held == [0, 1, 2, 3]
        assert {on.connections(producer) for producer in producers} == {1}
        nursery.cancel_scope.cancel()


async def test_what_another_has_got_is_no_problem_any_more(autojump_clock: MockClock) -> None:
    """Both try for what a dead one held, and one of them gets no answer."""
    async with run_fleet(6) as on:
        a, b, c = await on.start("a", "b", "c")
        on.members.pop("c").kill()

        within_reach = a.router.cut_off(*set(range(6)) - set(a.held))
        with trio.fail_after(60):
            while len(b.held) < 4:  # noqa: ASYNC110 (the clock jumps)
                await trio.sleep(0.1)
        within_reach()
        await trio.sleep(60)
        assert a.daemon.problems(trio.current_time()) == {}
        assert (c.name, a.reasons()) == ("c", [])


async def test_who_has_gone_does_not_beat_once_more(autojump_clock: MockClock) -> None:
    """The goodbye takes longer than a beat: its next start would wait, and lose what is kept for it."""
    async with run_fleet(4) as on:
        a = on.join("a")
        await on.owned()
        leave = a.router.control.leave

        async def slowly(member: str) -> None:
            await leave(member)
            await trio.sleep(0.9)

        a.router.control.leave = slowly  # type: ignore[method-assign]
        a.daemon.stop()
        await a.done.wait()
        assert on.fleet.beats == {}
