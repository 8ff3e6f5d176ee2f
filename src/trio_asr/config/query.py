"""The query string of a connection to Deepgram.

The names, defaults and limits of the options are those of Deepgram's live streaming reference and of the
feature page of the same name. An option that is not set is not sent: Deepgram's own default holds.
"""

from trio_asr.config.sections import DeepgramConfig, OptionValue

# The options of the old worker in its order, then those that it did not have. In between: the audio format.
_LEADING = ("model", "language", "smart_format", "interim_results")
_TRAILING = (
    "version", "endpointing", "utterance_end_ms", "vad_events", "punctuate", "numerals", "profanity_filter",
    "dictation", "diarize", "diarize_model", "detect_entities", "no_delay", "mip_opt_out", "redact",
    "keyterm", "keywords", "search", "replace", "tag", "extra",
)  # fmt: skip
QUERY_OPTIONS = _LEADING + _TRAILING


def query_items(
    config: DeepgramConfig, sample_rate: int, encoding: str = "linear16", channels: int = 1
) -> list[tuple[str, str]]:
    """Return the query of one connection for such audio (`sample_rate` in Hz), in order, not escaped.

    Booleans are in lower case and lists are repeated parameters: Deepgram refuses `True`, and takes `a,b` for
    one term.
    """
    return [
        *_items(config, _LEADING),
        ("sample_rate", str(sample_rate)),
        ("encoding", encoding),
        ("channels", str(channels)),
        *([("multichannel", "true")] if channels > 1 else []),
        *_items(config, _TRAILING),
        *((name, text) for name, value in (config.options or {}).items() for text in _values(value)),
    ]


def _items(config: DeepgramConfig, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, value) for name in names for value in _values(getattr(config, name))]


def _values(value: OptionValue | float | None) -> list[str]:
    if value is None:
        return []
    if isinstance(value, tuple):
        return [text for one in value for text in _values(one)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)]
