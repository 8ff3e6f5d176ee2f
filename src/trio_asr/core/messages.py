"""Deepgram's live messages, both ways.

Shapes per Deepgram's reference "Live Streaming Audio" and the guides "Interim Results", "Endpointing" and
"Utterance End": every server message is a JSON object with a string `type`; one decodes by that first, for
`channel` is an object in Results and a list elsewhere. Unknown types and fields are ignored.
"""

from __future__ import annotations

import math

import msgspec

KEEP_ALIVE = '{"type":"KeepAlive"}'
FINALIZE = '{"type":"Finalize"}'
CLOSE_STREAM = '{"type":"CloseStream"}'


class Word(msgspec.Struct, gc=False):
    """One recognised word; times in seconds on the connection's clock."""

    word: str = ""
    start: float = 0.0
    end: float = 0.0
    confidence: float = 0.0
    punctuated_word: str | None = None
    speaker: int | None = None
    language: str | None = None

    @property
    def text(self) -> str:
        """The word as it reads in the transcript."""
        return self.punctuated_word or self.word


class Alternative(msgspec.Struct, gc=False):
    """What was recognised in a range."""

    transcript: str = ""
    confidence: float = 0.0
    words: list[Word] = []


class Channel(msgspec.Struct, gc=False):
    """The one channel of a mono stream."""

    alternatives: list[Alternative] = []


class Results(msgspec.Struct, tag="Results", gc=False):
    """A range of audio and its words: an interim, or with `is_final` for good."""

    start: float = 0.0
    duration: float = 0.0
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False
    channel: Channel = msgspec.field(default_factory=Channel)

    @property
    def best(self) -> Alternative:
        """The first alternative (there is one in practice)."""
        return self.channel.alternatives[0] if self.channel.alternatives else Alternative()


class UtteranceEnd(msgspec.Struct, tag="UtteranceEnd", gc=False):
    """A gap between words; `last_word_end` -1 or old means that the utterance was closed already."""

    last_word_end: float = -1.0


class SpeechStarted(msgspec.Struct, tag="SpeechStarted", gc=False):
    """Speech was detected."""

    timestamp: float = 0.0


class Metadata(msgspec.Struct, tag="Metadata", gc=False):
    """The last message of a stream: the audio received, in seconds."""

    duration: float = 0.0
    sha256: str = ""


class Error(msgspec.Struct, tag="Error", gc=False):
    """A complaint that does not end the stream."""

    variant: str = ""
    description: str = ""


class Unknown(msgspec.Struct, gc=False):
    """Any message that is not one of the above; `problem` says why if it should have been."""

    type: str = ""
    problem: str = ""


Message = Results | UtteranceEnd | SpeechStarted | Metadata | Error | Unknown

_known = msgspec.json.Decoder(Results | UtteranceEnd | SpeechStarted | Metadata | Error)
_type = msgspec.json.Decoder(Unknown)
# What msgspec raises at text from anywhere: bad Unicode and deep nesting have errors of their own.
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
_KNOWN_TYPES = frozenset({"Results", "UtteranceEnd", "SpeechStarted", "Metadata", "Error"})


def decode(data: str | bytes) -> Message:
    """Decode one server message; never raises, for nothing that a server says may end a call."""
    try:
        message: Message = _known.decode(data)
    except _UNREADABLE as error:
        return _unknown(data, str(error))
    if isinstance(message, Results) and not math.isfinite(message.start + message.duration):
        return Unknown("Results", "the range is not a number")
    return message


def _unknown(data: str | bytes, problem: str) -> Unknown:
    try:
        kind = _type.decode(data).type
    except _UNREADABLE:
        return Unknown("", problem)
    return Unknown(kind, problem if kind in _KNOWN_TYPES else "")
