"""What the dialects share: objects, names, formats and texts as platforms write them, odd ones included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from trio_asr.ingest.dialect import UNSUPPORTED, Begin, Refusal
from trio_asr.wire import encodings, ids, numbers, salvage
from trio_asr.wire.audio_format import MOST_CHANNELS, Format, audio_format
from trio_asr.wire.encodings import Said
from trio_asr.wire.frames import MAX_ID_LENGTH, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Junk, check_id

# The words of `Odd` and of `Refusal`: labels of metrics.
ODDITIES = frozenset(
    {
        "early",  # media before the start, held; or another message that needs one
        "empty",  # media without audio
        "event",  # an event that no page of the platform names
        "format",  # a start that leaves the format open: the documented one was taken
        "incomplete",  # half a sample at the end of a message
        "json",  # a text that is no JSON object
        "late",  # anything after the end
        "meta",  # what is said of the call cannot be passed on
        "pace",  # the bytes are not those of the declared format, by the platform's own clock
        "payload",  # audio that is not base64
        "position",  # the platform's count of samples is not ours
        "rate",  # audio of another rate than the call's
        "sequence",  # a message was left out or came twice
        "start_again",  # the same start once more
        "told",  # the platform says that something is wrong
        "track",  # media of a leg that was not announced
        "unbidden",  # audio while it is paused
    }
)
REFUSALS = frozenset({
    "call_id", "channels", "early", "encoding", "format", "media", "sample_rate", "too_big", "tracks",
})  # fmt: skip
# Media that comes before the start is held: a second of most formats.
MOST_EARLY_BYTES = 64 * 1024
MOST_PAIRS = 8 * 1024  # characters; Plivo's page allows 512 bytes
_BOM = b"\xef\xbb\xbf"


def read_object(message: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a message is, however odd; None if it is none."""
    try:
        return salvage.document(message.removeprefix(_BOM))
    except salvage.Unusable:
        return None


def fold(key: str) -> str:
    """Return a key without case and joints: "callSid", "call_sid" and "Call-Sid" are one."""
    return key.lower().replace("_", "").replace("-", "")


def folded(value: object, names: frozenset[str]) -> dict[str, Any]:
    """Return those fields of an object whose folded key is in `names`, by that.

    Of several the first that says anything counts. What is no object has no fields.
    """
    fields: dict[str, Any] = {}
    for key, inner in value.items() if isinstance(value, dict) else ():
        if inner not in (None, "") and (name := fold(key)) in names:
            fields.setdefault(name, inner)
    return fields


def text_of(values: Iterable[object]) -> str:
    """Return the first value that is a text or a number, as a text; "" if none is."""
    for value in values:
        if value != "" and isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    return ""


def call_id(values: Iterable[object]) -> str:
    """Return the first of the values that is an id.

    Raises:
        Refusal: None is, or it cannot be used on the stream.
    """
    found = text_of(values)
    try:
        check_id(found)
    except Junk:
        what = f"of {len(found)} characters cannot be used" if found else "is missing"
        raise Refusal("call_id", f"the call's id {what}") from None
    return found


def account_of(values: Iterable[object]) -> str:
    """Return the first of the values that names somebody; "" if it is not a short printable text."""
    return word_of(text_of(values), "")


def is_again(begun: Begin | None, begin: Begin, *, declared: bool = True) -> bool:
    """Return whether the call that begins here is the one that has begun.

    Raises:
        Refusal: It is, and another format is declared.
    """
    if begun is None or begun.call != begin.call:
        return False
    if declared and begun.format != begin.format:
        raise Refusal("format", "the format changes within a call")
    return True


def word_of(value: object, default: str) -> str:
    """Return what the platform says, if it is a short printable text; else `default`."""
    fit = isinstance(value, str) and 1 <= len(value) <= MAX_ID_LENGTH and value.isprintable()
    return str(value) if fit else default


def format_of(encoding: object, rate: object, channels: object, default: Format) -> Format:
    """Return the format that these three words of a platform declare.

    Of what is left open `default` is taken, unless the encoding's name says it.

    Raises:
        Refusal: It is nothing that can be passed on.
    """
    said = _said(encoding, default)
    hz = numbers.rounded(rate) if rate not in (None, "") else said.rate or said.only_rate or default.rate
    if hz is None or not MIN_SAMPLE_RATE <= hz <= MAX_SAMPLE_RATE or said.only_rate not in (None, hz):
        shown = ids.show(rate) if rate not in (None, "") else hz
        raise Refusal("sample_rate", f"sample rate {shown} cannot be taken", UNSUPPORTED)
    count = numbers.rounded(channels) if channels not in (None, "") else said.channels or default.channels
    if count is None or not 1 <= count <= MOST_CHANNELS:
        shown = ids.show(channels) if channels not in (None, "") else count
        raise Refusal("channels", f"audio of {shown} channels, not of 1..{MOST_CHANNELS}", UNSUPPORTED)
    return audio_format(hz, said.encoding, count)


def is_open(encoding: object) -> bool:
    """Return whether an encoding names no codec. "base64", which Exotel writes, is the wrapping."""
    return encoding is None or (isinstance(encoding, str) and encoding.strip().lower() in ("", "base64"))


def _said(encoding: object, default: Format) -> Said:
    if is_open(encoding):
        return Said(default.encoding)
    said = encodings.read(encoding) if isinstance(encoding, str) else None
    if said is None:
        reason = f"encoding {ids.show(encoding)} is not linear16, mulaw or alaw"
        raise Refusal("encoding", reason, UNSUPPORTED)
    return said


def meta_of(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is said of a call as plain JSON, without NaN and the like; None if it cannot be that."""
    try:
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(said))
    except salvage.UNREADABLE:
        return None
    return found


def parameters_of(said: object) -> dict[str, Any]:
    """Return a customer's own parameters, which platforms pass on as an object, or as a text.

    A text is JSON, or pairs such as "queue=gold;vip=1". Of what is neither there are none, nor of pairs that
    are longer than any platform allows.
    """
    if isinstance(said, str):
        document = read_object(said.encode(errors="replace"))
        if document is None:
            if len(said) > MOST_PAIRS:
                return {}
            pairs = (pair.partition("=") for pair in re.split("[;,]", said))
            return {name.strip(): value.strip() for name, sign, value in pairs if sign and name.strip()}
        return document
    return said if isinstance(said, dict) else {}


class Whole:
    """Makes whole samples of what comes in messages: the bytes of an incomplete one go before the next.

    With `swapped` the two bytes of 16 bits come with the high one first. Whether any bytes of a sample are
    left is true of an object.
    """

    def __init__(self, width: int, swapped: bool = False) -> None:
        self.width, self._swapped = width, swapped
        self._rest = b""

    def take(self, audio: bytes) -> bytes:
        """Return the whole samples that there are by now."""
        audio = self._rest + audio
        end = len(audio) - len(audio) % self.width
        self._rest = audio[end:]
        return _swapped(audio[:end]) if self._swapped else audio[:end]

    def drop(self) -> None:
        """Forget the incomplete sample: what follows begins a new one."""
        self._rest = b""

    def __bool__(self) -> bool:
        return bool(self._rest)


def _swapped(audio: bytes) -> bytes:
    swapped = bytearray(audio)
    swapped[0::2], swapped[1::2] = audio[1::2], audio[0::2]
    return bytes(swapped)
