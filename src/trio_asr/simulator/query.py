"""The query string of `/v1/listen`, checked as Deepgram checks it. Pure.

An unknown name is ignored; an unknown value is refused with status 400 and a `dg-error` header. Names,
defaults and values are those of Deepgram's API reference "Live Audio"; which ones exclude each other is on
the feature pages ("Utterance End", "Dictation", "Keyterm Prompting", "Diarization", "Encoding", ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl

from trio_asr.simulator.audio import SAMPLE_BYTES

#: The raw query: each name with its values in order.
Pairs = Mapping[str, tuple[str, ...]]

_NOVA_2: Final = (
    *("general", "meeting", "phonecall", "finance", "conversationalai", "voicemail", "video"),
    *("medical", "drivethru", "automotive", "atc"),
)
_BASE: Final = _NOVA_2[:7]
_SPECIAL: Final = {
    "nova-3": ("general", "medical"),
    "nova-2": _NOVA_2,
    "nova": ("general", "phonecall", "medical"),
    "enhanced": ("general", "meeting", "phonecall", "finance"),
    "base": _BASE,
}
MODELS: Final = frozenset(
    [*_SPECIAL, *_BASE, *(f"{model}-{use}" for model, uses in _SPECIAL.items() for use in uses)]
)
ENCODINGS: Final = frozenset(
    ["linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb", "opus", "ogg-opus", "speex", "g729"]
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"multi|[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
_BOOLEANS: Final = (
    *(
        "interim_results",
        "vad_events",
        "smart_format",
        "no_delay",
        "punctuate",
        "numerals",
        "profanity_filter",
    ),
    *("dictation", "diarize", "detect_entities", "multichannel", "filler_words", "mip_opt_out"),
)
_AT_MOST: Final = {"keyterm": 100, "keywords": 100, "search": 50}
_MAX_TAG, _MAX_EXTRA, _MAX_HEADER = 128, 2048, 300
_MAX_CHANNELS: Final = 20
_DEFAULT_ENDPOINTING_MS: Final = 10
_MIN_UTTERANCE_END_MS: Final = 1000


class Refused(Exception):
    """A refusal of the handshake: the status and the text for `dg-error`.

    The text is printable ASCII of bounded length.
    """

    def __init__(self, status: int, message: str, code: str = "Bad Request") -> None:
        self.status = status
        self.message = re.sub(r"[^ -~]", "?", message)[:_MAX_HEADER]
        self.code = code
        super().__init__(status, self.message)


@dataclass(frozen=True, slots=True)
class ListenQuery:
    """The options of a stream that the simulator uses; times are in milliseconds, None is off."""

    model: str
    language: str
    encoding: str
    sample_rate: int
    channels: int
    multichannel: bool
    interim_results: bool
    endpointing_ms: int | None
    utterance_end_ms: int | None
    vad_events: bool
    punctuate: bool
    diarize: bool
    keyterms: tuple[str, ...]
    extra: Mapping[str, str]

    @property
    def width(self) -> int:
        """The bytes of one sample of one channel."""
        return SAMPLE_BYTES[self.encoding]

    @property
    def bytes_per_s(self) -> int:
        """The bytes of one second of audio, of all channels."""
        return self.sample_rate * self.channels * self.width

    @property
    def transcripts(self) -> int:
        """How many transcripts there will be.

        One for each channel, if asked for; otherwise one of all channels mixed ("Multichannel", "Channels").
        """
        return self.channels if self.multichannel else 1

    @property
    def mixed(self) -> bool:
        """Whether several channels become one transcript."""
        return self.channels > self.transcripts

    def for_ear(self) -> ListenQuery:
        """Return what one ear is asked: for one channel, in linear16 if it is a mix."""
        return replace(self, channels=1, encoding="linear16" if self.mixed else self.encoding)


def parse(query: str) -> Pairs:
    """Split and unquote a query string; a repeated name keeps all its values."""
    pairs: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        pairs[name] = (*pairs.get(name, ()), value)
    return pairs


def check(pairs: Pairs) -> ListenQuery:
    """Return the options that the query asks for.

    Raises:
        Refused: Deepgram would refuse the query, or the simulator cannot serve it.
    """
    flags = {name: _boolean(pairs, name) for name in _BOOLEANS}
    model = _model(_last(pairs, "model", "base-general"))
    language = _last(pairs, "language", "en")
    if not _LANGUAGE.fullmatch(language) or (
        language == "multi" and not model.startswith(("nova-2", "nova-3"))
    ):
        raise Refused(400, "No such model/version combination found.")
    encoding, rate = _encoding(pairs)
    _lists(pairs, model)
    _combinations(pairs, flags)
    return ListenQuery(
        model=model,
        language=language,
        encoding=encoding,
        sample_rate=rate,
        channels=_whole("channels", _last(pairs, "channels", "1"), lambda n: 1 <= n <= _MAX_CHANNELS),
        multichannel=flags["multichannel"],
        interim_results=flags["interim_results"],
        endpointing_ms=_endpointing(_last(pairs, "endpointing", "true")),
        utterance_end_ms=_utterance_end(pairs, interims=flags["interim_results"]),
        vad_events=flags["vad_events"],
        punctuate=flags["punctuate"] or flags["smart_format"] or flags["detect_entities"],
        diarize=flags["diarize"] or "diarize_model" in pairs,
        keyterms=pairs.get("keyterm", ()),
        extra=_extra(pairs.get("extra", ())),
    )


def _invalid(name: str, value: str) -> Refused:
    return Refused(400, f"Invalid '{name}' value of '{value}'.", "INVALID_QUERY_PARAMETER")


def _last(pairs: Pairs, name: str, default: str) -> str:
    values = pairs.get(name)
    return values[-1] if values else default


def _boolean(pairs: Pairs, name: str) -> bool:
    value = _last(pairs, name, "false")
    if value not in {"true", "false"}:  # `True` is refused, as the official Python client's own tests note
        raise _invalid(name, value)
    return value == "true"


def _whole(name: str, value: str, allowed: Callable[[int], bool]) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value, re.ASCII) or not allowed(int(value)):
        raise _invalid(name, value)
    return int(value)


def _model(model: str) -> str:
    if model.startswith("whisper"):
        raise Refused(405, f"Model '{model}' cannot stream.", "Method Not Allowed")
    if model not in MODELS and not _UUID.fullmatch(model):
        raise Refused(400, "No such model/version combination found.")
    return model


def _encoding(pairs: Pairs) -> tuple[str, int]:
    encoding, rate = _last(pairs, "encoding", ""), _last(pairs, "sample_rate", "")
    if encoding and encoding not in ENCODINGS:
        raise _invalid("encoding", encoding)
    if encoding in {"", "flac", "ogg-opus"} and not rate:
        raise Refused(400, "The simulator reads raw audio only: give 'encoding' and 'sample_rate'.")
    if not encoding:
        raise Refused(400, "'sample_rate' needs 'encoding'.", "INVALID_QUERY_PARAMETER")
    if not rate:
        raise Refused(
            400, f"'sample_rate' is required with encoding '{encoding}'.", "INVALID_QUERY_PARAMETER"
        )
    hertz = _whole("sample_rate", rate, lambda n: 1000 <= n <= 192_000)
    if (encoding, hertz == 8000) == ("amr-nb", False) or (encoding, hertz == 16_000) == ("amr-wb", False):
        raise _invalid("sample_rate", rate)
    if encoding not in SAMPLE_BYTES:
        known = ", ".join(SAMPLE_BYTES)
        raise Refused(400, f"The simulator does not offer encoding '{encoding}', only {known}.")
    return encoding, hertz


def _lists(pairs: Pairs, model: str) -> None:
    if pairs.get("keywords") and model.startswith("nova-3"):
        raise Refused(400, "Keywords are not supported for Nova-3. Please use `keyterm` instead.")
    for name, limit in _AT_MOST.items():
        if len(pairs.get(name, ())) > limit:
            raise Refused(400, f"More than {limit} values of '{name}'.", "INVALID_QUERY_PARAMETER")
    for tag in pairs.get("tag", ()):
        if len(tag) > _MAX_TAG:
            raise _invalid("tag", tag)


def _combinations(pairs: Pairs, flags: Mapping[str, bool]) -> None:
    if flags["dictation"] and not (flags["punctuate"] or flags["smart_format"]):
        raise Refused(400, "'dictation' requires 'punctuate=true'.", "INVALID_QUERY_PARAMETER")
    if "diarize_model" in pairs:
        if "diarize" in pairs:
            raise Refused(400, "'diarize' and 'diarize_model' exclude each other.", "INVALID_QUERY_PARAMETER")
        if (model := _last(pairs, "diarize_model", "")) not in {"latest", "v1"}:
            raise _invalid("diarize_model", model)
    if "callback" in pairs:
        raise Refused(400, "The simulator does not offer 'callback'.")


def _endpointing(value: str) -> int | None:
    if value == "false":
        return None
    if value == "true":
        return _DEFAULT_ENDPOINTING_MS
    return _whole("endpointing", value, lambda _: True)


def _utterance_end(pairs: Pairs, *, interims: bool) -> int | None:
    value = _last(pairs, "utterance_end_ms", "")
    if "utterance_end_ms" not in pairs:
        return None
    milliseconds = _whole("utterance_end_ms", value, lambda n: n >= _MIN_UTTERANCE_END_MS)
    if not interims:
        raise Refused(400, "'utterance_end_ms' requires 'interim_results=true'.", "INVALID_QUERY_PARAMETER")
    return milliseconds


def _extra(values: tuple[str, ...]) -> Mapping[str, str]:
    """Return the pairs of `key:value` items; the last item of a key wins."""
    extra: dict[str, str] = {}
    for value in values:
        key, colon, rest = value.partition(":")
        if not colon or len(value) > _MAX_EXTRA:
            raise _invalid("extra", value)
        extra[key] = rest
    return extra
