"""WAV files as telephony makes them: linear16, mu-law or A-law. Pure.

Python's `wave` knows no G.711, so the header is read here. A RIFF file is a row of chunks: a name of four
bytes, a size, and the content, padded to an even length. `fmt ` says what `data` holds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from trio_asr.wire.audio_format import Encoding

_FORMAT = struct.Struct("<HHIIHH")  # tag, channels, rate, bytes a second, bytes a frame, bits a sample
_EXTENSIBLE, _SUBFORMAT = 0xFFFE, 24  # the tag is at that offset then
_ENCODINGS: dict[tuple[int, int], Encoding] = {(1, 16): "linear16", (6, 8): "alaw", (7, 8): "mulaw"}


class Wav(NamedTuple):
    """A file's audio. `encoding` is None for samples of a kind that is not streamed."""

    encoding: Encoding | None
    channels: int
    rate: int
    audio: bytes


def is_wav(head: bytes) -> bool:
    """Return whether a file that begins with these twelve bytes is a WAV file."""
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE"


def read(data: bytes) -> Wav | None:
    """Return the audio of a WAV file, or None if it has no header that can be read."""
    shape = None
    for name, content in _chunks(data):
        if name == b"fmt " and len(content) >= _FORMAT.size:
            tag, channels, rate, _, _, bits = _FORMAT.unpack_from(content)
            if tag == _EXTENSIBLE:
                tag = int.from_bytes(content[_SUBFORMAT : _SUBFORMAT + 2], "little")
            shape = _ENCODINGS.get((tag, bits)), channels, rate
        if name == b"data" and shape is not None:
            return Wav(*shape, content)
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Generate the chunks; one that claims more than there is, as in a file cut short, ends with the file."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
