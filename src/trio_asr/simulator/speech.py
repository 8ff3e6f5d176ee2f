"""The `speech` engine: real recognition by faster-whisper, an extra of this package.

Pauses are found by energy (`vad`). The open segment is recognised again for each interim, and once more, with
the times of its words, when a pause or its length ends it. One model serves all streams; jobs run in a
thread, one at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trio_asr.simulator.audio import linear16
from trio_asr.simulator.engines import Job, Mark, RecognitionError, SegmentEnds, SpeechBegan, Word, Words
from trio_asr.simulator.models import Progress, load_model
from trio_asr.simulator.query import ListenQuery
from trio_asr.simulator.vad import FRAME_MS, Detector, level_db

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_MODEL_RATE: Final = 16_000
#: Consecutive frames of speech that are not a click.
_ONSET_FRAMES: Final = 3
#: Deepgram's default endpointing of 10 ms shows in practice as windows that end 200-600 ms after the last
#: word. The model needs whole phrases, so a shorter pause ends nothing.
_MIN_PAUSE_MS: Final = 300
_SILENT_MS: Final = 5000  # of silence, which are finalised as such
_LONGEST_MS: Final = 12_000  # of a segment without a pause; it then ends ...
_SEARCH_MS: Final = 3000  # ... at the quietest frame within this time of its end
_MARGIN_MS: Final = 200  # of audio around the speech that the model also gets


class SpeechEngine:
    """The speech engine. `model` is the folder of a CTranslate2 Whisper model.

    With None it takes a model that is installed or can be downloaded. `load` may be called ahead of time;
    otherwise the first job loads the model. `progress` receives messages about what takes time.
    """

    name = "speech"
    threads = 1

    def __init__(self, model: Path | None = None, *, progress: Progress = lambda _: None) -> None:
        self._path = model
        self._progress = progress
        self._lock = threading.Lock()
        self._model: WhisperModel | None = None

    def load(self) -> WhisperModel:
        """Load the model, once. Blocks.

        Raises:
            RecognitionError: It cannot be loaded.
        """
        with self._lock:
            if self._model is None:
                self._model = load_model(
                    self._path, cpus=min(4, os.cpu_count() or 1), progress=self._progress
                )
            return self._model

    def open(self, query: ListenQuery) -> SpeechEar:
        """Return a listener for a channel of a new stream."""
        return SpeechEar(self, query)

    def recognise(self, pcm: bytes, at: int, query: ListenQuery, *, exact: bool) -> Words:
        """Return the words in `pcm` (linear16 at the stream's rate, starting at sample `at`). Blocks.

        `exact` asks the model for the words' times; otherwise they are spread over the audio, which is
        faster.

        Raises:
            RecognitionError: The model fails.
        """
        model = self.load()
        language = query.language.split("-")[0] if model.model.is_multilingual else "en"
        try:
            segments, _ = model.transcribe(
                _as_float(pcm, query.sample_rate),
                language=None if language == "multi" else language,
                beam_size=1,
                condition_on_previous_text=False,
                word_timestamps=exact,
                without_timestamps=not exact,
            )
            found = list(_timed(segments) if exact else _spread(segments, len(pcm) / 2 / query.sample_rate))
        except (RuntimeError, ValueError) as error:
            raise RecognitionError(str(error)) from error
        return tuple(_words(found, at, at + len(pcm) // 2, query.sample_rate))


_Found = tuple[str, float, float, float]  # text, start and end in seconds of the audio, probability


def _as_float(pcm: bytes, rate: int) -> Any:
    """Return the audio as float32 at the model's rate.

    It is resampled in the frequency domain, which adds nothing above the old band.
    """
    import numpy as np  # noqa: PLC0415  # comes with the extra

    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    if rate == _MODEL_RATE:
        return samples
    count = len(samples) * _MODEL_RATE // rate
    spectrum = np.fft.rfft(samples)
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


def _timed(segments: Iterable[Any]) -> Iterable[_Found]:
    for segment in segments:
        for word in segment.words or ():
            yield word.word, word.start, word.end, word.probability


def _spread(segments: Iterable[Any], seconds: float) -> Iterable[_Found]:
    """Give each word a share of the audio in proportion to its length."""
    texts = [text for segment in segments for text in segment.text.split()]
    letters, at = sum(map(len, texts)), 0
    for text in texts:
        yield text, seconds * at / letters, seconds * (at + len(text)) / letters, 0.9
        at += len(text)


def _words(found: Iterable[_Found], start: int, end: int, rate: int) -> Iterable[Word]:
    """Generate the words in order, clipped to the audio, without mere punctuation."""
    for text, from_s, to_s, probability in found:
        plain = text.strip().strip('.,;:!?"-…').lower()
        if not plain:
            continue
        first = min(max(start, start + int(from_s * rate)), end - 1)
        last = min(max(first + 1, start + int(to_s * rate)), end)
        yield Word(plain, first, last, probability, punctuated=text.strip())


class SpeechEar:
    """An `Ear` for speech; see the module.

    It works in frames of 20 ms, so that the split of the audio does not matter.
    """

    def __init__(self, engine: SpeechEngine, query: ListenQuery) -> None:
        self._engine = engine
        self._query = query
        self._rate = rate = query.sample_rate
        self._frame = rate * FRAME_MS // 1000
        pause = query.endpointing_ms
        self._pause = None if pause is None else max(pause, _MIN_PAUSE_MS) * rate // 1000
        self._audio = bytearray()  # linear16, from sample `_kept` on
        self._kept = self._judged = self._segment = 0
        self._detector = Detector()
        self._in_a_row = 0
        self._speaking = False
        self._speech: list[int] = []  # first samples of frames of speech

    def hear(self, audio: bytes) -> list[Mark]:
        """Take more audio; see `Ear`."""
        self._audio += linear16(audio, self._query.encoding)
        heard = self._kept + len(self._audio) // 2
        marks: list[Mark] = []
        while self._judged + self._frame <= heard:
            marks += self._onset()
            if (end := self._end()) is not None:
                self._segment = end.at
                marks.append(end)
        return marks

    def words(self, start: int, end: int, *, final: bool) -> Words | Job:
        """Return the words of a range, as a job unless it is silent; see `Ear`."""
        speech = [at for at in self._speech if start <= at < end]
        margin = self._rate * _MARGIN_MS // 1000
        job: Words | Job = ()
        if speech:
            first, last = max(start, speech[0] - margin), min(end, speech[-1] + self._frame + margin)
            pcm = self._between(first, last)
            job = partial(self._engine.recognise, pcm, first, self._query, exact=final)
        if final:
            self._speech = [at for at in self._speech if at >= end]
            # Audio that was not judged yet, at most a frame, stays even if the client cut it off.
            drop = min(end, self._judged) - self._kept
            del self._audio[: 2 * drop]
            self._kept += drop
        return job

    def cut(self, at: int) -> None:
        """Begin the next segment at `at`; see `Ear`."""
        self._segment = at
        self._speaking = False
        self._in_a_row = 0

    def _between(self, start: int, end: int) -> bytes:
        return bytes(self._audio[2 * (start - self._kept) : 2 * (end - self._kept)])

    def _onset(self) -> list[Mark]:
        """Judge the next frame."""
        start, self._judged = self._judged, self._judged + self._frame
        if not self._detector.is_speech(self._between(start, self._judged)):
            self._in_a_row = 0
            return []
        self._in_a_row += 1
        if self._speaking:
            self._speech.append(start)
            return []
        if self._in_a_row < _ONSET_FRAMES:
            return []
        self._speaking = True
        row = [start - i * self._frame for i in reversed(range(_ONSET_FRAMES))]
        self._speech += [at for at in row if at >= self._segment]
        return [SpeechBegan(self._judged, row[0])]

    def _end(self) -> SegmentEnds | None:
        """Return the end of the segment if it ends with the frame just judged."""
        now, open_ms = self._judged, (self._judged - self._segment) * 1000 // self._rate
        if self._speaking:
            quiet = now - (self._speech[-1] + self._frame if self._speech else self._segment)
            if self._pause is not None and quiet >= self._pause:
                self._speaking = False
                return SegmentEnds(now, speech_final=True)
            return SegmentEnds(self._quietest(), speech_final=False) if open_ms >= _LONGEST_MS else None
        return SegmentEnds(now, speech_final=self._pause is not None) if open_ms >= _SILENT_MS else None

    def _quietest(self) -> int:
        """Return the middle of the quietest recent frame, the best place to cut running speech."""
        frames = range(self._judged - self._rate * _SEARCH_MS // 1000, self._judged, self._frame)
        levels = [level_db(self._between(at, at + self._frame)) for at in frames]
        return frames[levels.index(min(levels))] + self._frame // 2
