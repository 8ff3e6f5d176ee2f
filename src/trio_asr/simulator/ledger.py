"""What the simulator saw: a record of each connection, for tests and tools."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, fields
from typing import Any, Final

from trio_asr.simulator.query import Pairs

#: The window in seconds over which the speed of audio is measured.
PACE_WINDOW_S: Final = 5.0

#: `(time, kind, bytes)` of messages.
Messages = deque[tuple[float, str, int]]


@dataclass(slots=True)
class ConnectionRecord:
    """The record of one connection. Times are on trio's clock; `status` is 0 until the handshake is answered.

    `received` and `sent` hold `(time, kind, bytes)` of the latest messages, where the kind is `audio`, `text`
    or, if sent, the message's type. `close_code` is the code that ended the stream, whoever sent it: 1006
    without a close handshake. `stopped_at` is when reading stopped. `first_audio_at` and `last_audio_at` are
    the two ends of the time in which it was fed. `silence_s` is the longest time without any message from the
    client while it was being read; `most_in_window` the most bytes of audio within any `PACE_WINDOW_S`.
    A second of audio has `bytes_per_s`; 0 is unknown.
    """

    index: int
    request_id: str
    opened_at: float
    query: Pairs = field(default_factory=dict[str, tuple[str, ...]])
    status: int = 0
    accepted_at: float | None = None
    closed_at: float | None = None
    close_code: int | None = None
    stopped_at: float | None = None
    bytes_per_s: int = 0
    first_audio_at: float | None = None
    last_audio_at: float | None = None
    audio_bytes: int = 0
    binary_messages: int = 0
    text_messages: int = 0
    keepalives: int = 0
    finalizes: int = 0
    close_streams: int = 0
    silence_s: float = 0.0
    most_in_window: int = 0
    received: Messages = field(default_factory=deque)
    sent: Messages = field(default_factory=deque)
    _heard_at: float | None = None
    _window: deque[tuple[float, int]] = field(default_factory=deque)
    _in_window: int = 0

    def note_audio(self, now: float, data: bytes) -> None:
        """Record a binary message."""
        self.binary_messages += 1
        self.audio_bytes += len(data)
        self.last_audio_at = now
        if self.first_audio_at is None:
            self.first_audio_at = now
        self._pace(now, len(data))
        self._heard(now)
        self.received.append((now, "audio", len(data)))

    def note_text(self, now: float, text: str) -> None:
        """Record a text message. Counting is by substring: a control message is short and names its type."""
        self.text_messages += 1
        self._heard(now)
        self.keepalives += '"KeepAlive"' in text
        self.finalizes += '"Finalize"' in text
        self.close_streams += '"CloseStream"' in text
        self.received.append((now, "text", len(text)))

    def speed(self) -> float:
        """Return the highest speed of the audio over `PACE_WINDOW_S`; 1.0 is real time, 0 is unknown."""
        return self.most_in_window / self.bytes_per_s / PACE_WINDOW_S if self.bytes_per_s else 0.0

    def summary(self, now: float) -> dict[str, Any]:
        """Return all but the messages as JSON values; an open connection's silence lasts until `now`."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_SHOWN}
        if self.status == _ACCEPTED and self.closed_at is None:
            until = now if self.stopped_at is None else self.stopped_at
            shown["silence_s"] = max(self.silence_s, until - self._since())
        return {**shown, "speed": self.speed()}

    def _since(self) -> float:
        """Return when the client was last heard, or accepted."""
        return self._heard_at or self.accepted_at or self.opened_at

    def _heard(self, now: float) -> None:
        self.silence_s = max(self.silence_s, now - self._since())
        self._heard_at = now

    def _pace(self, now: float, size: int) -> None:
        self._window.append((now, size))
        self._in_window += size
        while self._window[0][0] <= now - PACE_WINDOW_S:
            self._in_window -= self._window.popleft()[1]
        self.most_in_window = max(self.most_in_window, self._in_window)


_NOT_SHOWN: Final = {"received", "sent", "_heard_at", "_window", "_in_window"}
_ACCEPTED: Final = 101


class Ledger:
    """The latest connections, oldest first, and counts of all of them.

    A message takes about 100 bytes. The default bounds suit tests and allow at most 200 MB; a simulator that
    runs as a command keeps no messages.
    """

    def __init__(self, *, keep_connections: int = 1000, keep_messages: int = 1000) -> None:
        self.connections: deque[ConnectionRecord] = deque(maxlen=keep_connections)
        self._keep_messages = keep_messages
        self.total = 0
        self.open = 0
        self.most_open = 0
        self.began: float | None = None

    def begin(self, request_id: str, now: float) -> ConnectionRecord:
        """Record an incoming connection; `index` counts from 0."""
        if self.began is None:
            self.began = now
        received, sent = (deque[tuple[float, str, int]](maxlen=self._keep_messages) for _ in range(2))
        record = ConnectionRecord(self.total, request_id, now, received=received, sent=sent)
        self.total += 1
        self.connections.append(record)
        return record

    def accepted(self, record: ConnectionRecord, now: float, bytes_per_s: int) -> None:
        """Record that the handshake was answered with 101, for audio of so many bytes a second."""
        record.status, record.accepted_at, record.bytes_per_s = _ACCEPTED, now, bytes_per_s
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def ended(self, record: ConnectionRecord, now: float) -> None:
        """Record that the connection is gone."""
        record.closed_at = now
        if record.accepted_at is not None:
            self.open -= 1
            if record.close_code is None:
                record.close_code = 1006
