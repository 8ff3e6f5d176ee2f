"""The states of a call in this worker, and the moves between them: all of them, here and nowhere else.

Three things about a call change independently, so there are three small tables. `Life` is the call itself:
it takes frames, it ends, it fails. `Reading` is the reading for it: the call takes what arrives at the front
of the stream, or has to catch up. `Dial` is its connection, as the sender makes it. The state on the pages
follows from the first and the last of them (`shown`).

A move that is in no table is a bug, and `Moves.to` raises. The moves of `Dial` are made by the call's own
task, so that such a bug restarts the call from its checkpoint. One of its rules is that a call makes one
connection at a time: `DIALLING` is reached from `PERMITTED` alone. The moves of `Life` and `Reading` are made
by tasks that serve all calls (the dispatcher, catch-up, housekeeping), and `Intake` and `Interaction` only
make legal ones.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Generic, TypeVar

S = TypeVar("S", bound=enum.Enum)


class Life(enum.Enum):
    """What happens to a call's frames."""

    RUNNING = "running"  # they are taken
    ENDING = "ending"  # they are taken during the grace: it is known where the call ends
    CLOSING = "closing"  # no more are taken; those that came are finished
    FAILED = "failed"  # they are dropped: the call restarts from its checkpoint


LIFE: Mapping[Life, frozenset[Life]] = {
    Life.RUNNING: frozenset({Life.ENDING, Life.CLOSING, Life.FAILED}),
    Life.ENDING: frozenset({Life.CLOSING, Life.FAILED}),
    Life.CLOSING: frozenset({Life.FAILED}),
    Life.FAILED: frozenset(),
}


class Reading(enum.Enum):
    """Whether a call takes the frames at the front of the stream."""

    LIVE = "live"
    BEHIND = "behind"  # it takes none, and has missed none so far
    MISSED = "missed"  # it takes none, and has to read again what came meanwhile


READING: Mapping[Reading, frozenset[Reading]] = {
    Reading.LIVE: frozenset({Reading.BEHIND, Reading.MISSED}),
    Reading.BEHIND: frozenset({Reading.LIVE, Reading.MISSED}),
    Reading.MISSED: frozenset({Reading.LIVE}),
}


class Dial(enum.Enum):
    """The state of the call's connection, as the sender sees it."""

    IDLE = "idle"  # there is no audio to connect for, or the next attempt is not due yet
    ADMISSION = "admission"  # the provider refuses the account or the query: attempts make no sense yet
    PERMIT = "permit"  # all permits of `max_connections` are taken
    PERMITTED = "permitted"  # about to dial, or pausing between two attempts
    DIALLING = "dialling"
    OPEN = "open"


DIAL: Mapping[Dial, frozenset[Dial]] = {
    Dial.IDLE: frozenset({Dial.ADMISSION}),
    Dial.ADMISSION: frozenset({Dial.PERMIT, Dial.IDLE}),
    Dial.PERMIT: frozenset({Dial.PERMITTED, Dial.IDLE}),
    Dial.PERMITTED: frozenset({Dial.DIALLING, Dial.IDLE}),
    Dial.DIALLING: frozenset({Dial.OPEN, Dial.PERMITTED}),
    Dial.OPEN: frozenset({Dial.PERMITTED}),
}


class IllegalMoveError(Exception):
    """A bug: there is no such move."""


class Moves(Generic[S]):
    """A state that moves along its table."""

    __slots__ = ("_table", "now")

    def __init__(self, table: Mapping[S, frozenset[S]], begin: S) -> None:
        self.now: S = begin
        self._table = table

    def to(self, state: S) -> None:
        """Move on. Staying is no move.

        Raises:
            IllegalMoveError: The table has no such move.
        """
        if state is self.now:
            return
        if state not in self._table[self.now]:
            raise IllegalMoveError(f"{self.now} -> {state}")
        self.now = state


class Shown(enum.StrEnum):
    """A call's state in one word, as the live page and `/calls` show it."""

    RESTARTING = "restarting"
    CLOSING = "closing"
    STREAMING = "streaming"
    WAITING = "waiting"  # for a permit to connect
    HELD = "held"  # because the provider refuses
    CONNECTING = "connecting"  # for the first time
    RECONNECTING = "reconnecting"
    QUIET = "quiet"  # nothing to connect for


CALM = frozenset({Shown.STREAMING, Shown.QUIET, Shown.CLOSING})

_OF_LIFE = {Life.FAILED: Shown.RESTARTING, Life.CLOSING: Shown.CLOSING, Life.ENDING: Shown.CLOSING}
_OF_DIAL = {Dial.PERMIT: Shown.WAITING, Dial.ADMISSION: Shown.HELD}


def shown(life: Life, dial: Dial, *, audio: bool, before: bool) -> Shown:
    """Return the state to show.

    `audio` says whether the call has audio that is not finalized, `before` whether it had a connection
    before.
    """
    if (word := _OF_LIFE.get(life)) is not None:
        return word
    if dial is Dial.OPEN:
        return Shown.STREAMING
    if not audio:
        return Shown.QUIET
    return _OF_DIAL.get(dial, Shown.RECONNECTING if before else Shown.CONNECTING)
