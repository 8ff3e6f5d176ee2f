"""The counters and log lines of one call. Nothing here changes anything: all of it could be left out."""

from __future__ import annotations

import time
from collections import deque

import trio

from trio_asr.core.call import Call
from trio_asr.core.channel_results import MessageKind
from trio_asr.core.receive_result import ReceiveResult
from trio_asr.core.timeline import Chunk
from trio_asr.deepgram.provider import ConnectFailed
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.audio_format import Format
from trio_asr.wire.codes import CaughtAt, ErrorKind, GapReason
from trio_asr.wire.messages import Error, Message, Results, Unknown, Warned

LOG_S = 10.0  # between two log lines of a call about unusable messages, or about Deepgram's complaints
TIMEOUT = 1011
MAX_AWAITING_RESULT = 1000  # chunks: minutes of audio
TOLERANCE_S = 0.02  # a result covers chunks that end up to this much later: times are float32


class Report:
    """The counters and log lines of one call: its frames, its connections, what they carry and bring."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.chunks = 0  # messages of audio, on all connections
        self.began: float | None = None  # when its first audio came, on trio's clock
        self.last_error = ""
        self._call, self._services, self._log = call, services, log
        self._chunks_on_link = 0
        # The chunks sent on this connection that no result has covered yet: where each ends, when it left.
        self._awaiting_result: deque[tuple[int, float]] = deque(maxlen=MAX_AWAITING_RESULT)
        self._answered = False
        self._unusable_log, self._complaint_log = logs.Rate(LOG_S), logs.Rate(LOG_S)
        self._position_log = logs.Rate(LOG_S)

    def took(self, result: ReceiveResult, *, dialling: bool) -> None:
        """Count the frames of a batch, and log what was unusual about them."""
        metrics = self._services.metrics
        metrics.frames_accepted.inc(result.accepted)
        if self.began is None and self._call.timeline.unfinalized:
            self.began = trio.current_time()
        if result.unusual:
            self._unusual(result)
        if dialling:
            # These frames wait on the timeline. They made the old worker open a second connection.
            metrics.duplicate_connection_attempts.inc()

    def _unusual(self, result: ReceiveResult) -> None:
        metrics = self._services.metrics
        metrics.duplicates_dropped.inc(result.repeats)
        metrics.holes_filled_seconds.inc(result.filled_s)
        metrics.audio_late_seconds.inc(result.late_s)
        if result.misplaced:
            metrics.positions_ignored.inc(result.misplaced)
            if self._position_log.allow(trio.current_time()):
                self._log.warning(
                    "Positions that cannot be meant were ignored", entries=result.misplaced,
                    suppressed=self._position_log.skipped,
                )  # fmt: skip
        if result.meta:
            self._log.warning("The meta of the call was left out", reason=result.meta)
        if result.header:
            self._log.info("The header of a WAVE file was left out", bytes=result.header)
        if result.given_up_s:
            self._log.warning(
                "Audio given up", reason=GapReason.RETENTION, seconds=round(result.given_up_s, 3)
            )

    def dialling(self, attempts: int) -> None:
        """Log that a connection is about to be made, after `attempts` that failed."""
        if self._call.connection == 0 and attempts == 0:
            self._log.info(f"Creating new connection for {self._call.id}")
        else:
            self._log.info(
                f"Reconnecting {self._call.id}",
                connection=self._call.connection + 1,
                attempt=attempts,
                unfinalized_ms=round(self._call.timeline.unfinalized_s * 1000),
            )

    def failed(self, failure: ConnectFailed) -> None:
        """Log that no connection came about."""
        self.last_error = f"{failure.status or 'no answer'}: {failure.reason}"
        self._log.warning(
            "Connection refused" if failure.status else "Connection failed",
            status=failure.status,
            reason=failure.reason,
            request_id=failure.request_id,
        )

    def opened(self, number: int, request_id: str) -> None:
        """Log that a connection was opened."""
        self._chunks_on_link = 0
        self._awaiting_result.clear()
        self._log.info("Connection opened", connection=number, request_id=request_id)

    def closed(self, number: int, ending: Ending) -> None:
        """Count and log the end of a connection."""
        metrics = self._services.metrics
        metrics.connections_closed(ending.code).inc()
        fields = {"connection": number, "code": ending.code, "reason": ending.reason, "why": ending.why.value}
        if ending.why is Why.DONE:
            self._log.info("Connection closed", **fields)
            return
        metrics.failed(ErrorKind.CONNECTION, time.time())
        self.last_error = f"{ending.code}: {ending.reason or ending.why.value}"
        if ending.code == TIMEOUT:
            metrics.connection_timeouts.inc()
            self._log.warning("Connection closed due to timeout (1011)", **fields)
        elif ending.why is Why.DROPPED:
            self._log.warning("Connection dropped", **fields)
        else:
            self._log.warning("Timeout waiting for transcript", **fields)

    def format_changes(self, fmt: Format) -> None:
        """Log that the format of the audio changes faster than connections can be made."""
        self._log.warning("The format keeps changing: each change takes a connection", **fmt.fields)

    def gave_up(self, seconds: float, reason: str) -> None:
        """Log that audio was given up."""
        self._log.error("Audio given up", reason=reason, seconds=round(seconds, 3))

    def bug(self, error: Exception) -> None:
        """Count and log a bug in our handling of a message."""
        self._services.internal.caught(CaughtAt.MESSAGE, error, **self._call.names)

    def sent(self, chunk: Chunk, now: float) -> None:
        """Count a chunk that the socket has taken."""
        metrics = self._services.metrics
        rate = self._call.timeline.format_at(chunk.start).rate
        metrics.sent((chunk.end - chunk.start) / rate, now - chunk.due)
        self.chunks += 1
        self._awaiting_result.append((chunk.end, now))
        self._chunks_on_link += 1
        if self._chunks_on_link > 1:
            metrics.connections_reused.inc()
        if self.chunks <= 2 or logs.debugging():
            self._say_sent(chunk)

    def _say_sent(self, chunk: Chunk) -> None:
        """Log a chunk: at INFO the first time in a call, at DEBUG after that."""
        say = self._log.info if self.chunks == 1 else self._log.debug
        say("Sending audio chunk", bytes=len(chunk.pcm))
        if self._chunks_on_link > 1:
            say = self._log.info if self.chunks == 2 else self._log.debug
            say(f"Reusing existing connection for {self._call.id}")

    def handled(self, message: Message, kind: MessageKind, answered: int) -> None:
        """Count a message by what it turned out to be. Results cover the timeline up to sample `answered`."""
        if kind is MessageKind.NO_CHANNEL:
            self._unusable(type(message).__name__, "it is of no channel of this connection")
        elif kind is MessageKind.NO_TIME:
            self._unusable(type(message).__name__, "it says no time")
        elif isinstance(message, Results):
            self._results(kind, answered)
        elif isinstance(message, Error | Warned):
            if isinstance(message, Error):
                self._services.metrics.failed(ErrorKind.PROVIDER, time.time())
            if self._complaint_log.allow(trio.current_time()):
                says = "Deepgram complains" if isinstance(message, Error) else "Deepgram warns"
                self._log.warning(
                    says, variant=message.what, description=message.says,
                    suppressed=self._complaint_log.skipped,
                )  # fmt: skip
        elif isinstance(message, Unknown) and message.problem:
            self._unusable(message.type, message.problem)
        elif isinstance(message, Unknown):
            self._log.debug("Message not understood", type=message.type)

    def _unusable(self, kind: str, problem: str) -> None:
        self._services.metrics.messages_unusable.inc()
        if self._unusable_log.allow(trio.current_time()):
            self._log.warning(
                "Message could not be used", type=kind, problem=problem, suppressed=self._unusable_log.skipped
            )

    def _results(self, kind: MessageKind, answered: int) -> None:
        metrics, awaiting, now = self._services.metrics, self._awaiting_result, trio.current_time()
        metrics.transcripts_received.inc()
        covered = answered + TOLERANCE_S * self._call.timeline.format_at(answered).rate
        while awaiting and awaiting[0][0] <= covered:
            metrics.result_latency.observe(now - awaiting.popleft()[1])
        if kind is MessageKind.REPEAT:
            metrics.duplicates_dropped.inc()
        elif not self._answered:  # counts without words, too: callers may be silent
            self._answered = True
            if self.began is not None:
                metrics.first_partial_latency.observe(now - self.began)
