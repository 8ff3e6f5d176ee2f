"""The reading of all shards of a node: one thread asks for them together, again and again.

None of them blocks. A shard where nothing comes is asked for less often, and its reader is answered after a
while all the same, so that it may do other work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import outcome
import trio

from trio_asr.bus import streams
from trio_asr.bus.base import Batch
from trio_asr.bus.connection import PipelinedConnection
from trio_asr.bus.line import Question, Questioner, Steps, deliver, rounds
from trio_asr.bus.streams import Cadence, StreamReader
from trio_asr.wire.ids import EntryId

QUIET_S = 0.5  # a shard where nothing has come for so long
QUIET_CADENCE_S = 0.16  # is asked for at this interval


class Poll(Question[Batch]):
    """A read of one shard. `due`: the time of its next poll, in seconds of the monotonic clock."""

    def __init__(self, reader: StreamReader, audio_after: EntryId, ends_after: EntryId) -> None:
        super().__init__(self._read(audio_after, ends_after), weight=reader.weight)
        self.due = 0.0
        self._reader = reader

    def _read(self, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
        """Read until something comes or it is time to answer; between two polls there are no commands."""
        until = time.monotonic() + streams.BLOCK_MS / 1000
        while True:
            batch = yield from self._reader.read(audio_after, ends_after)
            now = time.monotonic()
            if any(batch) or now >= until:
                return batch
            self.due = now + QUIET_CADENCE_S if now >= self._reader.came + QUIET_S else 0.0
            yield ()


class Poller(Questioner[Poll]):
    """The reader of many shards."""

    def __init__(self, name: str, connection: PipelinedConnection) -> None:
        super().__init__(name, connection)
        self._cadence = Cadence()

    async def read(self, reader: StreamReader, audio_after: EntryId, ends_after: EntryId) -> Batch:
        """Read a shard's streams, as `Bus.read` does.

        Raises:
            BusUnavailable: No answer.
        """
        return cast("Batch", await self.put(Poll(reader, audio_after, ends_after)))

    # -- in the thread ---------------------------------------------------------------------------------------

    def _serve(self, token: trio.lowlevel.TrioToken) -> None:
        began = time.monotonic()
        self._going = [poll for poll in self._going if not poll.is_dropped]
        due = [poll for poll in self._going if poll.due <= began]
        for poll in due:
            self._go_on(poll)
        batches: list[Batch] = []
        for some in rounds(due):
            asked: Sequence[Poll] = some
            while asked := [poll for poll in asked if poll.commands]:
                self._send(asked)
            done = [poll for poll in some if poll.result is not None]
            batches += [poll.result.value for poll in done if isinstance(poll.result, outcome.Value)]
            if done:
                token.run_sync_soon(deliver, done)
        self._going = [poll for poll in self._going if poll.result is None]
        time.sleep(max(0.0, began + self._cadence.after(batches) - time.monotonic()))
