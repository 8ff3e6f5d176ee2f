"""The reader's own checkpoint: nothing that is dead-lettered is missed or written twice by a restart."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_asr.core.reader_state import MAX_JUNK_QUEUED, MAX_JUNK_SHOWN, MAX_WRITES, ReaderOutbox, dead_letter
from trio_asr.wire import ids
from trio_asr.wire.records import Commit, Outcome, ReaderState, Stored, Unreadable, decode_reader
from trio_asr.wire.transcripts import DeadLetter

STREAM = "audio_stream.dead"


def outbox_of(stored: Stored = Stored()) -> ReaderOutbox:  # noqa: B008 (immutable)
    return ReaderOutbox(stored, STREAM, 500)


def letter(entry: str) -> DeadLetter:
    return DeadLetter("audio_stream", entry, "json", "data is not JSON", "x")


def committed(outbox: ReaderOutbox) -> Commit:
    commit = outbox.next_commit(7)
    assert commit is not None
    outbox.settle(Outcome.APPLIED)
    return commit


def test_a_first_start_reads_from_the_beginning() -> None:
    outbox = outbox_of()
    assert outbox.first_start
    assert outbox.idle
    assert outbox.start() == ("0-0", "0-0")
    assert outbox.next_commit(7) is None


def test_a_start_reads_audio_from_a_margin_before_the_floor_and_ends_from_theirs() -> None:
    outbox = outbox_of()
    outbox.floor("1700000009000-5", "1700000008000-1")
    commit = committed(outbox)
    assert (commit.owner, commit.rev, commit.writes, commit.live) == ("", 1, (), True)
    again = outbox_of(Stored(commit.rev, commit.state))
    assert not again.first_start
    assert again.start() == (ids.before("1700000004000-0"), "1700000008000-0")
    assert again.idle


def test_what_was_added_up_to_the_floor_is_stored_where_it_is_known() -> None:
    """State without it is what it always was, and is read as before."""
    outbox = outbox_of()
    outbox.floor("9-0", "8-0")
    without = committed(outbox)
    assert b"added" not in without.state
    assert outbox_of(Stored(1, without.state)).confirmed.audio_added is msgspec.UNSET
    outbox.floor("9-0", "8-0", 7)
    commit = committed(outbox)
    assert json.loads(commit.state) == json.loads(without.state) | {"audio_added": 7}
    assert outbox_of(Stored(2, commit.state)).confirmed.audio_added == 7
    outbox.floor("10-0", "8-0")
    assert b"added" not in committed(outbox).state, "it is of another floor"
    for wrong in (-1, 2**63):
        state = json.dumps(json.loads(without.state) | {"audio_added": wrong}).encode()
        with pytest.raises(Unreadable, match="audio_added"):
            outbox_of(Stored(1, state))


def test_a_floor_that_did_not_move_is_not_written_again() -> None:
    outbox = outbox_of()
    outbox.floor("9-0", "8-0")
    committed(outbox)
    outbox.floor("9-0", "8-0")
    assert outbox.idle
    assert outbox.next_commit(7) is None


def test_a_dead_letter_says_what_was_wrong_and_the_stream_is_bounded() -> None:
    outbox = outbox_of()
    assert outbox.junk(letter("5-1"), ends=False)
    (write,) = committed(outbox).writes
    assert (write.stream, write.maxlen) == (STREAM, 500)
    assert json.loads(write.data) == {
        "stream": "audio_stream",
        "entry": "5-1",
        "kind": "json",
        "reason": "data is not JSON",
        "data": "x",
        "timestamp_ms": 7,
    }
    assert outbox.confirmed == ReaderState(audio_junk="5-1")


def test_what_was_dead_lettered_is_not_again_by_a_restart_or_a_second_reading() -> None:
    outbox = outbox_of()
    assert outbox.junk(letter("5-1"), ends=False)
    assert not outbox.junk(letter("5-1"), ends=False)
    assert outbox.junk(letter("5-1"), ends=True)  # another stream
    commit = committed(outbox)
    again = outbox_of(Stored(commit.rev, commit.state))
    assert not again.junk(letter("5-1"), ends=False)
    assert not again.junk(letter("4-9"), ends=True)
    assert again.junk(letter("5-2"), ends=False)


def test_the_commit_in_flight_is_repeated_unchanged() -> None:
    outbox = outbox_of()
    outbox.junk(letter("5-1"), ends=False)
    commit = outbox.next_commit(1)
    outbox.junk(letter("5-2"), ends=False)
    outbox.floor("6-0", "6-0")
    assert outbox.settle(Outcome.REFUSED) == ()
    assert outbox.next_commit(2) is commit
    outbox.settle(Outcome.DONE)
    assert not outbox.idle
    assert [json.loads(write.data)["entry"] for write in committed(outbox).writes] == ["5-2"]
    assert outbox.confirmed == ReaderState("6-0", "6-0", "5-2", "0-0")


def test_no_floor_is_committed_past_a_dead_letter_that_still_waits() -> None:
    """Killed between two commits of many letters, a restart must read the rest again."""
    outbox = outbox_of()
    for n in range(1, 2 * MAX_WRITES + 1):
        outbox.junk(letter(f"{n}-0"), ends=False)
    outbox.floor("9999-0", "9999-0")
    first = committed(outbox)
    assert len(first.writes) == MAX_WRITES
    assert ids.key(decode_reader(first.state).audio_floor) <= ids.key(f"{MAX_WRITES + 1}-0")
    second = committed(outbox)
    assert len(second.writes) == MAX_WRITES
    assert decode_reader(second.state).audio_floor == "9999-0"
    assert outbox.idle


def test_more_letters_than_may_wait_are_counted() -> None:
    outbox = outbox_of()
    for n in range(MAX_JUNK_QUEUED + 5):
        assert outbox.junk(letter(f"{n + 1}-0"), ends=False)
    assert outbox.dropped == 5
    assert len(outbox._queue) == MAX_JUNK_QUEUED


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
        self.outbox = outbox_of()

    def read(self, new: int) -> None:
        self.newest += new
        for n in range(self.at + 1, self.newest + 1):
            self.outbox.junk(letter(f"{n * 1000}-0"), ends=False)
        self.at = self.newest

    def floor(self) -> None:
        self.outbox.floor(f"{self.at * 1000}-0", "0-0")

    def commit(self, *, answered: bool) -> None:
        commit = self.outbox.next_commit(7)
        if commit is not None and commit.rev == self.stored.rev + 1:
            self.stored = Stored(commit.rev, commit.state)
            letters = (json.loads(write.data) for write in commit.writes)
            self.written += [ids.milliseconds(one["entry"]) // 1000 for one in letters]
        if answered:
            self.outbox.settle(Outcome.APPLIED)

    def kill(self) -> None:
        self.outbox = outbox_of(self.stored)
        self.at = ids.milliseconds(self.outbox.start()[0]) // 1000


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
    assert model.outbox.idle
