"""The keys and values that are accepted, also in words: for error messages, and for the page of all keys."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect

MAX_NAME = 100  # characters of an unknown key that are compared
_SCALARS: dict[type, str] = {
    inspect.BoolType: "boolean",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
}


def accepted(value: Any, annotation: Any, *, strict: bool = True) -> Any:
    """Return a value as a key of this type takes it; if not `strict`, a text may stand for a number.

    Raises:
        msgspec.ValidationError: The key does not take it.
    """
    converted = msgspec.convert(value, annotation, strict=strict)
    if not _finite(converted):  # TOML has inf and nan, and no range rules nan out
        raise msgspec.ValidationError("not a finite number")
    return converted


def refused_in(table: Any, annotation: Any) -> str | None:
    """Return the name of the first entry of a table for which a key of this type does not take the table.

    None if it is no table, or each of its entries could stand alone.
    """
    for name, value in table.items() if isinstance(table, dict) else ():
        try:
            accepted({name: value}, annotation)
        except msgspec.ValidationError:
            return str(name)
    return None


def kind_of(annotation: Any) -> str:
    """Return the kind of value, such as `integer` or `list of text`."""
    return _kind(inspect.type_info(annotation))


def allowed_by(annotation: Any) -> str:
    """Return the values that a key of this type accepts, such as `an integer from 10 to 8000`."""
    return _allowed(inspect.type_info(annotation))


def hint_for(name: str, table: str, known: Iterable[str], elsewhere: Iterable[str]) -> str:
    """Return what an unknown key `name` of a table may have been meant to be, of the key paths in use."""
    siblings = [path.rpartition(".")[2] for path in known if path.rpartition(".")[0] == table]
    if near := difflib.get_close_matches(name[:MAX_NAME], siblings, n=1):
        return f"did you mean {f'{table}.' if table else ''}{near[0]}?"
    if same := [path for path in elsewhere if path.rpartition(".")[2] == name]:
        return f"did you mean {same[0]}?"
    return f"known are: {', '.join(siblings)}"


def _finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_finite, value.values()))
        case tuple():
            return all(map(_finite, value))
    return True


def _kind(info: Any) -> str:
    match info:
        case inspect.Metadata(type=inner):
            return _kind(inner)
        case inspect.UnionType(types=types):
            return " or ".join(_kind(one) for one in _without_none(types))
        case inspect.VarTupleType(item_type=item):
            return f"list of {_kind(item)}"
        case inspect.DictType():
            return "table"
        case _:
            return _SCALARS.get(type(info), "text")


def _allowed(info: Any) -> str:
    match info:
        case inspect.Metadata(extra={"allowed": words}):
            return str(words)
        case inspect.Metadata(type=inner):
            return _allowed(inner)
        case inspect.UnionType(types=types):
            return ", or ".join(_allowed(one) for one in _without_none(types))
        case inspect.VarTupleType(item_type=item, max_length=most):
            limit = f"at most {most}" if most is not None else "any number"
            return f"a list, {limit}, each: {_allowed(item)}"
        case _:
            return _allowed_scalar(info)


def _allowed_scalar(info: Any) -> str:
    match info:
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return f"an integer from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number from {low:g} to {high:.12g}"
        case _:
            return "a text"


def _without_none(types: Sequence[Any]) -> list[Any]:
    return [one for one in types if not isinstance(one, inspect.NoneType)]
