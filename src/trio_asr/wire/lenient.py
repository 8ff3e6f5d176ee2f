"""The lenient path: envelopes with oddities, of which only those that make the audio unusable are refused.

Producers are forgiven whatever costs no audio: numbers as strings, odd optional fields, names of encodings in
any case, the audio under one of its later names, base64 where MessagePack has bytes.

The old ingest had a trap: it published the JSON *text* of telephony events as if it were PCM. So "audio"
that is such an event is unwrapped, in either form of envelope. Audio may begin with any byte, a brace
included, so bytes are taken for an event only if they parse as one of that protocol.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import msgspec

from trio_asr.wire import encodings, ids
from trio_asr.wire.audio_format import MOST_CHANNELS
from trio_asr.wire.codes import DeadLetterKind
from trio_asr.wire.encodings import Said
from trio_asr.wire.frames import (
    LATEST_MS,
    MAX_ID_LENGTH,
    MAX_POSITION,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    CallEnd,
    Frame,
    Junk,
    NotAudio,
)
from trio_asr.wire.meta import NO_META
from trio_asr.wire.numbers import decimal, rounded, whole
from trio_asr.wire.payload import from_base64, from_numbers
from trio_asr.wire.salvage import loads

# This path decodes into objects, at a hundred times the memory and time of the plain bytes. Its limit allows
# for the longest frames in use.
MAX_ODD_BYTES = 256 * 1024
# What msgspec raises on untrusted bytes: bad UTF-8 and deep nesting have errors of their own.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CHANNELS = {"mono": 1, "stereo": 2}
_TELEPHONY_EVENTS = frozenset({"connected", "start", "media", "dtmf", "mark", "clear", "stop"})


class Media(msgspec.Struct, gc=False):
    """The fields in which audio is found; of several, the first counts."""

    audio: Any = None
    audio_data: Any = None
    data: Any = None
    payload: Any = None


class Document(Media, gc=False):
    """An envelope of whose fields nothing is known yet. Absent and null are the same."""

    interaction_id: Any = None
    sample_rate: Any = None
    seq: Any = None
    timestamp_ms: Any = None
    tenant_id: Any = None
    trace_id: Any = None
    encoding: Any = None
    channels: Any = None
    position: Any = None
    roles: Any = None
    meta: msgspec.Raw = NO_META
    reason: Any = None  # of a call's end


_NAMES = frozenset(Document.__struct_fields__)


class _Event(msgspec.Struct, gc=False):
    event: str
    media: Any = None


_event = msgspec.json.Decoder(_Event)


def odd_json(data: bytes) -> Document:
    """Return the envelope in JSON that only Python and JavaScript write, or that a byte order mark precedes.

    What cannot be text (half a surrogate pair, bytes that are no UTF-8) stays in its field alone, as lone
    surrogates.

    Raises:
        ValueError: It is no JSON object.
        RecursionError: It is nested too deep.
    """
    found = loads(data.decode("utf-8-sig", "surrogateescape"))
    if not isinstance(found, dict):
        raise ValueError("no object")  # noqa: TRY004 - as for anything else that is none
    known = {name: value for name, value in found.items() if name in _NAMES and value is not None}
    if "meta" in known:  # as it came, for `read_meta` to judge
        text = json.dumps(known["meta"], ensure_ascii=False, separators=(",", ":"))
        known["meta"] = msgspec.Raw(text.encode("utf-8", "surrogatepass"))
    return Document(**known)


def frame_of(document: Document, default_sample_rate: int) -> Frame:
    """Return the frame that an envelope stands for. `default_sample_rate` (Hz) applies where it names none.

    Raises:
        Junk: It is not audio of a call.
    """
    interaction_id, said = _interaction_id(document), _encoding(document.encoding)
    channels = _channels(document.channels, said)
    pcm = _audio(document)
    frame = Frame(interaction_id, pcm, _sample_rate(document.sample_rate, said, default_sample_rate))
    frame.odd = True
    frame.encoding, frame.channels = said.encoding, channels
    frame.seq = whole(document.seq)
    frame.timestamp_ms = _time(document.timestamp_ms)
    frame.tenant_id = _text(document.tenant_id) or ""
    frame.trace_id = _text(document.trace_id)
    frame.roles, frame.meta = _roles(document.roles), document.meta
    position = whole(document.position)
    if position is not None and 0 <= position <= MAX_POSITION:
        frame.position = position
    else:
        frame.misplaced = document.position is not None
    return frame


def end_of(document: Document) -> CallEnd:
    """Return the end of a call that an envelope stands for.

    Raises:
        Junk: It names no call.
    """
    reason = document.reason
    return CallEnd(_interaction_id(document), reason if isinstance(reason, str) and _is_sound(reason) else "")


def unwrap(pcm: bytes) -> bytes:
    """Return the audio inside a telephony event that was published as if it were audio, else `pcm` itself.

    Raises:
        NotAudio: It is an event without audio.
        Junk: It is a media event, and its audio cannot be read.
    """
    if len(pcm) > MAX_ODD_BYTES:
        return pcm
    try:
        event = _event.decode(pcm)
    except UNREADABLE:
        return pcm
    if event.event not in _TELEPHONY_EVENTS:
        return pcm
    if event.event != "media":
        raise NotAudio(f"a telephony event {ids.show(event.event)}, not audio")
    return _audio(msgspec.convert(event.media if isinstance(event.media, dict) else {}, Media))


def _interaction_id(document: Document) -> str:
    value = document.interaction_id
    if not isinstance(value, str):
        raise Junk(DeadLetterKind.INTERACTION_ID, f"interaction_id {ids.show(value)} is not a string")
    return value


def _encoding(value: Any) -> Said:
    said = encodings.read("" if value is None else value) if isinstance(value, str | None) else None
    if said is None:
        raise Junk(DeadLetterKind.ENCODING, f"encoding {ids.show(value)} is not linear16, mulaw or alaw")
    return said


def _channels(value: Any, said: Said) -> Literal[1, 2]:
    """Return 1 or 2; refuse anything else that is said: read as fewer channels, it is noise at a wrong speed.

    Genesys' AudioHook has a list of names there; others have a word.
    """
    if value is None:
        value = 1 if said.channels is None else said.channels
    elif isinstance(value, list):
        value = len(value)
    elif isinstance(value, str):
        value = _CHANNELS.get(value.strip().lower(), value)
    channels = decimal(value)
    if channels not in range(1, MOST_CHANNELS + 1):
        shown = ids.show(value if channels is None else channels)
        raise Junk(DeadLetterKind.CHANNELS, f"audio of {shown} channels, not of 1..{MOST_CHANNELS}")
    return 1 if channels == 1 else 2


def _sample_rate(value: Any, said: Said, default: int) -> int:
    if value is None:
        value = default if said.rate is None else said.rate
    rate = whole(value)
    if rate is None:
        raise Junk(DeadLetterKind.SAMPLE_RATE, f"sample_rate {ids.show(value)} is not a whole number")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise Junk(
            DeadLetterKind.SAMPLE_RATE,
            f"sample_rate {rate} is not within {MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE} Hz",
        )
    if said.only_rate not in (None, rate):
        raise Junk(
            DeadLetterKind.SAMPLE_RATE,
            f"sample_rate {rate} is not that of the encoding's name, {said.only_rate} Hz",
        )
    return rate


def _audio(media: Media) -> bytes:
    name = next((name for name in Media.__struct_fields__ if getattr(media, name) is not None), "audio")
    value = getattr(media, name)
    if isinstance(value, bytes):  # MessagePack has them, JSON does not
        return value
    try:
        if isinstance(value, list | dict):
            return from_numbers(value)
        if isinstance(value, str):
            return from_base64(value)
    except ValueError as error:
        what = "base64" if isinstance(value, str) else "a list of bytes"
        raise Junk(DeadLetterKind.AUDIO, f"{name} is not {what}: {error}") from None
    raise Junk(DeadLetterKind.AUDIO, f"{name} {ids.show(value)} is neither base64 nor bytes")


def _roles(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise Junk(DeadLetterKind.ROLES, f"roles {ids.show(value)} is not a list")
    for role in value:
        if not isinstance(role, str):
            raise Junk(DeadLetterKind.ROLES, f"the role {ids.show(role)} is not a string")
    return tuple(value)


def _time(value: Any) -> int | None:
    """Return a time in ms. What would lie behind the year 2109 is in microseconds, or even nanoseconds."""
    time_ms = rounded(value)
    while time_ms is not None and abs(time_ms) >= LATEST_MS:
        time_ms = round(time_ms / 1000)
    return time_ms


def _text(value: Any) -> str | None:
    fit = isinstance(value, str) and len(value) <= MAX_ID_LENGTH and _is_sound(value)
    return str(value) if fit else None


def _is_sound(text: str) -> bool:
    """Return whether a text can be encoded: it has no lone surrogate."""
    return not _SURROGATE.search(text)
