"""The reader's own checkpoint: nothing that is dead-lettered is missed or written twice by a restart."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.reader_state import (
    MAX_JUNK_QUEUED,
    MAX_JUNK_SHOWN,
    MAX_WRITES,
    DeadLetter,
    ReaderBox,
    dead_letter,
)
from trio_asr.wire import ids
from trio_asr.wire.records import Commit, Outcome, ReaderState, Stored, decode_reader

STREAM = "audio_stream.dead"


def box_of(stored: Stored = Stored()) -> ReaderBox:  # noqa: B008 (immutable)
    return ReaderBox(stored, STREAM, 500)


def letter(entry: str) -> DeadLetter:
    return DeadLetter("audio_stream", entry, "json", "data is not JSON", "x")


def committed(box: ReaderBox) -> Commit:
    commit = box.next_commit(7)
    assert commit is not None
    box.settle(Outcome.APPLIED)
    return commit


def test_a_first_start_reads_from_the_beginning() -> None:
    box = box_of()
    assert box.first_start
    assert box.idle
    assert box.start() == ("0-0", "0-0")
    assert box.next_commit(7) is None


def test_a_start_reads_audio_from_a_margin_before_the_floor_and_ends_from_theirs() -> None:
    box = box_of()
    box.floor("1700000009000-5", "1700000008000-1")
    commit = committed(box)
    assert (commit.owner, commit.rev, commit.writes, commit.live) == ("", 1, (), True)
    again = box_of(Stored(commit.rev, commit.state))
    assert not again.first_start
    assert again.start() == (ids.before("1700000004000-0"), "1700000008000-0")
    assert again.idle


def test_a_floor_that_did_not_move_is_not_written_again() -> None:
    box = box_of()
    box.floor("9-0", "8-0")
    committed(box)
    box.floor("9-0", "8-0")
    assert box.idle
    assert box.next_commit(7) is None


def test_a_dead_letter_says_what_was_wrong_and_the_stream_is_bounded() -> None:
    box = box_of()
    assert box.junk(letter("5-1"), ends=False)
    (write,) = committed(box).writes
    assert (write.stream, write.maxlen) == (STREAM, 500)
    assert json.loads(write.data) == {
        "stream": "audio_stream",
        "entry": "5-1",
        "kind": "json",
        "reason": "data is not JSON",
        "data": "x",
        "timestamp_ms": 7,
    }
    assert box.confirmed == ReaderState(audio_junk="5-1")


def test_what_was_dead_lettered_is_not_again_by_a_restart_or_a_second_reading() -> None:
    box = box_of()
    assert box.junk(letter("5-1"), ends=False)
    assert not box.junk(letter("5-1"), ends=False)
    assert box.junk(letter("5-1"), ends=True)  # another stream
    commit = committed(box)
    again = box_of(Stored(commit.rev, commit.state))
    assert not again.junk(letter("5-1"), ends=False)
    assert not again.junk(letter("4-9"), ends=True)
    assert again.junk(letter("5-2"), ends=False)


def test_the_commit_in_flight_is_repeated_unchanged() -> None:
    box = box_of()
    box.junk(letter("5-1"), ends=False)
    commit = box.next_commit(1)
    box.junk(letter("5-2"), ends=False)
    box.floor("6-0", "6-0")
    assert box.settle(Outcome.REFUSED) == ()
    assert box.next_commit(2) is commit
    box.settle(Outcome.DONE)
    assert not box.idle
    assert [json.loads(write.data)["entry"] for write in committed(box).writes] == ["5-2"]
    assert box.confirmed == ReaderState("6-0", "6-0", "5-2", "0-0")


def test_no_floor_is_committed_past_a_dead_letter_that_still_waits() -> None:
    """Killed between two commits of many letters, a restart must read the rest again."""
    box = box_of()
    for n in range(1, 2 * MAX_WRITES + 1):
        box.junk(letter(f"{n}-0"), ends=False)
    box.floor("9999-0", "9999-0")
    first = committed(box)
    assert len(first.writes) == MAX_WRITES
    assert ids.key(decode_reader(first.state).audio_floor) <= ids.key(f"{MAX_WRITES + 1}-0")
    second = committed(box)
    assert len(second.writes) == MAX_WRITES
    assert decode_reader(second.state).audio_floor == "9999-0"
    assert box.idle


def test_more_letters_than_may_wait_are_counted() -> None:
    box = box_of()
    for n in range(MAX_JUNK_QUEUED + 5):
        assert box.junk(letter(f"{n + 1}-0"), ends=False)
    assert box.dropped == 5
    assert len(box._queue) == MAX_JUNK_QUEUED


def test_a_dead_letter_is_cut_and_is_text() -> None:
    cut = dead_letter("s", "1-0", [b"data", b"\xff" * 10_000], "json", "no")
    assert cut.data == "\ufffd" * MAX_JUNK_SHOWN
    assert dead_letter("s", "1-0", [b"a", b"b"], "no_data", "no").data == "a b"
    assert dead_letter("s", "1-0", [], "no_data", "no").data == ""


class Model:
    """A stream of junk only, a Redis, and a reader that is killed now and then."""

    def __init__(self) -> None:
        self.newest = self.at = 0
        self.stored = Stored()
        self.written: list[int] = []
        self.box = box_of()

    def read(self, new: int) -> None:
        self.newest += new
        for n in range(self.at + 1, self.newest + 1):
            self.box.junk(letter(f"{n * 1000}-0"), ends=False)
        self.at = self.newest

    def floor(self) -> None:
        self.box.floor(f"{self.at * 1000}-0", "0-0")

    def commit(self, *, answered: bool) -> None:
        commit = self.box.next_commit(7)
        if commit is not None and commit.rev == self.stored.rev + 1:
            self.stored = Stored(commit.rev, commit.state)
            letters = (json.loads(write.data) for write in commit.writes)
            self.written += [ids.milliseconds(one["entry"]) // 1000 for one in letters]
        if answered:
            self.box.settle(Outcome.APPLIED)

    def kill(self) -> None:
        self.box = box_of(self.stored)
        self.at = ids.milliseconds(self.box.start()[0]) // 1000


@given(st.lists(st.sampled_from(["read", "read many", "floor", "commit", "lost", "kill"]), max_size=60))
@settings(deadline=None)
def test_every_junk_entry_is_dead_lettered_once_whatever_happens(steps: list[str]) -> None:
    """Commits land or do not, answers get lost, the process is killed at any point."""
    model = Model()
    for step in [*steps, "kill", "read", *["commit"] * 60]:
        if step in ("commit", "lost"):
            model.commit(answered=step == "commit")
        elif step.startswith("read"):
            model.read(100 if step == "read many" else 1)
        else:
            getattr(model, step)()
    assert model.written == list(range(1, model.newest + 1))
    assert model.box.idle
