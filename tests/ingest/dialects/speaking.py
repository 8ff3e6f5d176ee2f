"""What the tests of all dialects use: an opened reader, messages, and bytes that nobody should write."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st
from tests.hostile import junk

from trio_asr.ingest.dialect import Audio, Begin, Dialect, Effect, Finish, Lost, Odd, Refusal, Request, Say
from trio_asr.ingest.dialects.reading import ODDITIES, REFUSALS

REQUEST = Request("/media", "/media", {}, {})


def dumped(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def base64_of(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def heard(dialect: Dialect, *messages: Any, text: bool = True) -> list[Effect]:
    """Return the effects of messages: bytes as they are, other values as JSON."""
    effects: list[Effect] = []
    for message in messages:
        data = message if isinstance(message, bytes) else dumped(message)
        effects += dialect.hear(data, text=text)
    return effects


def begun(effects: Iterable[Effect]) -> Begin:
    (begin,) = (effect for effect in effects if isinstance(effect, Begin))
    return begin


def refused(dialect: Dialect, *messages: Any, text: bool = True) -> tuple[str, str, int]:
    """Return kind, reason and code with which the last of the messages is refused."""
    heard(dialect, *messages[:-1], text=text)
    try:
        heard(dialect, messages[-1], text=text)
    except Refusal as refusal:
        return refusal.kind, refusal.reason, refusal.code
    raise AssertionError("it was taken")


def check_effects(effects: Sequence[Effect], widths: set[int]) -> None:
    """Check what holds for the effects of any bytes: their types, and words from the closed list."""
    for effect in effects:
        assert isinstance(effect, Begin | Audio | Lost | Finish | Say | Odd)
        if isinstance(effect, Odd):
            assert effect.kind in ODDITIES
        elif isinstance(effect, Begin):
            assert effect.call
            assert f"{effect.call}{effect.account}{effect.tenant}{''.join(effect.legs)}".isprintable()
            assert len(effect.legs) in (0, effect.format.channels, 2)
            json.dumps(effect.meta, allow_nan=False).encode()
            widths.add(effect.format.width)
        elif isinstance(effect, Audio):
            assert effect.audio
            assert any(len(effect.audio) % width == 0 for width in widths or {1})
            assert effect.leg in (0, 1)


def check_refusal(refusal: Refusal) -> None:
    """Check that the metrics know the word, and that the reason can be sent."""
    assert refusal.kind in REFUSALS
    assert refusal.code in (1003, 1008, 1009)
    assert refusal.reason.isprintable()
    refusal.reason.encode()


def hear_anything(dialect: Dialect, messages: Sequence[tuple[bytes, bool]]) -> None:
    """Check that nothing but a refusal is raised, whatever the messages are."""
    widths: set[int] = set()
    for message, text in messages:
        try:
            effects = dialect.hear(message, text=text)
        except Refusal as refusal:
            check_refusal(refusal)
            return
        check_effects(effects, widths)


def bad_messages(
    names: Sequence[str], healthy: Sequence[bytes]
) -> st.SearchStrategy[list[tuple[bytes, bool]]]:
    """Return a strategy of messages: healthy ones, spoiled ones, objects of these names, any bytes."""
    values = st.one_of(junk.values, st.sampled_from(healthy))
    inner = st.dictionaries(st.sampled_from(names), values, max_size=4).map(junk.document)
    outer = st.dictionaries(st.sampled_from(names), values | inner, max_size=6).map(junk.document)
    spoiled = st.builds(junk.cut, st.sampled_from(healthy), st.integers(0, 2000), st.integers(0, 255))
    replaced = st.builds(_replaced, st.sampled_from(healthy), values, st.integers(0, 50))
    message = st.one_of(st.sampled_from(healthy), spoiled, replaced, outer, st.binary(max_size=64), values)
    return st.lists(st.tuples(message, st.booleans()), max_size=12)


def _replaced(message: bytes, value: bytes, at: int) -> bytes:
    """Return a message with one of its values replaced by another."""
    parts = message.split(b":")
    place = 1 + at % max(1, len(parts) - 1)
    if place < len(parts):
        parts[place] = value + parts[place][len(parts[place].rstrip(b'}],"')) :].lstrip(b'"')
    return b":".join(parts)
