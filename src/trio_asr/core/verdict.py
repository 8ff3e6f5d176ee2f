"""The verdict on a connection that ended: when to make the next, and whether that makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from trio_asr.wire.codes import GapReason

REJECTING = (1002, 1003, 1007, 1008)  # closes by which the provider says that it cannot use the audio
REJECTIONS_TO_GIVE_UP = 2  # after this many such closes without a final in between, the audio is given up
TAIL_S = 0.1  # less audio than this, left over at the end of a call, is worth only one more connection
BRIEF_S = 2.0  # a connection that lived for less than this is brief: it served its call badly
MAX_BRIEF = 3  # this many in a row are normal: a call begins, or is put through


class ChannelEnd(NamedTuple):
    """What a connection has done for one channel."""

    progressed: bool  # it finalized something
    left_s: float  # audio that was sent, or is the tail of the call, and not finalized


class End(NamedTuple):
    """How a connection ended: `asked` for by our CloseStream, `done` if that was answered in good order.

    `tail` is whether the call is over, with less than `TAIL_S` left: CloseStream was next, or had been sent.
    """

    code: int
    asked: bool
    done: bool
    channels: Sequence[ChannelEnd]
    lived_s: float
    tail: bool = False

    @property
    def progressed(self) -> bool:
        """Whether it finalized something of any channel."""
        return any(channel.progressed for channel in self.channels)


class Verdict(NamedTuple):
    """What follows: a pause or none, why to give up each channel's audio, whether to report brief ones."""

    pause: bool
    give_up: tuple[GapReason | None, ...] = ()
    brief: bool = False


class Judge:
    """The judge of one call's connections. All times are in seconds."""

    def __init__(self) -> None:
        self._brief = 0
        self._records: list[_Record] = []

    def ended(self, end: End, now: float, patience_s: float) -> Verdict:
        """Judge the end of a connection.

        Audio that connections close on in good order, but without any result, is kept for `patience_s`.
        """
        self._brief = self._brief + 1 if end.done and end.lived_s < BRIEF_S else 0
        pause = not end.done or not end.progressed or self._brief > MAX_BRIEF
        reasons = []
        for number, channel in enumerate(end.channels):
            record = self._record(number)
            if channel.progressed:
                record.progressed()
            others = [one for one in end.channels if one is not channel]
            served = bool(others) and all(one.progressed or one.left_s <= 0 for one in others)
            reasons.append(record.reason_to_give_up(end, channel, now, inf if served else patience_s))
            if end.done and served and not channel.progressed and channel.left_s > 0 and self.mute(number):
                reasons[-1] = GapReason.NO_RESULT
        return Verdict(pause, tuple(reasons), brief=self._brief == MAX_BRIEF + 1)

    def mute(self, channel: int) -> bool:
        """Note that a channel with audio has no result while another has; return whether to give it up.

        The first time it is replayed: then it is not known whether the audio or the connection is to blame.
        """
        return self._record(channel).mute()

    def heard(self, channel: int) -> None:
        """Note that a channel has results (again)."""
        self._record(channel).heard()

    @property
    def restless(self) -> bool:
        """Whether connections follow one another too quickly."""
        return self._brief > MAX_BRIEF

    def _record(self, channel: int) -> _Record:
        while len(self._records) <= channel:
            self._records.append(_Record())
        return self._records[channel]


class _Record:
    """What is held against the audio of one channel that waits for a final."""

    def __init__(self) -> None:
        self._rejected = 0
        self._tails = 0
        self._fruitless_since: float | None = None
        self._mute = False

    def progressed(self) -> None:
        """Note a final."""
        self._rejected = 0
        self._fruitless_since = None

    def heard(self) -> None:
        """Note a final at the moment it comes: one from before the channel fell mute says nothing."""
        self.progressed()
        self._mute = False

    def mute(self) -> bool:
        """Note that only this channel has no result. Return whether that was noted before."""
        before, self._mute = self._mute, True
        return before

    def reason_to_give_up(
        self, end: End, channel: ChannelEnd, now: float, patience_s: float
    ) -> GapReason | None:
        """Return why to give up the audio that is left, or None to keep it."""
        self._tails = self._tails + 1 if (end.asked or end.tail) and 0 < channel.left_s < TAIL_S else 0
        if self._tails > 1:
            return self._give_up(GapReason.NO_RESULT)
        if channel.progressed or channel.left_s <= 0:
            return None
        if end.done:
            if self._fruitless_since is None:
                self._fruitless_since = now
            return self._give_up(GapReason.NO_RESULT) if now - self._fruitless_since >= patience_s else None
        if end.code in REJECTING:
            self._rejected += 1
            return self._give_up(GapReason.REJECTED) if self._rejected >= REJECTIONS_TO_GIVE_UP else None
        return None

    def _give_up(self, reason: GapReason) -> GapReason:
        self._rejected = self._tails = 0
        self._fruitless_since = None
        return reason
