"""What the simulator sends: the JSON messages of Deepgram's live API, with numbers printed as there.

Shapes: "Live Audio" in Deepgram's API reference (AsyncAPI specification), and the pages "Interim Results",
"Endpointing", "Utterance End", "Speech Started", "Finalize" and "Configure".
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, Final

import msgspec

#: `[this channel, number of channels]`; `[0, 1]` in a mono stream.
Place = tuple[int, int]

_FLOAT32: Final = struct.Struct("f")


def float32(value: float) -> float:
    """Round to a 32-bit float."""
    return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])


@lru_cache(4096)  # an interim's numbers come again in the next one, and in the final
def looks_float32(value: float) -> float:
    """Return the double whose JSON is the shortest text of `value` as a 32-bit float.

    Deepgram prints such numbers: `4.0699997`.
    """
    rounded = float32(value)
    for digits in (7, 8):
        short = float(f"{rounded:.{digits}g}")
        if float32(short) == rounded:
            return short
    return float(f"{rounded:.9g}")


class WordOut(msgspec.Struct, omit_defaults=True):
    """One word; times in seconds of the audio received on the connection."""

    word: str
    start: float
    end: float
    confidence: float
    punctuated_word: str | None = None
    speaker: int | None = None


class Alternative(msgspec.Struct):
    transcript: str
    confidence: float
    words: list[WordOut]


class Channel(msgspec.Struct):
    alternatives: list[Alternative]


class ModelInfo(msgspec.Struct):
    name: str
    version: str
    arch: str


class ResultMetadata(msgspec.Struct, omit_defaults=True):
    request_id: str
    model_info: ModelInfo
    model_uuid: str
    extra: dict[str, str] | None = None


class Results(msgspec.Struct, tag="Results"):
    """An interim or final (`is_final`) result.

    Its window is `start` to `start + duration`, in seconds.
    """

    channel_index: Place
    duration: float
    start: float
    is_final: bool
    speech_final: bool
    channel: Channel
    metadata: ResultMetadata
    from_finalize: bool


class SpeechStarted(msgspec.Struct, tag="SpeechStarted"):
    channel: Place
    timestamp: float


class UtteranceEnd(msgspec.Struct, tag="UtteranceEnd"):
    channel: Place
    last_word_end: float


class Metadata(msgspec.Struct, tag="Metadata", omit_defaults=True):
    """The last message of a stream. `sha256` is `incomplete` unless the client has ended the stream."""

    transaction_key: str
    request_id: str
    sha256: str
    created: str
    duration: float
    channels: int
    models: list[str] | None = None
    model_info: dict[str, ModelInfo] | None = None


class Error(msgspec.Struct, tag="Error", omit_defaults=True):
    """An error that is not fatal: the stream continues."""

    variant: str
    description: str
    message: str | None = None
    code: str | None = None


class ConfigureSuccess(msgspec.Struct, tag="ConfigureSuccess", omit_defaults=True):
    request_id: str
    keyterms: list[str] | None = None


class Raw(msgspec.Struct):
    """A message that Deepgram does not document; the faults send such."""

    body: dict[str, Any] | bytes


Message = Results | SpeechStarted | UtteranceEnd | Metadata | Error | ConfigureSuccess | Raw

_ENCODER: Final = msgspec.json.Encoder()


def encode(message: Message) -> str | bytes:
    """Return the frame's payload: text, or bytes for a `Raw` that holds bytes."""
    if isinstance(message, Raw):
        return message.body if isinstance(message.body, bytes) else _ENCODER.encode(message.body).decode()
    return _ENCODER.encode(message).decode()
