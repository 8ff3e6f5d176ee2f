"""The header of a WAVE file, for producers that send a file as it is: played as audio, it is a click."""

from __future__ import annotations

MOST = 65_536  # bytes before the audio; anything longer is not a header
_CHUNK = 8  # bytes of a chunk's name and size


class Header:
    """An incremental parser that strips the header at the beginning of a call, over any number of frames.

    `over` is set once everything that follows is audio. `stripped` counts the bytes of header so far.
    """

    __slots__ = ("_taken", "_to_skip", "over", "stripped")

    def __init__(self) -> None:
        self.over = False
        self.stripped = 0
        self._taken = b""  # bytes that may continue in the next frame
        self._to_skip = 0  # bytes of a chunk that is not audio

    def strip(self, pcm: bytes) -> int:
        """Return how many bytes at the beginning of `pcm`, the next frame, are header."""
        if self.over or not pcm:
            return 0
        data = self._taken + pcm
        at = self._begin(data) if not self.stripped else 0
        while not self.over:
            at += self._to_skip
            self._to_skip = max(0, at - len(data))
            if self._to_skip or len(data) - at < _CHUNK:
                break
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + _CHUNK], "little")
            at += _CHUNK
            self.over = name == b"data" or size > MOST
            self._to_skip = 0 if self.over else size + size % 2
        if self.over and not self.stripped and at == 0:
            return 0
        header = min(at, len(data)) if self.over else len(data)
        self._taken = b"" if self.over or self._to_skip else data[min(at, len(data)) :]
        taken = header - (len(data) - len(pcm))
        self.stripped += taken
        self.over = self.over or self.stripped > MOST
        return taken

    def _begin(self, data: bytes) -> int:
        self.over = not (data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE")
        return 0 if self.over else 12
