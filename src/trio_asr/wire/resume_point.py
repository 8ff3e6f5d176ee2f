"""Where on the stream a call stands: what its checkpoint says of its timeline."""

from __future__ import annotations

import msgspec

from trio_asr.wire.ids import ORIGIN, EntryId, key

PAST_END = 2**40  # an offset behind any entry's audio: nothing of it is left to be read


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What was finalized of entries that came later than one which is still needed.

    All of `entries`, and of `entry` what lies before its byte `offset`: the first sample not yet finalized.
    """

    entries: tuple[EntryId, ...] = ()
    entry: EntryId = ORIGIN
    offset: int = 0


class ResumePoint(msgspec.Struct, frozen=True, gc=False):
    """Where in the audio stream the first sample not yet finalized lies: all that a restart needs.

    `at` is the timeline position, in bytes, of byte `offset` of the audio of entry `entry`. It lies past
    ``2 * finalized`` only where filled silence before that entry is not finalized yet.

    Where entries came in another order than their audio has on the timeline, `entry` is the first that is
    still needed, and `ahead` says what is not, and what lies at `at`.
    """

    finalized: int = 0
    entry: EntryId = ORIGIN
    offset: int = 0
    at: int = 0
    rate: int = 0
    rate_from: int = 0  # the sample at which `rate` began
    rate_us: int = 0  # the time of that sample
    ahead: Ahead | msgspec.UnsetType = msgspec.UNSET

    @property
    def next(self) -> tuple[EntryId, int]:
        """The entry, and the byte of its audio, that lie at `at`."""
        ahead = self.ahead
        return (self.entry, self.offset) if ahead is msgspec.UNSET else (ahead.entry, ahead.offset)


def without_order(
    point: ResumePoint, done: set[EntryId], needed: list[EntryId], *, placed: bool
) -> ResumePoint:
    """Complete a place where entries are not in the order of their ids.

    `done` are finalized, `needed` are not, and `point` is that of the first on the timeline that is not; if
    there is none there (`placed`), it is after the last.
    """
    if placed and (newest := max([point.entry, *done], key=key)) != point.entry:
        point = msgspec.structs.replace(point, entry=newest, offset=PAST_END)
    if not needed:
        return point
    first = min(needed, key=key)
    above = tuple(sorted((entry for entry in done if key(entry) >= key(first)), key=key))
    if not above and key(point.entry) <= key(first):
        return point
    ahead = Ahead(above, point.entry, point.offset)
    offset = point.offset if first == point.entry else 0
    return msgspec.structs.replace(point, entry=first, offset=offset, ahead=ahead)
