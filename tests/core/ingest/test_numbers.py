"""The numbers of a client's messages: what is stored, and what a client that resumes repeats."""

from __future__ import annotations

from trio_asr.core.ingest.numbers import Numbers


def test_a_message_is_reached_with_its_last_sample() -> None:
    of = Numbers()
    for end in (100, 250, 400):
        assert of.new(b"x") == b"x"
        of.ends_at(end)
    assert of.reach(99) == (0, 0)
    assert of.reach(100) == (1, 100)
    assert of.reach(399) == (2, 250)
    assert of.reach(1000) == (3, 400)


def test_messages_that_are_dropped_are_not_kept_in_mind() -> None:
    of = Numbers()
    for end in range(100, 100_000, 100):
        of.new(b"x")
        of.ends_at(end)
        of.pass_over(end - 250)
    assert len(of._ends) == 4
    assert of.reach(99) == (0, 0)
    assert of.reach(99_650) == (996, 99_600)


def test_what_is_stored_is_left_out_of_what_a_client_sends_again() -> None:
    of = Numbers(5)
    assert of.resume(7, -30, 4)
    assert of.reach(0) == (7, -30)
    assert [of.new(b"abcdef") for _ in range(4)] == [b"", b"", b"ef", b"abcdef"]


def test_more_of_a_message_may_be_stored_than_the_client_now_sends() -> None:
    of = Numbers(1)
    assert of.resume(1, 0, 8)
    assert [of.new(part) for part in (b"abcde", b"fghij")] == [b"", b"ij"]


def test_a_client_cannot_resume_behind_what_is_stored() -> None:
    assert not Numbers(9).resume(7, 0, 0)
