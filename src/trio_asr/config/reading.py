"""Reading files and parsing TOML, bounded in bytes, in time and in depth, whatever is there."""

import os
import re
import select
import stat
import time
import tomllib
from pathlib import Path
from typing import Any

READ_S = 2.0  # for anything but a regular file, such as a pipe
PIECE_BYTES = 64 * 1024
# Several times what a configuration needs. Beyond these bounds the parser's time grows with the square.
MAX_DEPTH = 8  # of brackets within brackets
MAX_PARTS = 16  # of a dotted key
MAX_WORD = 200  # characters of a number, or of a key without quotes

# Each match is one token: a comment or a string, so that nothing inside those counts, a word or a mark. The
# quantifiers are possessive: without backtracking, the time is linear in the length.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.?|"(?!""))*+(?:"{3,5})?'
    r"|'''(?:[^']|'(?!''))*+(?:'{3,5})?"
    r'|"(?:[^"\\\n]|\\[^\n]?)*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+"
    r"|[A-Za-z0-9_+:-]++"
    r"|[\[\]{}.,=\n]",
    re.DOTALL,
)


class Unreadable(Exception):
    """A file that cannot be read. The message says why, without the file's name."""


class Unparsable(Exception):
    """A text that is not TOML, or has a size or shape that no configuration has."""


def read(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    It blocks; for anything but a regular file, no longer than `READ_S` seconds.

    Raises:
        Unreadable: The file cannot be opened or read, is larger, or took too long.
    """
    try:
        # Non-blocking: opening a pipe that nobody writes to would otherwise never return.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            data = _all_of(descriptor, most)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as exc:  # ValueError is for a NUL in the name
        raise Unreadable(getattr(exc, "strerror", None) or "no such name is possible") from exc
    if len(data) > most:
        raise Unreadable(f"it is larger than {most} bytes: is it the right file?")
    return data


def _all_of(descriptor: int, most: int) -> bytes:
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    deadline = time.monotonic() + READ_S
    pieces: list[bytes] = []
    left = most + 1
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while left > 0:
        if not regular and not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise Unreadable(f"nothing came within {READ_S:g} s")
        try:
            piece = os.read(descriptor, min(left, PIECE_BYTES))
        except BlockingIOError:
            continue
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    if not regular and not pieces:
        raise Unreadable("it is no file, and holds nothing")
    return b"".join(pieces)


def parse(data: bytes) -> dict[str, Any]:
    """Return the tables of a TOML document.

    Raises:
        Unparsable: The data is not TOML, or cannot be a configuration.
    """
    try:
        text = data.decode()
        _check_shape(text)
        return tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise Unparsable(f"is not valid TOML: {exc.reason} at byte {exc.start}: UTF-8 is needed") from exc
    except tomllib.TOMLDecodeError as exc:
        raise Unparsable(f"is not valid TOML: {_brief(exc)}") from exc
    # tomllib passes some errors on as they are: for an integer of 5,000 digits, for a date of month 13.
    except (ValueError, RecursionError, OverflowError) as exc:
        raise Unparsable(f"is not valid TOML: {type(exc).__name__}") from exc


def _brief(error: Exception) -> str:
    """Return a parser's message without the texts that it quotes: one of them may be a password."""
    return re.sub(r"'.*'|\".*\"|\(['\"].*['\"],?\)", "...", str(error), flags=re.DOTALL)[:200]


def _check_shape(text: str) -> None:
    depth = parts = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            parts = 0
            if depth > MAX_DEPTH:
                raise Unparsable(f"{_line(text, token)} is nested more than {MAX_DEPTH} deep")
        elif first in "]}":
            depth = max(0, depth - 1)
        elif first == ".":
            parts += 1
            if parts >= MAX_PARTS:
                raise Unparsable(f"{_line(text, token)} has a key of more than {MAX_PARTS} parts")
        elif first in ",=\n":
            parts = 0
        elif first not in "\"'#" and token.end() - token.start() > MAX_WORD:
            raise Unparsable(f"{_line(text, token)} has a number or key of more than {MAX_WORD} characters")


def _line(text: str, token: re.Match[str]) -> str:
    return f"line {text.count(chr(10), 0, token.start()) + 1}"
