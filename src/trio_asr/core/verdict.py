"""The verdict on a connection that ended: when to make the next, and whether that makes sense."""

from __future__ import annotations

from typing import Literal, NamedTuple

from trio_asr.wire.codes import GapReason

REJECTING = (1002, 1003, 1007, 1008)  # closes by which the provider says that it cannot use the audio
REJECTIONS_TO_GIVE_UP = 2  # after this many such closes without a final in between, the audio is given up
TAIL_S = 0.1  # less audio than this, left over after CloseStream, is worth only one more connection
BRIEF_S = 2.0  # a connection that lived for less than this is brief: it served its call badly
MAX_BRIEF = 3  # this many in a row are normal: a call begins, or is put through


class End(NamedTuple):
    """How a connection ended: `asked` for by our CloseStream, `done` if that was answered in good order."""

    code: int
    asked: bool
    done: bool
    progressed: bool  # it finalized something
    left_s: float  # audio that it was sent and did not finalize
    lived_s: float


class Verdict(NamedTuple):
    """What follows: a pause or none, why to give audio up, whether to report brief connections."""

    pause: bool
    give_up: GapReason | Literal[""] = ""
    brief: bool = False


class Judge:
    """The judge of one call's connections. All times are in seconds."""

    def __init__(self) -> None:
        self._rejected = 0
        self._tails = 0
        self._brief = 0
        self._fruitless_since: float | None = None

    def ended(self, end: End, now: float, patience_s: float) -> Verdict:
        """Judge the end of a connection.

        Audio that connections close on in good order, but without any result, is kept for `patience_s`.
        """
        self._brief = self._brief + 1 if end.done and end.lived_s < BRIEF_S else 0
        if end.progressed:
            self._rejected = 0
            self._fruitless_since = None
        pause = not end.done or not end.progressed or self._brief > MAX_BRIEF
        return Verdict(
            pause, self._reason_to_give_up(end, now, patience_s), brief=self._brief == MAX_BRIEF + 1
        )

    @property
    def restless(self) -> bool:
        """Whether connections follow one another too quickly."""
        return self._brief > MAX_BRIEF

    def _reason_to_give_up(self, end: End, now: float, patience_s: float) -> GapReason | Literal[""]:
        """Return why to give up the audio that is left, or "" to keep it."""
        self._tails = self._tails + 1 if end.asked and 0 < end.left_s < TAIL_S else 0
        if self._tails > 1:
            return self._give_up(GapReason.NO_RESULT)
        if end.progressed or end.left_s <= 0:
            return ""
        if end.done:
            if self._fruitless_since is None:
                self._fruitless_since = now
            return self._give_up(GapReason.NO_RESULT) if now - self._fruitless_since >= patience_s else ""
        if end.code in REJECTING:
            self._rejected += 1
            return self._give_up(GapReason.REJECTED) if self._rejected >= REJECTIONS_TO_GIVE_UP else ""
        return ""

    def _give_up(self, reason: GapReason) -> GapReason:
        self._rejected = self._tails = 0
        self._fruitless_since = None
        return reason
