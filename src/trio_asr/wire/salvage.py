"""Lenient decoding of messages that do not fit: an odd side field costs that field, not the message.

Providers, proxies and compatible servers send `null` where a number belongs, `0.0` for an integer, `NaN`. A
struct cannot do without those of its fields that have no default, and names others in `ESSENTIAL`. Any other
field that does not fit is left out, and so is an element of a list.
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec

MAX_DEPTH = 16  # levels that are looked at; real messages have 6
MAX_NESTED = 64 * 1024  # characters that are searched for nesting; more would hold up other calls
MAX_PIECES = 1000  # elements of a list that are tried one by one; a final has 50 words
MAX_LENIENT = 128 * 1024  # characters that are decoded leniently; Deepgram's messages have 5,000
MAX_DIGITS = 20  # longer integers mean nothing here, and are slow to parse
# What the decoders raise on untrusted text. Bad Unicode, deep nesting and long numbers have their own errors.
UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
# A string, or a bracket that opens or closes a level.
_JOINTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


class Unusable(Exception):
    """An essential field that is missing or does not fit."""


def document(data: str | bytes) -> dict[str, Any]:
    """Decode a JSON object, strictly at first, then leniently.

    Raises:
        Unusable: The data is not a JSON object.
    """
    found = _read(data)
    if not isinstance(found, dict):
        raise Unusable("no JSON object")
    return found


def _read(data: str | bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except UNREADABLE:
        pass
    if len(data) > MAX_LENIENT:
        raise Unusable("no JSON, and long")
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        return loads(text)
    except RecursionError:
        if len(text) > MAX_NESTED:
            raise Unusable("nested too deep") from None
    except ValueError as error:
        raise Unusable(str(error)) from None
    try:
        return loads(_shallow(text))
    except (ValueError, RecursionError) as error:
        raise Unusable(str(error)) from None


def loads(text: str) -> Any:
    """Decode JSON as Python and JavaScript write it: with NaN, 1e400, half a surrogate pair.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf


def _shallow(text: str) -> str:
    """Return `text` with everything nested deeper than `MAX_DEPTH` replaced by `null`."""
    kept: list[str] = []
    depth = at = 0
    for joint in _JOINTS.finditer(text):
        character = text[joint.start()]
        if character in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += (text[at : joint.start()], "null")
        elif character != '"':
            if depth == MAX_DEPTH + 1:
                at = joint.end()
            depth -= 1
    if depth <= MAX_DEPTH:
        kept.append(text[at:])
    return "".join(kept)


def salvage(kind: type[T], value: object) -> T:
    """Return a struct of the fields of `value` that fit.

    Raises:
        Unusable: An essential field does not fit, or one that is needed is missing.
    """
    if not isinstance(value, dict):
        raise Unusable(f"{kind.__name__} is no object")
    essential = _essential(kind)
    fitting: dict[str, Any] = {}
    for name, wanted, required in _fields(kind):
        if name not in value:
            if required:
                raise Unusable(f"{name} is missing")
            continue
        try:
            fitting[name] = _fit(wanted, value[name])
        except (Unusable, *UNREADABLE) as error:
            if name in essential:
                why = str(error) if isinstance(error, Unusable) else f"{name} does not fit"
                raise Unusable(why) from None
    return kind(**fitting)


@cache  # a message may have thousands of pieces, and to look the fields up takes longer than to use them
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any, bool], ...]:
    """Return the name, the type, and whether it is required, of each field."""
    return tuple((field.name, field.type, field.required) for field in msgspec.structs.fields(kind))


@cache
def _essential(kind: Any) -> frozenset[str]:
    """Return the names of the fields that must fit, if it is a struct."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return frozenset()
    needed = {name for name, _, required in _fields(kind) if required}
    return frozenset(needed) | getattr(kind, "ESSENTIAL", frozenset())


def _fit(kind: Any, value: object) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return salvage(kind, value)
    if get_origin(kind) is list:
        return _fit_list(get_args(kind)[0], value)
    fitting = msgspec.convert(value, kind)
    if isinstance(fitting, float) and not math.isfinite(fitting):
        raise Unusable("not a number")
    return _whole(fitting) if isinstance(fitting, str) else fitting


def _fit_list(kind: Any, value: object) -> list[Any]:
    """Return the elements that fit, of the first `MAX_PIECES`.

    The first element must fit if its struct has essential fields. One of a struct that is `COUNTED`, for
    others name it by its number, is empty if it does not fit.
    """
    if not isinstance(value, list):
        raise Unusable("no list")
    fitting = []
    for number, element in enumerate(value[:MAX_PIECES]):
        try:
            fitting.append(_fit(kind, element))
        except (Unusable, *UNREADABLE):
            if number == 0 and _essential(kind):
                raise
            if hasattr(kind, "COUNTED"):
                fitting.append(kind())
    return fitting


def _whole(text: str) -> str:
    """Return `text` with unpaired surrogates replaced, since they cannot be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
