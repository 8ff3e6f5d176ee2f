"""The decoder of stream entries: from what producers put on the input streams to audio and ends of calls.

The envelope is one JSON object in the field `data`. Producers are forgiven whatever costs no audio: numbers
as strings, unknown or odd optional fields, the audio under one of its later names. Whatever cannot be a
call's audio raises `Junk` with the reason, for the dead-letter stream.

The old ingest had a trap: it published the JSON *text* of telephony events as if it were PCM. So "audio" that
is such an event is unwrapped. PCM may begin with any byte, a brace included, so bytes are taken for an event
only if they parse as one of that protocol.
"""

from __future__ import annotations

import binascii
import re
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

import msgspec

from trio_asr.wire import ids
from trio_asr.wire.audio_format import Format, audio_format
from trio_asr.wire.codes import DeadLetterKind
from trio_asr.wire.ids import EntryId
from trio_asr.wire.numbers import decimal, rounded, whole

MAX_ENTRY_BYTES = 2 * 1024 * 1024  # 40 s of 16 kHz audio in base64; the longest frames in use have 5 s
# The lenient path decodes into objects, at a hundred times the memory and time of the plain bytes. Its limit
# allows for the longest frames in use.
MAX_ODD_BYTES = 256 * 1024
MAX_ID_LENGTH = MAX_REASON_LENGTH = 256
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4000, 96_000
NO_RATE = MAX_SAMPLE_RATE + 1  # Hz; stands for "none was given"
_Encoding = Literal[
    "pcm16", "linear16", "s16le", "pcm", "audio/x-raw", "raw/slin", "audio/l16",
    "l16", "slin", "pcm_s16le", "audio/x-l16", "audio/pcm", "",
]  # fmt: skip
PCM_ENCODINGS = frozenset(get_args(_Encoding))
_RATE_OF_TYPE = re.compile(r";\s*rate\s*=\s*\"?(\d{1,9})", re.ASCII)  # audio/L16;rate=8000
_CHANNELS_OF_TYPE = re.compile(r";\s*channels\s*=\s*\"?(\d{1,9})", re.ASCII)
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_TELEPHONY_EVENTS = frozenset({"connected", "start", "media", "dtmf", "mark", "clear", "stop"})
_AUDIO_NAMES = ("audio", "audio_data", "data", "payload")


