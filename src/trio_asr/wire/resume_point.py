"""The resume point: which byte of which entry a call's timeline goes on with after a restart."""

from __future__ import annotations

import msgspec

from trio_asr.wire.audio_format import Encoding, Format, audio_format
from trio_asr.wire.ids import ORIGIN, EntryId, key

PAST_END = 2**40  # an offset beyond any entry's audio: nothing of the entry is left to read


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What is finalized of entries that follow, on the stream, one that is still needed.

    That is all of `entries`, and of `entry` the bytes before `offset`. Byte `offset` of its audio is the
    first sample that is not yet finalized.
    """

    entries: tuple[EntryId, ...] = ()
    entry: EntryId = ORIGIN
    offset: int = 0


class ResumePoint(msgspec.Struct, frozen=True, gc=False):
    """The position in the audio stream of the first sample not yet finalized: all that a restart needs.

    `finalized` is in samples. `at` is the timeline position, in bytes of the format in force there, of byte
    `offset` of the audio of entry `entry`. It is beyond that of `finalized` only where filled silence before
    the entry is not finalized yet. `rate` is in Hz.

    Of a call with several channels, `finalized` is the cursor of the one furthest behind. `lead` says by how
    many samples each channel is ahead of that. Plain audio (linear16, one channel) has none of the fields
    that later versions added.

    Where entries came in another order than their audio has on the timeline, `entry` is the first that is
    still needed; `ahead` says which later ones are not, and which audio is at `at`. Entries with a position
    are not among those: that says itself what is finalized.
    """

    finalized: int = 0
    entry: EntryId = ORIGIN
    offset: int = 0
    at: int = 0
    rate: int = 0
    rate_from: int = 0  # the sample at which `rate` began
    rate_us: int = 0  # the time of that sample, in microseconds
    ahead: Ahead | msgspec.UnsetType = msgspec.UNSET
    encoding: Encoding | msgspec.UnsetType = msgspec.UNSET
    channels: int | msgspec.UnsetType = msgspec.UNSET
    lead: tuple[int, ...] | msgspec.UnsetType = msgspec.UNSET

    @property
    def format(self) -> Format:
        """The format of the audio at `finalized`."""
        return audio_format(self.rate, self.encoding or "linear16", self.channels or 1)

    @property
    def cursors(self) -> list[int]:
        """Up to which sample each channel is finalized."""
        lead = self.lead or (0,) * (self.channels or 1)
        return [self.finalized + samples for samples in lead]

    @property
    def next(self) -> tuple[EntryId, int]:
        """The entry, and the byte offset in its audio, that are at `at` on the timeline."""
        ahead = self.ahead
        return (self.entry, self.offset) if ahead is msgspec.UNSET else (ahead.entry, ahead.offset)


def after_all(point: ResumePoint, newest: EntryId) -> ResumePoint:
    """Return the resume point of a timeline that is all finalized: after its newest entry."""
    if newest == point.entry:
        return point
    return msgspec.structs.replace(point, entry=newest, offset=PAST_END)


def without_order(point: ResumePoint, done: set[EntryId], needed: list[EntryId]) -> ResumePoint:
    """Return a resume point completed for entries that are not in the order of their ids.

    The entries of `done` are finalized, those of `needed` are not. `point` is that of the first un-finalized
    entry on the timeline, or after the last one.
    """
    if not needed:
        return point
    first = min(needed, key=key)
    above = tuple(sorted((entry for entry in done if key(entry) >= key(first)), key=key))
    if not above and key(point.entry) <= key(first):
        return point
    ahead = Ahead(above, point.entry, point.offset)
    offset = point.offset if first == point.entry else 0
    return msgspec.structs.replace(point, entry=first, offset=offset, ahead=ahead)
