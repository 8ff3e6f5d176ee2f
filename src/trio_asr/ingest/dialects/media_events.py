"""The family of Twilio's media streams: JSON events around audio in base64.

Twilio's page "Media Streams - WebSocket Messages" describes the first of them; more than ten platforms speak
nearly the same. They differ in the case of keys, in what is text and what a number, in the names of ids, in
the clock, and in how they end. A `Platform` says that; the rest is here.

Nearly all messages are media as the pages have it, and decode in one step. Everything else takes the odd way,
where names of keys have neither case nor underscores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from trio_asr.ingest.dialect import UNSUPPORTED, Audio, Begin, Effect, Finish, Odd, Refusal
from trio_asr.ingest.dialects import reading
from trio_asr.ingest.dialects.reading import MOST_EARLY_BYTES, Whole, folded
from trio_asr.wire import numbers, salvage
from trio_asr.wire.audio_format import MOST_CHANNELS, Format
from trio_asr.wire.frames import MAX_POSITION, MAX_ROLE_LENGTH
from trio_asr.wire.payload import from_base64

_TRACKS = {"both": ("inbound", "outbound")}
# The keys that mean something here, folded, beside a platform's own. What a start says more is of the call.
_OUTER = frozenset({
    "event", "start", "media", "stop", "closed", "sequencenumber", "protocol", "version",
    "streamsid", "streamid",
})  # fmt: skip
_FORMAT = frozenset({"mediaformat", "encoding", "samplerate", "channels", "bitrate"})
_START = _OUTER | _FORMAT | {"tracks", "track"}
_MEDIA = frozenset({"track", "timestamp", "chunk", "payload"})
_END = frozenset({"reason"})
QUIET = frozenset({"connected", "dtmf", "mark", "clear"})

_Number = Annotated[int, msgspec.Meta(ge=-MAX_POSITION, le=MAX_POSITION)]


class _Media(msgspec.Struct, gc=False):
    payload: bytes
    track: str | None = None
    timestamp: _Number | None = None
    chunk: _Number | None = None


class _Message(msgspec.Struct, gc=False, rename={"stream": "streamSid"}):
    event: Literal["media"]
    media: _Media
    stream: str | None = None


# Not strict: numbers are texts at some platforms, and numbers at others.
_decode = msgspec.json.Decoder(_Message, strict=False).decode


class Platform(NamedTuple):
    """What tells one platform from the others. Names of fields are folded: "callsid" is "call_sid", too.

    `call` and `account` are where the ids of these are found, best first, and `custom` what the customer says
    of the call. `default` is the format where a start says none, and `tracks` are those that come then.
    `byte_order` is that of linear16; None: nobody knows, and it is refused. `numbered`: messages may come out
    of order, and `chunk` counts those of a track. `binary_audio`: binary messages that are no event are
    audio. Events of `quiet` change nothing, those of `told` say that something is wrong, and those of `ends`
    end the call.
    """

    call: tuple[str, ...]
    account: tuple[str, ...]
    default: Format
    custom: tuple[str, ...] = ("customparameters",)
    tracks: tuple[str, ...] = ()
    byte_order: Literal["little", "big"] | None = "little"
    numbered: bool = False
    binary_audio: bool = False
    quiet: frozenset[str] = QUIET
    told: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset({"stop"})


class MediaEvents:
    """The reading of one socket of the family."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._names = _START | {*platform.call, *platform.account, *platform.custom}
        self._begun: Begin | None = None
        self._stream = ""
        self._replaced: set[str] = set()  # streams that another one on this socket has taken the place of
        # By the word for a track. Empty before the start and after the end: all then goes the odd way.
        self._legs: dict[str | None, int] = {}
        self._wholes: list[Whole] = []  # one for each leg whose samples have several bytes
        self._early: list[dict[str, Any]] = []
        self._early_bytes = 0
        self._over = False

    def hear(self, message: bytes, *, text: bool) -> Sequence[Effect]:
        """Return what a message means, in order. A text is in UTF-8, not yet checked.

        Raises:
            Refusal: It cannot be used.
        """
        try:
            known = _decode(message)
            media = known.media
            leg = self._legs[media.track]
        except (KeyError, *salvage.UNREADABLE):
            return self._hear_odd(message, text)
        if known.stream in self._replaced:
            return (Odd("late"),)
        if self._wholes or not media.payload:
            return self._samples(media.payload, leg, media.timestamp, media.chunk)
        return (Audio(media.payload, leg, media.timestamp, media.chunk if self.platform.numbered else None),)

    def stored(self, number: int) -> str | None:  # noqa: ARG002
        """Return None: nobody waits for it."""
        return None

    def leave(self, reason: str) -> str | None:  # noqa: ARG002
        """Return None: the platforms take a close as it is."""
        return None

    def _hear_odd(self, message: bytes, text: bool) -> Sequence[Effect]:
        document = reading.read_object(message)
        fields = folded(document, _OUTER)
        event = fields.get("event")
        if self._over or (event != "start" and _stream_of(fields) in self._replaced):
            return (Odd("late"),)
        if event is None and not text and self.platform.binary_audio:
            document, event = {"media": {"payload": message}}, "media"
        if document is None:
            return (Odd("json"),)
        event = event.lower() if isinstance(event, str) else None
        if event in self.platform.ends:
            return self._end(event, fields.get(event))
        match event:
            case "media":
                return self._media(document, len(message))
            case "start":
                return self._start(document)
        return self._other(event)

    def _other(self, event: str | None) -> Sequence[Effect]:
        if event in self.platform.quiet:
            return ()
        return (Odd("told" if event in self.platform.told else "event"),)

    def _start(self, document: dict[str, Any]) -> Sequence[Effect]:
        fields = folded(document, self._names)
        body = fields.get("start")
        body = body if isinstance(body, dict) else document
        fields |= folded(body, self._names)
        fields |= folded(fields.get("mediaformat"), _FORMAT)
        begin = self._begin(fields)
        stream = _stream_of(fields)
        declared = not reading.is_open(fields.get("encoding"))
        if self._begun and reading.is_again(self._begun, begin, declared=declared):
            if stream == self._stream:
                return (Odd("start_again"),)
            if (begin.format, begin.legs) != (self._begun.format, self._begun.legs):
                raise Refusal("format", "another stream of the call has another format, or other tracks")
        meta = self._meta(fields, body)
        if meta is not None:
            begin = begin._replace(meta=meta)
        if stream:
            self._replaced = (self._replaced | {self._stream}) - {stream, ""}
        self._begun, self._stream = begin, stream
        self._legs = {name: at for at, leg in enumerate(begin.legs) for name in (leg, f"{leg}_track")}
        if len(begin.legs) == 1:
            self._legs[None] = 0
        width = begin.format.width
        swapped = self.platform.byte_order == "big"
        self._wholes = [Whole(width, swapped) for _ in range(len(begin.legs) or 1)] if width > 1 else []
        effects: list[Effect] = [begin]
        if not declared:
            effects.append(Odd("format"))
        if meta is None:
            effects.append(Odd("meta"))
        early, self._early = self._early, []
        for held in early:
            effects += self._media(held, 0)
        return effects

    def _begin(self, fields: dict[str, Any]) -> Begin:
        fmt = reading.format_of(
            fields.get("encoding"), fields.get("samplerate"), fields.get("channels"), self.platform.default
        )
        if fmt.encoding == "linear16" and self.platform.byte_order is None:
            raise Refusal(
                "encoding", "linear16 of an unknown byte order: set byte_order of the route", UNSUPPORTED
            )
        legs = _legs(fields.get("tracks", list(self.platform.tracks)))
        if fmt.channels == 2 and len(legs) == 2:
            raise Refusal("tracks", "two tracks of two channels each", UNSUPPORTED)
        call = reading.call_id(fields.get(name) for name in self.platform.call)
        account = reading.account_of(fields.get(name) for name in self.platform.account)
        return Begin(call, fmt, () if fmt.channels == 2 else legs, fmt.channels == 2, account)

    def _meta(self, fields: dict[str, Any], body: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a start says of the call: the customer's own parameters, above them the platform's."""
        custom: dict[str, Any] = {}
        for name in self.platform.custom:
            custom |= reading.parameters_of(fields.get(name))
        said = {key: value for key, value in body.items() if reading.fold(key) not in self._names}
        return reading.meta_of(custom | said)

    def _media(self, document: dict[str, Any], size: int) -> Sequence[Effect]:
        if self._begun is None:
            self._early_bytes += size
            if self._early_bytes > MOST_EARLY_BYTES:
                raise Refusal("early", f"more than {MOST_EARLY_BYTES} bytes of media before the start")
            self._early.append(document)
            return (Odd("early"),)
        media = folded(document, _OUTER).get("media")
        fields = folded(media if isinstance(media, dict) else document, _MEDIA)
        leg = self._leg(fields.get("track"))
        if leg is None:
            return (Odd("track"),)
        audio = _audio(fields.get("payload", b""))
        if audio is None:
            if self._wholes:
                self._wholes[leg].drop()
            return (Odd("payload"),)
        at_ms, number = numbers.rounded(fields.get("timestamp")), numbers.rounded(fields.get("chunk"))
        return self._samples(audio, leg, at_ms, number)

    def _leg(self, track: object) -> int | None:
        """Return the leg that a track is. Where none was announced, the first that has audio is the one."""
        name = track.strip().lower() if isinstance(track, str) else None
        if not self._legs:
            self._legs = {name: 0, None: 0}
        return self._legs.get(name)

    def _samples(self, audio: bytes, leg: int, at_ms: int | None, number: int | None) -> Sequence[Effect]:
        if not audio:
            return (Odd("empty"),)
        odd: tuple[Effect, ...] = ()
        if self._wholes:
            whole = self._wholes[leg]
            if len(audio) % whole.width:
                odd = (Odd("incomplete"),)
            audio = whole.take(audio)
        return (*odd, Audio(audio, leg, at_ms, number if self.platform.numbered else None)) if audio else odd

    def _end(self, event: str, body: object) -> Sequence[Effect]:
        if self._begun is None:
            return (Odd("early"),)
        self._over, self._legs = True, {}
        return (Finish(reading.word_of(folded(body, _END).get("reason"), event)),)


def _stream_of(fields: dict[str, Any]) -> str:
    return reading.text_of((fields.get("streamsid"), fields.get("streamid")))


def _legs(tracks: object) -> tuple[str, ...]:
    """Return the announced tracks in their order, each without the ending "_track" of some names."""
    legs: list[str] = []
    for track in tracks if isinstance(tracks, list) else [tracks]:
        if isinstance(track, str) and track.strip():
            name = track.strip().lower().removesuffix("_tracks").removesuffix("_track")
            legs += _TRACKS.get(name, (name,))
    legs = list(dict.fromkeys(legs))
    if len(legs) > MOST_CHANNELS:
        raise Refusal("tracks", f"{len(legs)} tracks, not 1..{MOST_CHANNELS}", UNSUPPORTED)
    if not all(leg.isprintable() and len(leg) <= MAX_ROLE_LENGTH for leg in legs):
        raise Refusal("tracks", "the name of a track cannot be used", UNSUPPORTED)
    return tuple(legs)


def _audio(payload: object) -> bytes | None:
    if isinstance(payload, bytes):
        return payload
    try:
        return from_base64(payload) if isinstance(payload, str) else None
    except ValueError:
        return None
