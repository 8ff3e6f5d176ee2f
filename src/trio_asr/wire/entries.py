"""The decoder of stream entries: from what producers put on the input streams to audio and ends of calls.

The envelope is one JSON object in the field `data`, or one MessagePack map in the field `m`, with the same
names in it (docs/entries.md is the page for producers). What healthy producers write decodes in one step into
the types of `wire/frames.py`. Anything else goes through `wire/lenient.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from trio_asr.wire import ids, lenient
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import DeadLetterKind
from trio_asr.wire.encodings import ENCODINGS, MONO
from trio_asr.wire.extensions import extension
from trio_asr.wire.frames import (
    MAX_ENTRY_BYTES,
    MAX_REASON_LENGTH,
    NO_RATE,
    CallEnd,
    Frame,
    Junk,
    check_id,
    check_roles,
)
from trio_asr.wire.lenient import MAX_ODD_BYTES, UNREADABLE, Document
from trio_asr.wire.meta import NO_META, detached

T = TypeVar("T")
_BRACE = ord("{")


class _Named(msgspec.Struct, gc=False):
    interaction_id: str


def _decoders(kind: type[T]) -> dict[bytes, Callable[[bytes], T]]:
    """Return a decoder for each form of envelope, by the field that it is in. Of both, the first counts."""
    packed = msgspec.msgpack.Decoder(kind, ext_hook=extension)
    return {b"m": packed.decode, b"data": msgspec.json.Decoder(kind).decode}


_frames, _ends = _decoders(Frame), _decoders(CallEnd)
_named, _documents = _decoders(_Named), _decoders(Document)
_FORMS = {b"m": "m is no MessagePack map", b"data": "data is no JSON object"}


def decode_frame(fields: list[bytes], default_sample_rate: int) -> Frame:
    """Decode one entry of the audio stream. `default_sample_rate` (Hz) applies where the frame names none.

    Raises:
        Junk: The entry is not audio of a call.
    """
    try:
        name, data = fields  # nearly always; `_envelope` finds out the same, at the price of a call
        decode = _frames[name]
    except (ValueError, KeyError):
        name, data = _envelope(fields)
        decode = _frames[name]
    if len(data) > MAX_ENTRY_BYTES:
        raise _too_large(data)
    try:
        frame = decode(data)
    except UNREADABLE:
        frame = lenient.frame_of(_document(name, data), default_sample_rate)
    rate = frame.sample_rate
    if rate == NO_RATE:
        rate = frame.sample_rate = default_sample_rate
    check_id(frame.interaction_id)
    try:
        frame.format = MONO[rate][frame.encoding]
    except KeyError:
        frame.format = _format(frame)
    if frame.channels is not None or frame.roles is not None:
        frame.format = _format(frame)
    if frame.meta is not NO_META:
        frame.meta = detached(frame.meta)
    pcm = frame.pcm
    if pcm and pcm[0] == _BRACE:
        pcm = frame.pcm = lenient.unwrap(pcm)
    at = frame.timestamp_ms
    frame.digest = hash(pcm) if at is None else hash(pcm) ^ at
    return frame


def decode_end(fields: list[bytes]) -> CallEnd:
    """Decode one entry of the call-end stream.

    Raises:
        Junk: The entry names no call.
    """
    name, data = _envelope(fields)
    if len(data) > MAX_ENTRY_BYTES:
        raise _too_large(data)
    try:
        end = _ends[name](data)
    except UNREADABLE:
        end = lenient.end_of(_document(name, data))
    check_id(end.interaction_id)
    end.reason = end.reason[:MAX_REASON_LENGTH]
    return end


def peek_id(fields: list[bytes]) -> str | None:
    """Return the interaction id of a frame at a fraction of the cost of decoding it; None if it has none."""
    try:
        name, data = _envelope(fields)
        try:
            return _named[name](data).interaction_id
        except UNREADABLE:
            odd = _document(name, data).interaction_id
    except Junk:
        return None
    return odd if isinstance(odd, str) else None


def _envelope(fields: list[bytes]) -> tuple[bytes, bytes]:
    """Return the name and the value of the field that counts."""
    if len(fields) == 2 and fields[0] in _FORMS:
        return fields[0], fields[1]
    for name in _FORMS:
        if (data := ids.field(fields, name)) is not None:
            return name, data
    raise Junk(DeadLetterKind.NO_DATA, "the entry has no field 'data' or 'm'")


def _too_large(data: bytes) -> Junk:
    reason = f"the entry has {len(data)} bytes or more, above {MAX_ENTRY_BYTES}"
    return Junk(DeadLetterKind.TOO_LARGE, reason)


def _document(name: bytes, data: bytes) -> Document:
    if len(data) > MAX_ODD_BYTES:
        raise Junk(
            DeadLetterKind.TOO_LARGE,
            f"{name.decode()} is odd, and its {len(data)} bytes are more than {MAX_ODD_BYTES}",
        )
    try:
        return _documents[name](data)
    except UNREADABLE as error:
        problem = f"{_FORMS[name]}: {error}"
    with suppress(ValueError, RecursionError):
        if name == b"data":
            return lenient.odd_json(data)
    raise Junk(DeadLetterKind.JSON, problem)


def _format(frame: Frame) -> Format:
    channels = frame.channels or 1
    if frame.roles is not None:
        check_roles(frame.roles, channels)
    return audio_format(frame.sample_rate, ENCODINGS[frame.encoding], channels)
