"""What becomes of entries that cannot be used: a dead letter, its counts, and a line of the log."""

from __future__ import annotations

import time

import trio

from trio_asr.core.reader_state import ReaderOutbox, dead_letter
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.codes import CaughtAt, DeadLetterKind, ErrorKind
from trio_asr.wire.frames import Junk, NotAudio
from trio_asr.wire.ids import EntryId

JUNK_LOG_S = 10.0


class Junkyard:
    """The dead letters of one reader; they are part of its state until they are committed."""

    def __init__(self, outbox: ReaderOutbox, services: Services, log: logs.Logger) -> None:
        self._outbox, self._services, self._log = outbox, services, log
        self._rate = logs.Rate(JUNK_LOG_S)

    def put(self, entry: EntryId, fields: list[bytes], error: Exception, *, ends: bool) -> None:
        """Put an entry on the stream of dead letters, for an error of its decoder."""
        stream = (
            self._services.config.redis.call_end_stream if ends else self._services.config.redis.audio_stream
        )
        if isinstance(error, NotAudio):
            return
        kind, reason = _reason(error)
        dropped = self._outbox.dropped
        if not self._outbox.junk(dead_letter(stream, entry, fields, kind, reason), ends=ends):
            return
        self._services.metrics.dead_letters_dropped.inc(self._outbox.dropped - dropped)
        if not isinstance(error, Junk):
            self._services.internal.caught(CaughtAt.ENTRY, error, stream=stream, entry=entry)
        self._services.metrics.dead_letters(kind).inc()
        self._services.metrics.failed(ErrorKind.INPUT, time.time())
        self._services.committer.submit(self._outbox)
        if self._rate.allow(trio.current_time()):
            self._log.warning(
                "Entry cannot be used", stream=stream, entry=entry, reason=reason,
                suppressed=self._rate.skipped,
            )  # fmt: skip


def _reason(error: Exception) -> tuple[str, str]:
    """Return kind and reason of what cannot be used."""
    if isinstance(error, Junk):
        return error.kind, str(error)
    return DeadLetterKind.INTERNAL, f"the decoder failed: {type(error).__name__}"
