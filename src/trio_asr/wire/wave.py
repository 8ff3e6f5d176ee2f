"""The header of a WAVE file, for producers that send a file as it is: played as audio, it is a click."""

from __future__ import annotations

MOST = 65_536  # bytes before the audio; anything longer is not a header
_FORM = 12  # bytes that tell: RIFF or RF64, a size, and WAVE
_CHUNK = 8  # bytes of a chunk's name and size


class Header:
    """An incremental parser that strips the header at the beginning of a call, over any number of frames.

    `over` is set once everything that follows is audio. `stripped` counts the bytes of header so far.
    """

    __slots__ = ("_first", "_taken", "_to_skip", "over", "stripped")

    def __init__(self, *, over: bool = False) -> None:
        self.over = over
        self.stripped = 0
        self._first = b""  # what the call begins with, until it can be told what that is
        self._taken = b""  # bytes that may continue in the next frame
        self._to_skip = _FORM  # bytes that are not audio, whatever is in them

    def look(self, pcm: bytes) -> bool:
        """Look ahead at the next frame. Return whether it can be told by now if a header begins.

        Only then may the frames be stripped.
        """
        if len(self._first) < _FORM and not self.over:
            self._first += pcm[: _FORM - len(self._first)]
            name, word = self._first[:4], self._first[8:]
            self.over = not (b"RIFF".startswith(name) or b"RF64".startswith(name)) or not b"WAVE".startswith(
                word
            )
        return self.over or len(self._first) == _FORM

    def strip(self, pcm: bytes) -> int:
        """Return how many bytes at the beginning of `pcm`, the next frame, are header."""
        if self.over or not pcm:
            return 0
        data, at = self._taken + pcm, 0
        while not self.over:
            at += self._to_skip
            self._to_skip = max(0, at - len(data))
            if self._to_skip or len(data) - at < _CHUNK:
                break
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + _CHUNK], "little")
            at += _CHUNK
            self.over = name == b"data" or size > MOST
            self._to_skip = 0 if self.over else size + size % 2
        header = min(at, len(data)) if self.over else len(data)
        taken = header - len(self._taken)
        self._taken = b"" if self.over or self._to_skip else data[min(at, len(data)) :]
        self.stripped += taken
        self.over = self.over or self.stripped > MOST
        return taken
