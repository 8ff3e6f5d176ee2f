"""Who is let in, who is dropped for whom, and when a request has its turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_asr.web.clients import (
    ALWAYS,
    BURST,
    MAX_CLIENTS,
    MAX_PER_PEER,
    PER_SECOND,
    RESERVED_FILES,
    Client,
    Clients,
    Pace,
)

FILES = 65_536


def filled(by: list[str], files: int = FILES) -> tuple[Clients, list[Client]]:
    """Clients taken in this order, at seconds 0, 1, 2, ..."""
    connected = Clients(files)
    taken = [Client(peer, float(i)) for i, peer in enumerate(by)]
    for i, client in enumerate(taken):
        assert connected.admit(client, i) == []
    return connected, taken


def test_one_address_is_bounded_and_its_oldest_goes() -> None:
    connected, taken = filled(["192.0.2.1"] * MAX_PER_PEER)
    assert connected.admit(Client("192.0.2.1", 99.0), 60) == [taken[0]]
    assert connected.admit(Client("192.0.2.2", 99.0), 61) == []
    assert len(connected) == MAX_PER_PEER + 1


def test_when_all_are_taken_the_largest_crowd_gives_one_up() -> None:
    crowd = ["192.0.2.1"] * (MAX_PER_PEER - 1)
    connected, taken = filled(
        ["192.0.2.9", *crowd, *(f"10.0.0.{i}" for i in range(MAX_CLIENTS - MAX_PER_PEER))]
    )
    assert connected.admit(Client("192.0.2.8", 99.0), 60) == [taken[1]]
    assert len(connected) == MAX_CLIENTS


def test_who_is_on_this_machine_is_pushed_out_by_nobody_else() -> None:
    connected, taken = filled(
        ["127.0.0.1", "::1", *(f"10.0.{i // 9}.{i % 9}" for i in range(MAX_CLIENTS - 2))]
    )
    assert connected.admit(Client("192.0.2.8", 99.0), 60) == [taken[2]]
    assert connected.admit(Client("127.0.0.1", 99.0), 60) == [taken[3]]
    for client in taken[2:]:
        client.waiting = None
    connected.remove(taken[5])
    assert connected.admit(Client("192.0.2.7", 99.0), 60) == []


def test_who_is_being_answered_is_left_in_peace() -> None:
    connected, taken = filled(["192.0.2.1"] * MAX_PER_PEER)
    taken[0].waiting = None
    assert connected.admit(Client("192.0.2.1", 99.0), 60) == [taken[1]]
    for client in taken:
        client.waiting = None
    last = Client("192.0.2.1", 99.0)
    assert connected.admit(last, 60) is not None
    last.waiting = None
    assert connected.admit(Client("192.0.2.1", 99.0), 60) is None


def test_the_last_files_are_for_calls() -> None:
    connected = Clients(256)
    assert connected.most == 64
    for i in range(ALWAYS):
        assert connected.admit(Client(f"10.0.0.{i}", 0.0), 250 + i) == []  # somebody may always look
    assert connected.admit(Client("10.0.1.1", 0.0), 256 - RESERVED_FILES) is None
    assert connected.admit(Client("10.0.1.1", 0.0), 256 - RESERVED_FILES - 1) == []
    assert Clients(8).most == ALWAYS


def test_who_was_answered_goes_before_who_was_not() -> None:
    """A request that waits for its turn keeps its connection, but for one whose sender has had answers."""
    connected, taken = filled(["192.0.2.1"] * MAX_PER_PEER)
    for client in taken:
        client.asked = True
    assert connected.admit(Client("192.0.2.1", 99.0), 60) is None
    taken[7].answered, taken[8].answered = 5, 6
    last = Client("192.0.2.1", 99.0)
    assert connected.admit(last, 60) == [taken[8]]
    assert connected.admit(Client("192.0.2.1", 100.0), 60) == [last]  # it has sent nothing yet


@given(st.lists(st.tuples(st.sampled_from(["127.0.0.1", "10.0.0.1", "10.0.0.2", "odd"]), st.booleans())))
def test_the_bounds_hold_whoever_comes(newcomers: list[tuple[str, bool]]) -> None:
    connected, inside = Clients(24), set[Client]()
    for i, (peer, answered) in enumerate(newcomers):
        client = Client(peer, float(i))
        losers = connected.admit(client, 0)
        inside -= set(losers or ())
        if losers is not None:
            inside.add(client)
            client.waiting = None if answered else client.waiting
        assert len(inside) == len(connected) <= connected.most
        assert all(one.waiting is not None for one in losers or ())


def test_so_many_requests_at_once_and_then_so_many_a_second() -> None:
    pace = Pace()
    turns = [pace.turn(100.0) for _ in range(BURST + 10)]
    assert turns[BURST - 1] <= 100.000001
    assert [round(turn - 100.0, 6) for turn in turns[BURST:]] == [
        round(i / PER_SECOND, 6) for i in range(1, 11)
    ]
    assert pace.turn(200.0) <= 200.000001
