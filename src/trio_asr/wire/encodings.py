"""The names of encodings as telephony platforms, tools and standards write them.

Producers mostly pass on what the platform of a call said. What is not here cannot be transcribed without
being decoded first (G.722, Opus, AMR), or its name leaves open what it is ("g711").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from trio_asr.wire.audio_format import Encoding, audio_format

_NAMES: dict[Encoding, tuple[str, ...]] = {
    # Exotel's start event says "base64" and its pages "raw/slin". "audio/x-l16" is Plivo's, "audio/x-raw"
    # GStreamer's. L16 has its high byte first by RFC 3551, but not where platforms say it on WebSockets.
    "linear16": (
        "linear16", "pcm16", "pcm", "l16", "s16le", "pcm_s16le", "slin", "raw/slin", "raw", "x-raw", "base64",
        "audio/pcm", "audio/l16", "audio/x-l16", "audio/raw", "audio/x-raw", "audio_encoding_linear_16", "",
    ),
    # "PCMU" is RTP's (RFC 3551) and with it Telnyx', Genesys' and SignalWire's; "audio/x-mulaw" is Twilio's,
    # Plivo's and GStreamer's, "ulaw" Asterisk's, "pcm_mulaw" FFmpeg's, "audio/basic" MIME's (RFC 2046).
    "mulaw": (
        "mulaw", "mu-law", "mu_law", "ulaw", "u-law", "u_law", "pcmu", "pcm_mulaw", "pcm_ulaw",
        "g711u", "g711_u", "g711-u", "g711ulaw", "g711_ulaw", "g711-ulaw", "g711mulaw", "g711_mulaw",
        "g711-mulaw", "g.711u", "audio/basic", "audio/pcmu", "audio/x-pcmu", "audio/mulaw", "audio/x-mulaw",
        "audio/ulaw", "audio/x-ulaw", "raw/mulaw", "raw/ulaw", "audio_encoding_mulaw",
    ),
    "alaw": (
        "alaw", "a-law", "a_law", "pcma", "pcm_alaw",
        "g711a", "g711_a", "g711-a", "g711alaw", "g711_alaw", "g711-alaw", "g.711a",
        "audio/pcma", "audio/x-pcma", "audio/alaw", "audio/x-alaw", "audio/x-alaw-basic", "raw/alaw",
        "audio_encoding_alaw",
    ),
}  # fmt: skip
# By name in lower and in upper case, as nearly all producers write it: these decode fast.
ENCODINGS: dict[str, Encoding] = {
    spelling: encoding
    for encoding, names in _NAMES.items()
    for name in names
    for spelling in (name, name.upper())
}
if TYPE_CHECKING:
    Spelling = str
else:
    Spelling = Literal[tuple(ENCODINGS)]
# Names of linear16 that include a rate (Hz): Asterisk's, and those of AudioCodes' Bot API. They are believed
# only beside an equal rate: some write "slin16" and mean 16 bits. ("slin" is 8 kHz there; elsewhere any.)
RATED = {
    "slin8": 8000, "slin12": 12_000, "slin16": 16_000, "slin24": 24_000, "slin32": 32_000, "slin44": 44_100,
    "slin48": 48_000, "slin96": 96_000,
    "raw/lpcm16_8": 8000, "raw/lpcm16": 16_000, "raw/lpcm16_24": 24_000,
}  # fmt: skip
# Further names of linear16, rare enough to take several times as long: ALSA's, Python's and others', and WAVE
# files, of which the header is left out. (Those of 8, 24 or 32 bits, and of floats, are other names.)
RARE = ("s16", "lpcm", "pcm16le", "pcm_s16", "int16", "sln", "wav", "wave")
# The formats of nearly all audio, by rate and spelling: to find one here is faster than `audio_format`.
MONO = {
    rate: {spelling: audio_format(rate, encoding, 1) for spelling, encoding in ENCODINGS.items()}
    for rate in (8000, 16_000, 24_000, 48_000)
}
# Parameters of a media type ("audio/L16;rate=8000"), in commas as GStreamer has them, and of a codec as
# FreeSWITCH and SignalWire write it ("L16@16000h", "PCMU@8000h@2c").
_VALUE = r"\s*=\s*(?:\(\w{1,9}\))?[\"']?"
_RATE = re.compile(rf"[;,]\s*rate{_VALUE}(\d{{1,9}})|@(\d{{1,9}})h\b", re.ASCII)
_CHANNELS = re.compile(rf"[;,]\s*channels{_VALUE}(\d{{1,9}})|@(\d{{1,9}})c\b", re.ASCII)
_FORMAT = re.compile(rf"[;,]\s*format{_VALUE}(\w{{1,20}})", re.ASCII)
_PARAMETERS = re.compile(r"[;@]|,(?=\s*\w{1,20}\s*=)", re.ASCII)
# "PCMU/8000/1" is SDP's, "pcm_16000" ElevenLabs'. Of fewer than four digits, a number is no rate.
_SUFFIX = re.compile(r"[-/_. ](\d{4,6})(?:/(\d{1,2}))?$", re.ASCII)
_JOINTS = str.maketrans("", "", "-_. ")


def _plain(name: str) -> str:
    """Return a name without case and joints, and without what says that it is audio, or no standard."""
    name = name.casefold().replace("\N{GREEK SMALL LETTER MU}", "mu")
    return name.removeprefix("audio/").removeprefix("x-").translate(_JOINTS)


_PLAIN: dict[str, Encoding] = {_plain(name): encoding for name, encoding in ENCODINGS.items()}
_PLAIN |= {_plain(name): "linear16" for name in (*RATED, *RARE)}
_PLAIN_RATED = {_plain(name): rate for name, rate in RATED.items()}


class Said(NamedTuple):
    """What an encoding says. `rate` (Hz) and `channels` are None where it leaves them open.

    `only_rate` is set where the name is one of audio at that rate (Hz) alone.
    """

    encoding: Encoding
    rate: int | None = None
    channels: int | None = None
    only_rate: int | None = None


def read(text: str) -> Said | None:
    """Read an encoding in any case, with parameters or without. Return None for one that is not known."""
    text = text.strip().lower()
    name = _PARAMETERS.split(text, 1)[0].rstrip()
    rate, channels = _number(_RATE, text), _number(_CHANNELS, text)
    if suffix := _SUFFIX.search(name):
        name = name[: suffix.start()]
        rate, channels = rate or int(suffix[1]), channels or (int(suffix[2]) if suffix[2] else None)
    plain = _plain(name) or name  # joints alone are no name
    if plain == "raw" and (said := _FORMAT.search(text)):  # GStreamer's name of the codec
        plain = _plain(said[1])
    encoding = _PLAIN.get(plain)
    return None if encoding is None else Said(encoding, rate, channels, _PLAIN_RATED.get(plain))


def _number(parameter: re.Pattern[str], text: str) -> int | None:
    found = parameter.search(text)
    return int(found[found.lastindex or 0]) if found else None
