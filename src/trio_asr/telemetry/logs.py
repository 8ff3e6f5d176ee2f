"""Structured logs on standard error: one line per event, as JSON for machines or as text for people.

    log = logs.get(__name__)
    log.info("Creating new connection for 17", interaction_id="17", connection=1)

Loggers may be made before ``configure()`` and bound for the length of a call: level, format and secrets are
looked up when a line is written, so that a reload of the configuration reaches all of them. A level that is
off costs one comparison.

In a daemon `sys.stderr` does not wait for its reader (`telemetry/background.py`): what it has no room for is
dropped.
"""

import contextlib
import json
import logging
import sys
from collections.abc import Iterable
from functools import partialmethod
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from trio_asr.config.secrets import MASK, Secret, forms
from trio_asr.telemetry.background import BackgroundStream

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "console"]

_NUMBERS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class _Sink:
    """Where lines go, and what all loggers share: logs belong to the process, so there is one."""

    def __init__(self) -> None:
        self.threshold = logging.INFO
        self.stream: TextIO | None = None
        self.needles: tuple[str, ...] = ()

    def mask(self, text: str) -> str:
        for needle in self.needles:
            text = text.replace(needle, MASK)
        return text

    def write(self, level: int, line: str) -> None:
        line = self.mask(line)
        stream = self.stream or sys.stderr
        if isinstance(stream, BackgroundStream):
            stream.put(level, line)
            return
        # ValueError is what a closed stream raises. Losing a line is better than losing the calls.
        with contextlib.suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    debug = partialmethod(write, logging.DEBUG)
    info = partialmethod(write, logging.INFO)
    warning = partialmethod(write, logging.WARNING)
    error = partialmethod(write, logging.ERROR)


_sink = _Sink()
_processors: list[Processor] = []


class Logger(structlog.BoundLoggerBase):
    """A logger with fields that it adds to each line: ``bind()`` gives one with more of them."""

    def add(self, **fields: Any) -> None:
        """Add fields to this very logger, whoever else holds it; ``bind()`` returns another."""
        self._context.update(fields)

    def debug(self, event: str, **fields: Any) -> None:
        if _sink.threshold <= logging.DEBUG:
            self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        if _sink.threshold <= logging.INFO:
            self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        if _sink.threshold <= logging.WARNING:
            self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        self._proxy_to_logger("error", event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception in hand, or of ``exc_info=exc``."""
        fields.setdefault("exc_info", True)
        self._proxy_to_logger("error", event, **fields)


def get(name: str) -> Logger:
    return Logger(_sink, _processors, {"logger": name})


def configure(
    level: Level, fmt: Format, *, secrets: Iterable[Secret] = (), stream: TextIO | None = None
) -> None:
    """Set up all loggers, the standard library's too. ``secrets`` are masked wherever a line would show them.

    Lines go to ``stream``, by default to whatever ``sys.stderr`` is at the time.
    """
    set_level(level)
    _sink.stream = stream
    needles = {form for secret in secrets for form in forms(secret.reveal())}
    # The longest first: a shorter one may be a part of it, and would leave the rest.
    _sink.needles = tuple(sorted(needles, key=lambda form: (-len(form), form)))
    _processors[:] = _for_machines() if fmt == "json" else _for_people(stream or sys.stderr)
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Bridge)]
    root.addHandler(_Bridge())
    if isinstance(sys.stderr, BackgroundStream):
        sys.stderr.mask, sys.stderr.notice = _sink.mask, _dropped_line


def masked(text: str) -> str:
    """Return a text without the secrets of the configuration: for what others wrote and we pass on."""
    return _sink.mask(text)


def dropped() -> int:
    """Return how many lines were dropped: standard error was not read in time, or could not be written."""
    return sys.stderr.dropped if isinstance(sys.stderr, BackgroundStream) else 0


def set_level(level: Level) -> None:
    """Change what all loggers let through, from now on."""
    _sink.threshold = _NUMBERS[level]


def debugging() -> bool:
    """Say whether DEBUG lines are written: what they say need not be put together otherwise."""
    return _sink.threshold <= logging.DEBUG


class Rate:
    """Lets one message through per interval. Pure: the caller brings the time, in seconds of any clock."""

    __slots__ = ("_interval_s", "_next", "_refused", "skipped")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = float("-inf")
        self._refused = 0
        self.skipped = 0

    def allow(self, now: float) -> bool:
        """Whether to speak now; if so, ``skipped`` is how often the answer was no since the last time."""
        if now < self._next:
            self._refused += 1
            return False
        self._next = now + self._interval_s
        self.skipped, self._refused = self._refused, 0
        return True


class _Bridge(logging.Handler):
    """Lines of libraries that use the standard library's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        # Called for what libraries say, hence for anything; the standard handlers do not raise here either.
        try:
            logger = get(record.name)
            fields = {"exc_info": record.exc_info} if record.exc_info else {}
            if record.levelno >= logging.ERROR:
                logger.error(record.getMessage(), **fields)
            elif record.levelno >= logging.WARNING:
                logger.warning(record.getMessage(), **fields)
            else:
                logger.debug(record.getMessage(), **fields)
        except Exception:  # noqa: BLE001 - see above
            self.handleError(record)


def _for_machines() -> list[Processor]:
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _json_line,
    ]


def _for_people(stream: TextIO) -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
        _escaped,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        ),
    ]


def _json_line(_logger: Any, level: str, event: EventDict) -> str:
    # These three first; a field that is called "level" gives way.
    line: dict[str, Any] = {"ts": None, "level": None, "event": None}
    line.update(event, level=level)
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (TypeError, ValueError):
        # Half a surrogate pair in a text, a key that is no text, or a value that cannot be shown.
        return json.dumps(line, default=repr, skipkeys=True)


def _escaped(_logger: Any, _level: str, event: EventDict) -> EventDict:
    """Without what would move the cursor or colour the terminal of who reads it."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = repr(value)
    return event


def _dropped_line(lines: int) -> str:
    """The line that stands where others are missing."""
    event: Any = {"event": "Log lines were dropped: standard error was not read in time", "logger": "logs"}
    event["lines"] = lines
    for processor in _processors:
        event = processor(None, "warning", event)
    return str(event)


_processors[:] = _for_machines()
