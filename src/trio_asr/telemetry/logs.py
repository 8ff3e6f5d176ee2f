"""Structured logs on standard error: one line per event, as JSON for machines or as text for people.

    log = logs.get(__name__)
    log.info("Creating new connection for 17", interaction_id="17", connection=1)

Loggers may be created before `configure()` and bound for the length of a call: level, format and secrets are
looked up when a line is written, so a reload of the configuration reaches all of them. A disabled level costs
one comparison.

In the daemon, `sys.stderr` does not wait for its reader (`telemetry/background.py`): lines that do not fit
into its queue are dropped.
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
    """The destination of the lines and the state that all loggers share; one for the process."""

    def __init__(self) -> None:
        self.threshold = logging.INFO
        self.stream: TextIO | None = None
        self.needles: tuple[str, ...] = ()

    def mask(self, text: str) -> str:
        """Return `text` with a mask in place of each secret."""
        for needle in self.needles:
            text = text.replace(needle, MASK)
        return text

    def write(self, level: int, line: str) -> None:
        """Write a line, with its secrets masked; lose it where that fails."""
        line = self.mask(line)
        stream = self.stream or sys.stderr
        if isinstance(stream, BackgroundStream):
            stream.put(level, line)
            return
        # A closed stream raises ValueError. Losing a line is better than losing the calls.
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
    """A logger that adds its fields to each line; `bind()` returns one with more fields."""

    def add(self, **fields: Any) -> None:
        """Add fields to this logger itself, for all who hold it; `bind()` returns another one."""
        self._context.update(fields)

    def debug(self, event: str, **fields: Any) -> None:
        """Log a line at DEBUG."""
        if _sink.threshold <= logging.DEBUG:
            self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Log a line at INFO."""
        if _sink.threshold <= logging.INFO:
            self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log a line at WARNING."""
        if _sink.threshold <= logging.WARNING:
            self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log a line at ERROR."""
        self._proxy_to_logger("error", event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Log a line at ERROR with the traceback of the current exception, or of `exc_info=exc`."""
        fields.setdefault("exc_info", True)
        self._proxy_to_logger("error", event, **fields)


def get(name: str) -> Logger:
    """Return a logger of this name."""
    return Logger(_sink, _processors, {"logger": name})


def configure(
    level: Level, fmt: Format, *, secrets: Iterable[Secret] = (), stream: TextIO | None = None
) -> None:
    """Set up all loggers, those of the standard library included.

    `secrets` are masked in every line. Lines go to `stream`, by default to whatever `sys.stderr` is when they
    are written.
    """
    set_level(level)
    _sink.stream = stream
    needles = {form for secret in secrets for form in forms(secret.reveal())}
    # The longest first: masking a shorter one that is a part of it would leave the rest.
    _sink.needles = tuple(sorted(needles, key=lambda form: (-len(form), form)))
    _processors[:] = _for_machines() if fmt == "json" else _for_people(stream or sys.stderr)
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Bridge)]
    root.addHandler(_Bridge())
    if isinstance(sys.stderr, BackgroundStream):
        sys.stderr.mask, sys.stderr.notice = _sink.mask, _dropped_line


def masked(text: str) -> str:
    """Return a text with the configured secrets masked, for text of others that we pass on."""
    return _sink.mask(text)


def dropped() -> int:
    """Return how many lines were dropped, because standard error was not read in time or writing failed."""
    return sys.stderr.dropped if isinstance(sys.stderr, BackgroundStream) else 0


def set_level(level: Level) -> None:
    """Set the lowest level that all loggers write, from now on."""
    _sink.threshold = _NUMBERS[level]


def debugging() -> bool:
    """Return whether DEBUG lines are written, so that their fields need not be computed otherwise."""
    return _sink.threshold <= logging.DEBUG


class Rate:
    """A limit of one message per interval. Pure: the caller passes the time, in seconds of any clock."""

    __slots__ = ("_interval_s", "_next", "_refused", "skipped")

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._next = float("-inf")
        self._refused = 0
        self.skipped = 0

    def allow(self, now: float) -> bool:
        """Return whether to log now; if so, `skipped` is the number of refusals since the last time."""
        if now < self._next:
            self._refused += 1
            return False
        self._next = now + self._interval_s
        self.skipped, self._refused = self._refused, 0
        return True


class _Bridge(logging.Handler):
    """A handler that passes lines of the standard library's logging on to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; anything below WARNING at DEBUG."""
        # Libraries may log anything. Like the handlers of the standard library, this one never raises.
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
    # These three come first. A field that is called "level" is overwritten.
    line: dict[str, Any] = {"ts": None, "level": None, "event": None}
    line.update(event, level=level)
    try:
        return msgspec.json.encode(line, enc_hook=str).decode()
    except (TypeError, ValueError):
        # A lone surrogate in a text, a key that is not a text, or a value whose `str` fails.
        return json.dumps(line, default=repr, skipkeys=True)


def _escaped(_logger: Any, _level: str, event: EventDict) -> EventDict:
    """Escape control characters: they could move the cursor or colour the reader's terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = repr(value)
    return event


def _dropped_line(lines: int) -> str:
    """Return the line that takes the place of dropped ones."""
    event: Any = {"event": "Log lines were dropped: standard error was not read in time", "logger": "logs"}
    event["lines"] = lines
    for processor in _processors:
        event = processor(None, "warning", event)
    return str(event)


_processors[:] = _for_machines()
