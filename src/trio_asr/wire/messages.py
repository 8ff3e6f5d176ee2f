"""The messages of Deepgram's live API, in both directions.

Shapes per Deepgram's reference "Live Streaming Audio" and the guides "Interim Results", "Endpointing" and
"Utterance End": every server message is a JSON object with a string `type`. Decoding goes by that first, for
`channel` is an object in Results and a list elsewhere. Unknown types and fields are ignored. A field that
does not fit is left out (`salvage`), except those without which there is no transcript: those that have no
default, and others in `ESSENTIAL`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from trio_asr.wire.audio_format import MOST_CHANNELS
from trio_asr.wire.salvage import UNREADABLE, Unusable, document, salvage

KEEP_ALIVE = '{"type":"KeepAlive"}'
FINALIZE = '{"type":"Finalize"}'
FINALIZE_CHANNEL = tuple(f'{{"type":"Finalize","channel":{channel}}}' for channel in range(MOST_CHANNELS))
CLOSE_STREAM = '{"type":"CloseStream"}'

MAX_TYPE = 64  # characters of an unknown type's name

# These are passed on to consumers, so they are bounded. One beyond its bound is left out.
_Language = Annotated[str, Meta(max_length=35)]  # the longest tag of BCP 47 in use
_Speaker = Annotated[int, Meta(ge=0, le=9999)]
_Label = Annotated[str, Meta(max_length=100)]
_Said = Annotated[str, Meta(max_length=1000)]
_Index = Annotated[int, Meta(ge=0, le=100_000)]
# Which channel, and of how many. It is kept or left out as one: were an element dropped, the next would
# be taken for the channel.
_Which = Annotated[Sequence[int | float | str | None], Meta(max_length=100)]


class Word(msgspec.Struct, gc=False):
    """One recognised word. Times are seconds on the connection's clock, None where unknown."""

    COUNTED: ClassVar = True  # an entity names its words by their numbers

    word: str = ""
    start: float | None = None
    end: float | None = None
    confidence: float | None = None
    punctuated_word: str | None = None
    speaker: _Speaker | None = None
    language: _Language | None = None

    @property
    def text(self) -> str:
        """The word as it appears in the transcript."""
        return self.punctuated_word or self.word


class Entity(msgspec.Struct, gc=False):
    """A name, a number, a date and the like.

    It spans the words from index `start_word` up to, but not including, `end_word`.
    """

    label: _Label | None = None
    value: _Said | None = None
    raw_value: _Said | None = None
    confidence: float | None = None
    start_word: _Index | None = None
    end_word: _Index | None = None


class Alternative(msgspec.Struct, gc=False):
    """One reading of a range of audio."""

    transcript: str
    confidence: float | None = None
    words: list[Word] = []
    languages: list[_Language] = []
    entities: list[Entity] = []


class Hit(msgspec.Struct, gc=False):
    """One match of a search term. Times are seconds on the connection's clock."""

    confidence: float | None = None
    start: float | None = None
    end: float | None = None
    snippet: _Said | None = None


class Search(msgspec.Struct, gc=False):
    """The matches of one search term."""

    query: _Said = ""
    hits: list[Hit] = []


class Channel(msgspec.Struct, gc=False):
    """What was recognised on one channel."""

    alternatives: list[Alternative]
    search: list[Search] = []


class Results(msgspec.Struct, tag="Results", gc=False):
    """The words of a range of audio: a final if `is_final`, else an interim.

    `start` and `duration` are seconds on the connection's clock. `channel_index` is which channel of how many
    (guide "Multichannel"). Entities are here or in the alternative: Deepgram's specification and its guide
    differ. By that specification `is_final` may be absent, but it is nothing else than true or false.
    """

    ESSENTIAL: ClassVar = frozenset({"is_final"})

    start: float
    duration: float
    channel: Channel
    is_final: bool = False
    speech_final: bool = False
    from_finalize: bool = False
    entities: list[Entity] = []
    channel_index: _Which = []

    @property
    def best(self) -> Alternative:
        """The first alternative; in practice there is one."""
        return self.channel.alternatives[0] if self.channel.alternatives else Alternative("")


class UtteranceEnd(msgspec.Struct, tag="UtteranceEnd", gc=False):
    """A gap between words that ends an utterance.

    `last_word_end` is in seconds, None if there is no time; -1, or one in the past, means that the utterance
    was closed already.
    """

    last_word_end: float | None = None
    channel: _Which = []  # which of how many


class SpeechStarted(msgspec.Struct, tag="SpeechStarted", gc=False):
    """The start of speech, in seconds on the connection's clock."""

    timestamp: float | None = None
    channel: _Which = []  # which of how many


class Metadata(msgspec.Struct, tag="Metadata", gc=False):
    """The last message of a stream. `duration` is the audio that Deepgram received, in seconds."""

    duration: float = 0.0
    sha256: str = ""


class Complaint(msgspec.Struct, gc=False):
    """What a server says that does not end the stream. Older ones have other names for its parts."""

    variant: str = ""
    description: str = ""
    code: str = ""
    message: str = ""
    err_code: str = ""
    err_msg: str = ""
    warn_code: str = ""
    warn_msg: str = ""

    @property
    def what(self) -> str:
        """What it is about, in a word or two."""
        return self.variant or self.code or self.err_code or self.warn_code

    @property
    def says(self) -> str:
        """The complaint itself."""
        return self.description or self.message or self.err_msg or self.warn_msg


class Error(Complaint, tag="Error", gc=False):
    """A complaint about what was sent."""


class Warned(Complaint, tag="Warning", gc=False):
    """A warning, as older servers give them."""


class Unknown(msgspec.Struct, gc=False):
    """Any other message. `problem` says what is wrong if it should have been one of the above."""

    type: str = ""
    problem: str = ""


_Known = Results | UtteranceEnd | SpeechStarted | Metadata | Error | Warned
Message = _Known | Unknown

_known = msgspec.json.Decoder(_Known)
_type = msgspec.json.Decoder(Unknown)
_KINDS: Mapping[str, type[_Known]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Results, UtteranceEnd, SpeechStarted, Metadata, Error, Warned)
}


def middle(start: float | None, end: float | None) -> float | None:
    """Return the middle of a span, in the unit of its ends; the end that is known if one is not."""
    if start is None or end is None:
        return end if start is None else start
    return (start + end) / 2


def decode(data: str | bytes) -> Message:
    """Decode one server message. It never raises, for nothing that a server says may end a call."""
    try:
        message: Message = _known.decode(data)
    except UNREADABLE:
        return _odd(data)
    return _checked(message)


def _checked(message: Message) -> Message:
    if isinstance(message, Results) and not math.isfinite(message.start + message.duration):
        return Unknown("Results", "the range is not a number")
    return message


def _odd(data: str | bytes) -> Message:
    """Decode a message that is not quite as documented."""
    try:
        kind = _type.decode(data).type
    except UNREADABLE:
        pass
    else:
        if kind not in _KINDS:
            return Unknown(kind[:MAX_TYPE], "" if kind else "no type")
    kind = ""
    try:
        found = document(data)
        named = found.get("type")
        kind = named[:MAX_TYPE] if isinstance(named, str) else ""
        if kind not in _KINDS:
            return Unknown(kind.encode(errors="replace").decode(), "" if kind else "no type")
        return _checked(salvage(_KINDS[kind], found))
    except Unusable as problem:
        return Unknown(kind, str(problem))