# What msgspec raises on untrusted bytes: bad UTF-8 and deep nesting have errors of their own.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Rate = Annotated[int, msgspec.Meta(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)]
_Short = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Role = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Junk(Exception):
    """An unusable entry. `kind` is a metric label; the message says what is wrong."""

    def __init__(self, kind: DeadLetterKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotAudio(Junk):
    """A well-formed telephony event other than media: nothing to transcribe, and nothing to report."""

    def __init__(self, message: str) -> None:
        super().__init__(DeadLetterKind.AUDIO, message)  # which nobody sees: it goes to no dead letter


class Frame(msgspec.Struct, gc=False):
    """One frame of a call, decoded from its envelope in one step. `pcm` is s16le mono audio of any length.

    The types are those that healthy producers write. An envelope that does not fit them takes the lenient
    path. `sample_rate` is in Hz, `timestamp_ms` in milliseconds.
    """

    interaction_id: str
    pcm: bytes = msgspec.field(name="audio")
    sample_rate: _Rate = NO_RATE
    seq: _Int64 | None = None
    timestamp_ms: _Int64 | None = None
    tenant_id: _Short = ""
    trace_id: _Short | None = None
    encoding: _Encoding = "pcm16"
    channels: Literal[1] | None = None
    position: _Position | None = None
    roles: tuple[_Role, ...] | None = None
    meta: msgspec.Raw = msgspec.Raw()
    # Ours, not the producer's. An envelope may hold fields of these names: they are overwritten.
    format: Format = msgspec.field(default=audio_format(8000), name="~format")
    misplaced: bool = False  # its position is none, and was left out
    digest: int = 0  # hash of the audio, xor the timestamp; repeats are recognised by it
    odd: bool = False  # it took the lenient path, which is slow
    entry: EntryId = ""  # the entry that it was read from


class CallEnd(msgspec.Struct, gc=False):
    """The end of a call: no more audio is expected, though late frames happen."""

    interaction_id: str
    reason: str = ""


class _Event(msgspec.Struct, gc=False):
    event: str
    media: Any = None


_frame = msgspec.json.Decoder(Frame)
_end = msgspec.json.Decoder(CallEnd)
_event = msgspec.json.Decoder(_Event)
_any = msgspec.json.Decoder()


def decode_frame(fields: list[bytes], default_sample_rate: int) -> Frame:
    """Decode one entry of the audio stream. `default_sample_rate` (Hz) applies where the frame names none.

    Raises:
        Junk: The entry is not audio of a call.
    """
    data = _data(fields)
    try:
        frame = _frame.decode(data)
    except _UNREADABLE:
        frame = _lenient(data)
    if frame.sample_rate == NO_RATE:
        frame.sample_rate = default_sample_rate
    frame.format = audio_format(frame.sample_rate)
    check_id(frame.interaction_id)
    pcm = frame.pcm
    if pcm.startswith(b"{"):
        pcm = frame.pcm = _unwrap(pcm)
    at = frame.timestamp_ms
    frame.digest = hash(pcm) if at is None else hash(pcm) ^ at
    return frame


def decode_end(fields: list[bytes]) -> CallEnd:
    """Decode one entry of the call-end stream.

    Raises:
        Junk: The entry names no call.
    """
    data = _data(fields)
    try:
        end = _end.decode(data)
    except _UNREADABLE:
        end = _lenient_end(data)
    check_id(end.interaction_id)
    end.reason = end.reason[:MAX_REASON_LENGTH]
    return end


def _lenient_end(data: bytes) -> CallEnd:
    document = _document(data)
    interaction_id, reason = document.get("interaction_id"), document.get("reason")
    if not isinstance(interaction_id, str):
        raise Junk(
            DeadLetterKind.INTERACTION_ID, f"interaction_id {ids.show(interaction_id)} is not a string"
        )
    return CallEnd(interaction_id, reason if isinstance(reason, str) else "")


class _Envelope(msgspec.Struct, gc=False):
    interaction_id: str


_envelope = msgspec.json.Decoder(_Envelope)


def peek_id(fields: list[bytes]) -> str | None:
    """Return the interaction id of a frame at a fraction of the cost of decoding it; None if it has none."""
    try:
        return _envelope.decode(_data(fields)).interaction_id
    except (Junk, *_UNREADABLE):
        return None


@lru_cache(4096)  # each call's id comes fifty times a second
def check_id(interaction_id: str) -> None:
    """Check that an id can be part of a Redis key, a header and a log line.

    Raises:
        Junk: The id is not 1-256 printable characters without braces.
    """
    if not 1 <= len(interaction_id) <= MAX_ID_LENGTH:
        raise Junk(
            DeadLetterKind.INTERACTION_ID, f"interaction_id has {len(interaction_id)} characters, not 1..256"
        )
    if not interaction_id.isprintable() or "{" in interaction_id or "}" in interaction_id:
        raise Junk(
            DeadLetterKind.INTERACTION_ID,
            f"interaction_id {ids.show(interaction_id)} has unusable characters",
        )


def _data(fields: list[bytes]) -> bytes:
    data = fields[1] if len(fields) > 1 and fields[0] == b"data" else ids.field(fields, b"data")
    if data is None:
        raise Junk(DeadLetterKind.NO_DATA, "the entry has no field 'data'")
    if len(data) > MAX_ENTRY_BYTES:
        raise Junk(
            DeadLetterKind.TOO_LARGE, f"the entry has {len(data)} bytes or more, above {MAX_ENTRY_BYTES}"
        )
    return data


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_ODD_BYTES:
        raise Junk(
            DeadLetterKind.TOO_LARGE, f"data is odd, and its {len(data)} bytes are more than {MAX_ODD_BYTES}"
        )
    try:
        document = _any.decode(data)
    except _UNREADABLE as error:
        raise Junk(DeadLetterKind.JSON, f"data is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Junk(DeadLetterKind.JSON, "data is not a JSON object")
    return document


def _lenient(data: bytes) -> Frame:
    """Decode an envelope with oddities; refuse only those that make the audio unusable."""
    document = _document(data)
    interaction_id = document.get("interaction_id")
    if not isinstance(interaction_id, str):
        raise Junk(
            DeadLetterKind.INTERACTION_ID, f"interaction_id {ids.show(interaction_id)} is not a string"
        )
    encoding = _encoding_of(document.get("encoding"))
    _check_channels(document.get("channels"), encoding)
    frame = Frame(interaction_id, _base64(document), _sample_rate(document.get("sample_rate"), encoding))
    frame.odd = True
    frame.seq = whole(document.get("seq"))
    frame.timestamp_ms = rounded(document.get("timestamp_ms"))
    frame.tenant_id = _text(document.get("tenant_id")) or ""
    frame.trace_id = _text(document.get("trace_id"))
    return frame


def _encoding_of(value: Any) -> str:
    """Return the encoding in lower case, or "" if none was given; refuse what is not 16-bit PCM."""
    if value is None:
        return ""
    encoding = value.strip().lower() if isinstance(value, str) else None
    if encoding is None or encoding.partition(";")[0].rstrip() not in PCM_ENCODINGS:
        raise Junk(DeadLetterKind.ENCODING, f"encoding {ids.show(value)} is not 16-bit PCM")
    return encoding


def _check_channels(value: Any, encoding: str) -> None:
    """Refuse audio with several channels: read as one channel, it is noise at half the speed."""
    said = _CHANNELS_OF_TYPE.search(encoding)
    channels = decimal(value) or (int(said[1]) if said else 1)
    if channels > 1:
        raise Junk(
            DeadLetterKind.CHANNELS, f"audio of {ids.show(channels)} channels; only one can be transcribed"
        )


def _sample_rate(value: Any, encoding: str) -> int:
    if value is None and (said := _RATE_OF_TYPE.search(encoding)):
        value = said[1]
    if value is None:
        return NO_RATE
    rate = whole(value)
    if rate is None:
        raise Junk(DeadLetterKind.SAMPLE_RATE, f"sample_rate {ids.show(value)} is not a whole number")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise Junk(
            DeadLetterKind.SAMPLE_RATE,
            f"sample_rate {rate} is not within {MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE} Hz",
        )
    return rate


def _base64(document: dict[str, Any]) -> bytes:
    name = next((name for name in _AUDIO_NAMES if document.get(name) is not None), "audio")
    value = document.get(name)
    if not isinstance(value, str):
        raise Junk(DeadLetterKind.AUDIO, f"{name} {ids.show(value)} is not a base64 string")
    try:
        # Without padding, in the URL-safe alphabet, or broken into lines, it is the same audio.
        text = value.strip().encode("ascii").translate(_FROM_URL_SAFE, b"\r\n").rstrip(b"=")
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:  # bad characters, or so many that no bytes make them
        raise Junk(DeadLetterKind.AUDIO, f"{name} is not base64: {error}") from None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= MAX_ID_LENGTH else None


def _unwrap(pcm: bytes) -> bytes:
    """Return the audio inside a telephony event that was published as if it were PCM, else `pcm` itself."""
    if len(pcm) > MAX_ODD_BYTES:
        return pcm
    try:
        event = _event.decode(pcm)
    except _UNREADABLE:
        return pcm
    if event.event not in _TELEPHONY_EVENTS:
        return pcm
    if event.event != "media":
        raise NotAudio(f"a telephony event {ids.show(event.event)}, not audio")
    return _base64(event.media if isinstance(event.media, dict) else {})
