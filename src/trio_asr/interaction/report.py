"""What is counted and logged of one call. Nothing here moves anything: all of it could be left out."""

from __future__ import annotations

import time
from collections import deque

import trio

from trio_asr.core.call import Call
from trio_asr.core.results import Heard
from trio_asr.core.tally import Tally
from trio_asr.core.timeline import Chunk
from trio_asr.deepgram.provider import ConnectFailed
from trio_asr.interaction.ending import Ending, Why
from trio_asr.interaction.services import Services
from trio_asr.telemetry import logs
from trio_asr.wire.codes import CaughtAt, ErrorKind, GapReason
from trio_asr.wire.messages import Error, Message, Results, Unknown

LOG_S = 10.0  # between two lines of a call on messages that could not be used, or that complain
TIMEOUT = 1011
MAX_UNANSWERED = 1000  # chunks whose result is waited for: minutes of audio
TOLERANCE_S = 0.02  # a result that ends this much before a chunk does covers it: times are float32


class Report:
    """The counters and log lines of one call: its frames, its connections, what they carry and bring."""

    def __init__(self, call: Call, services: Services, log: logs.Logger) -> None:
        self.chunks = 0  # messages of audio, on all connections
        self.began: float | None = None  # when its first audio came, on trio's clock
        self.last_error = ""
        self._call, self._services, self._log = call, services, log
        self._chunks_on_link = 0
        # Ends of the chunks sent on this connection that no result has covered yet, and when each was sent.
        self._unanswered: deque[tuple[int, float]] = deque(maxlen=MAX_UNANSWERED)
        self._answered = False
        self._unusable_log, self._complaint_log = logs.Rate(LOG_S), logs.Rate(LOG_S)

    def took(self, tally: Tally, *, dialling: bool) -> None:
        """Count the frames of a batch, and say what was unusual about them."""
        metrics = self._services.metrics
        metrics.frames_accepted.inc(tally.accepted)
        if self.began is None and self._call.timeline.unfinalized:
            self.began = trio.current_time()
        if tally.unusual:
            self._unusual(tally)
        if dialling:
            # What would have opened a second connection in the old worker waits on the timeline.
            metrics.duplicate_connection_attempts.inc()

    def _unusual(self, tally: Tally) -> None:
        metrics = self._services.metrics
        metrics.duplicates_dropped.inc(tally.repeats)
        metrics.holes_filled_seconds.inc(tally.filled_s)
        metrics.audio_late_seconds.inc(tally.late_s)
        if tally.header:
            self._log.info("The header of a WAVE file was left out", bytes=tally.header)
        if tally.given_up_s:
            self._log.warning(
                "Audio given up", reason=GapReason.RETENTION, seconds=round(tally.given_up_s, 3)
            )

    def dialling(self, attempts: int) -> None:
        """Say that a connection is to be made, after so many attempts that failed."""
        if self._call.connection == 0 and attempts == 0:
            self._log.info(f"Creating new connection for {self._call.id}")
        else:
            self._log.info(
                f"Reconnecting {self._call.id}",
                connection=self._call.connection + 1,
                attempt=attempts,
                unfinalized_ms=round(self._call.unfinalized_s() * 1000),
            )

    def failed(self, failure: ConnectFailed) -> None:
        """Say that none came about."""
        self.last_error = f"{failure.status or 'no answer'}: {failure.reason}"
        self._log.warning(
            "Connection refused" if failure.status else "Connection failed",
            status=failure.status,
            reason=failure.reason,
            request_id=failure.request_id,
        )

    def opened(self, number: int, request_id: str) -> None:
        """Say that one did."""
        self._chunks_on_link = 0
        self._unanswered.clear()
        self._log.info("Connection opened", connection=number, request_id=request_id)

    def closed(self, number: int, ending: Ending) -> None:
        """Say that it is over."""
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

    def rate_changes(self, rate: int) -> None:
        """Say that the sample rate changes faster than connections can be made."""
        self._log.warning("The sample rate keeps changing: each change takes a connection", sample_rate=rate)

    def gave_up(self, seconds: float, reason: str) -> None:
        """Say that audio was given up."""
        self._log.error("Audio given up", reason=reason, seconds=round(seconds, 3))

    def bug(self, error: Exception) -> None:
        """Take note of an error in our handling of a message."""
        self._services.internal.caught(CaughtAt.MESSAGE, error, **self._call.names)

    def sent(self, chunk: Chunk, now: float) -> None:
        """Count a chunk that has left."""
        metrics = self._services.metrics
        rate = self._call.timeline.rate_at(chunk.start)
        metrics.sent((chunk.end - chunk.start) / rate, now - chunk.due)
        self.chunks += 1
        self._unanswered.append((chunk.end, now))
        self._chunks_on_link += 1
        if self._chunks_on_link > 1:
            metrics.connections_reused.inc()
        if self.chunks <= 2 or logs.debugging():
            self._say_sent(chunk)

    def _say_sent(self, chunk: Chunk) -> None:
        """Say it at INFO the first time in a call, at DEBUG after."""
        say = self._log.info if self.chunks == 1 else self._log.debug
        say("Sending audio chunk", bytes=len(chunk.pcm))
        if self._chunks_on_link > 1:
            say = self._log.info if self.chunks == 2 else self._log.debug
            say(f"Reusing existing connection for {self._call.id}")

    def heard(self, message: Message, heard: Heard, answered: int) -> None:
        """Count a message, and what it turned out to be; results cover the timeline up to `answered`."""
        if isinstance(message, Results):
            self._results(heard, answered)
        elif isinstance(message, Error):
            self._services.metrics.failed(ErrorKind.PROVIDER, time.time())
            if self._complaint_log.allow(trio.current_time()):
                self._log.warning(
                    "Deepgram complains", variant=message.variant, description=message.description,
                    suppressed=self._complaint_log.skipped,
                )  # fmt: skip
        elif isinstance(message, Unknown) and message.problem:
            self._services.metrics.messages_unusable.inc()
            if self._unusable_log.allow(trio.current_time()):
                self._log.warning(
                    "Message could not be used", type=message.type, problem=message.problem,
                    suppressed=self._unusable_log.skipped,
                )  # fmt: skip
        elif isinstance(message, Unknown):
            self._log.debug("Message not understood", type=message.type)

    def _results(self, heard: Heard, answered: int) -> None:
        metrics, unanswered, now = self._services.metrics, self._unanswered, trio.current_time()
        metrics.transcripts_received.inc()
        covered = answered + TOLERANCE_S * self._call.timeline.rate_at(answered)
        while unanswered and unanswered[0][0] <= covered:
            metrics.result_latency.observe(now - unanswered.popleft()[1])
        if heard is Heard.REPEAT:
            metrics.duplicates_dropped.inc()
        elif not self._answered:  # also without words: callers may be silent
            self._answered = True
            if self.began is not None:
                metrics.first_partial_latency.observe(now - self.began)
