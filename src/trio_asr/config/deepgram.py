"""The Deepgram section: how to reach the service, and the query that each connection carries.

The names, defaults and limits of the query options are those of Deepgram's live streaming reference and
of the feature page of the same name. An option that is not set is not sent: Deepgram's own default holds.
"""

from typing import Annotated, Literal

from msgspec import Meta

from trio_asr.config.secret import Secret
from trio_asr.config.sections import FileName, Section

Text = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z", extra={"allowed": "a text without blanks at its ends"})]
Texts = tuple[Text, ...]

_Model = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,100}\Z", extra={"allowed": "a model's name or a custom model's id"}),
]
_Language = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z",
        extra={"allowed": 'a language tag such as "en-US", or "multi"'},
    ),
]
_OptionText = Annotated[str, Meta(max_length=2_048)]
_OptionInt = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_OptionScalar = _OptionText | _OptionInt | bool
OptionValue = _OptionScalar | Annotated[tuple[_OptionScalar, ...], Meta(max_length=100)]


class DeepgramConfig(Section, frozen=True):
    url: Annotated[
        str,
        Meta(
            pattern=r"^wss?://[^\s/?#@]+(/[^\s?#]*)?\Z",
            extra={"allowed": "a ws:// or wss:// URL without query or credentials"},
        ),
    ] = "wss://api.deepgram.com/v1/listen"
    api_key_file: FileName | None = None
    # Never in the file: from DEEPGRAM_API_KEY, from api_key_file or from systemd's credentials.
    api_key: Secret | None = None

    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    # Deepgram gives a silent stream 10 s and recommends a KeepAlive every 3-5 s.
    keepalive_ms: Annotated[int, Meta(ge=100, le=8_000)] = 4_000
    connect_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 10_000
    close_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 10_000
    stall_timeout_ms: Annotated[int, Meta(ge=500, le=60_000)] = 8_000
    send_timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000
    # At 1.0 a call that fell behind would stay behind for ever.
    catchup_rate: Annotated[float, Meta(ge=1.01, le=100)] = 1.25
    max_open_segment_s: Annotated[float, Meta(ge=1, le=300)] = 15.0

    model: _Model = "nova-2"
    language: _Language = "en-US"
    smart_format: bool = True
    interim_results: bool = True
    version: Text | None = None
    endpointing: Annotated[
        Annotated[int, Meta(ge=1, le=60_000)] | bool | None,
        Meta(extra={"allowed": "an integer from 1 to 60000, or false"}),
    ] = None
    utterance_end_ms: Annotated[int, Meta(ge=1_000, le=5_000)] | None = None
    vad_events: bool | None = None
    punctuate: bool | None = None
    numerals: bool | None = None
    profanity_filter: bool | None = None
    dictation: bool | None = None
    diarize: bool | None = None
    diarize_model: Literal["latest", "v1"] | None = None
    detect_entities: bool | None = None
    no_delay: bool | None = None
    mip_opt_out: bool | None = None
    redact: tuple[
        Annotated[
            str,
            Meta(pattern=r"^[a-z][a-z0-9_]*\Z", extra={"allowed": 'a group such as "pci"'}),
        ],
        ...,
    ] = ()
    keyterm: Annotated[Texts, Meta(max_length=100)] = ()
    keywords: Annotated[Texts, Meta(max_length=100)] = ()
    search: Annotated[Texts, Meta(max_length=50)] = ()
    replace: Annotated[Texts, Meta(max_length=200)] = ()
    tag: tuple[Annotated[Text, Meta(max_length=128, extra={"allowed": "at most 128 characters"})], ...] = ()
    extra: tuple[
        Annotated[Text, Meta(max_length=2_048, extra={"allowed": "key:value, at most 2048 characters"})], ...
    ] = ()
    options: (
        Annotated[
            dict[Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,99}\Z")], OptionValue],
            Meta(
                max_length=50,
                extra={"allowed": "names, each with a text, an integer, true or false, or a list of these"},
            ),
        ]
        | None
    ) = None


# In the old worker's order, then what can be set beside it. The format of the audio comes in between.
_LEADING = ("model", "language", "smart_format", "interim_results")
_TRAILING = (
    "version", "endpointing", "utterance_end_ms", "vad_events", "punctuate", "numerals", "profanity_filter",
    "dictation", "diarize", "diarize_model", "detect_entities", "no_delay", "mip_opt_out", "redact",
    "keyterm", "keywords", "search", "replace", "tag", "extra",
)  # fmt: skip
QUERY_OPTIONS = _LEADING + _TRAILING


def query_items(config: DeepgramConfig, sample_rate: int) -> list[tuple[str, str]]:
    """The query of one connection, in order, for raw mono PCM16 of ``sample_rate`` Hz; not yet escaped.

    Booleans are lowercase and lists are repeated parameters: Deepgram refuses ``True`` and takes ``a,b`` for
    one term.
    """
    return [
        *_items(config, _LEADING),
        ("sample_rate", str(sample_rate)),
        ("encoding", "linear16"),
        ("channels", "1"),
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
