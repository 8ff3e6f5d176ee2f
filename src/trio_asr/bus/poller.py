"""The reading of all shards of a node: one thread asks for them together, again and again.

None of them blocks. A shard where nothing comes is asked for less often, and its reader is answered after a
while all the same, so that it may do other work.
"""

from __future__ import annotations

import time
from typing import Any

import outcome
import trio

from trio_asr.bus import streams
from trio_asr.bus.base import Batch
from trio_asr.bus.line import Question, Questioner, Steps, deliver, rounds
from trio_asr.bus.streams import Cadence, StreamReader
from trio_asr.wire.ids import EntryId

QUIET_S = 0.5  # a shard where nothing has come for so long
QUIET_CADENCE_S = 0.16  # is asked for at this interval


class Poller(Questioner):
    """The reader of many shards. Its questions may rest until the next poll: then they yield no commands."""

    async def read(self, reader: StreamReader, audio_after: EntryId, ends_after: EntryId) -> Batch:
        """Read a shard's streams, as `Bus.read` does.

        Raises:
            BusUnavailable: No answer.
        """
        return await self.ask(_poll(reader, audio_after, ends_after), weight=reader.weight)

    # -- in the thread ---------------------------------------------------------------------------------------

    def _serve(self, token: trio.lowlevel.TrioToken) -> None:
        polls: list[Question[Any]] = []
        cadence = Cadence()
        while True:
            for question in self._waiting(patient=not polls):
                if question is None:
                    return
                polls.append(question)
            began = time.monotonic()
            polls = [poll for poll in polls if not poll.is_dropped]
            for poll in polls:
                self._go_on(poll)
            batches: list[Batch] = []
            for some in rounds(poll for poll in polls if poll.commands):
                asked = some
                while asked := [poll for poll in asked if poll.commands]:
                    self._send(asked)
                done = [poll for poll in some if poll.result is not None]
                batches += [poll.result.value for poll in done if isinstance(poll.result, outcome.Value)]
                token.run_sync_soon(deliver, done)
            polls = [poll for poll in polls if poll.result is None]
            time.sleep(max(0.0, began + cadence.after(batches) - time.monotonic()))


def _poll(reader: StreamReader, audio_after: EntryId, ends_after: EntryId) -> Steps[Batch]:
    """Read until something comes or it is time to answer; rest between two polls."""
    now = time.monotonic()
    until = now + streams.BLOCK_MS / 1000
    while True:
        batch = yield from reader.read(audio_after, ends_after)
        now = time.monotonic()
        if any(batch) or now >= until:
            return batch
        due = now + (QUIET_CADENCE_S if now >= reader.came + QUIET_S else 0.0)
        yield ()
        while time.monotonic() < due:
            yield ()
