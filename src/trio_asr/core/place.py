"""Where on the stream a call stands: what its checkpoint says of its timeline."""

from __future__ import annotations

import msgspec

from trio_asr.core.entries import ORIGIN, EntryId

PAST_END = 2**40  # an offset behind any entry's audio: nothing of it is left to be read


class Ahead(msgspec.Struct, frozen=True, gc=False):
    """What was finalized of entries that came later than one which is still needed.

    All of `entries`, and of `entry` what lies before its byte `offset`: the first sample not yet finalized.
    """

    entries: tuple[EntryId, ...] = ()
    entry: EntryId = ORIGIN
    offset: int = 0


class Place(msgspec.Struct, frozen=True, gc=False):
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
        return (self.entry, self.offset) if self.ahead is msgspec.UNSET else (self.ahead.entry, self.ahead.offset)
