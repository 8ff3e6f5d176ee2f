"""Rules across keys: keys that must fit each other, and options that Deepgram accepts only together.

Deepgram answers most violations with HTTP 400 at the first call, or accepts them and does nothing. Here they
stop the start. The limits are those of Deepgram's page on the option of the same name.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from trio_asr.config import redis_url
from trio_asr.config.addresses import deepgram_problem, host_problem
from trio_asr.config.ingest import SECRETS
from trio_asr.config.sections import PLACEHOLDER, ROUTES, Config, DeepgramConfig, RedisConfig, value_at


class Finding(NamedTuple):
    """What is wrong or doubtful, and the key path to blame."""

    path: str
    reason: str


# Options of Deepgram's live API, and secrets, that cannot be set in the file; and why.
_TIMELINE = "it would break the timeline of the call, which takes results from its socket"
_FROM_FRAMES = "it is taken from the frames of each call"

REFUSED: dict[str, str] = {
    "deepgram.callback": _TIMELINE,
    "deepgram.callback_method": _TIMELINE,
    "deepgram.multichannel": _FROM_FRAMES,
    "deepgram.channels": _FROM_FRAMES,
    "deepgram.encoding": _FROM_FRAMES,
    "deepgram.sample_rate": _FROM_FRAMES,
    "deepgram.detect_language": "Deepgram does not offer it on live audio; see deepgram.language",
    "deepgram.filler_words": "Deepgram documents it for recordings only",
    "deepgram.api_key": "the key does not belong into this file; name a file that holds it in "
    "deepgram.api_key_file, or set DEEPGRAM_API_KEY",
    "http.token": "the token does not belong into this file; name a file that holds it in "
    "http.token_file, or set TRIO_ASR_HTTP_TOKEN",
}
REFUSED |= {
    f"{ROUTES}.{spec.name}": f"the {spec.words} does not belong into this file; name a file that holds it in "
    f"{spec.name}_file"
    for spec in SECRETS
}

KEYTERM_TOKENS = 500  # over all terms; a word is at least one token
_ENGLISH_ENTITIES = ("nova", "enhanced")
_KEYWORD = re.compile(r"[^:]+(:-?\d+(\.\d+)?)?")
_PAIR = re.compile(r"[^:]+:.*", re.DOTALL)


def problems(config: Config) -> Iterator[Finding]:
    """Yield what makes this configuration unusable."""
    yield from _text_problems(config)
    yield from _redis_problems(config.redis)
    yield from _flow_problems(config)
    yield from _query_problems(config.deepgram)
    yield from _model_problems(config.deepgram)
    yield from _term_problems(config.deepgram)
    yield from _option_problems(config.deepgram)


def worker_problems(config: Config) -> Iterator[Finding]:
    """Yield what else makes it unusable for the worker."""
    if config.asr.provider == "deepgram" and config.deepgram.api_key is None:
        yield Finding(
            "deepgram.api_key_file",
            "there is no API key: set DEEPGRAM_API_KEY, or name a file that holds it, or give systemd the "
            'credential "deepgram_api_key", or set asr.provider to "mock"',
        )


def doubts(config: Config) -> Iterator[Finding]:
    """Yield what is accepted but probably not meant, or has a cost that is easily overlooked."""
    deepgram = config.deepgram
    if deepgram.no_delay and not deepgram.smart_format:
        yield Finding("deepgram.no_delay", "does nothing without smart_format")
    if deepgram.keyterm and not _is_family(deepgram.model, "nova-3"):
        yield Finding(
            "deepgram.keyterm", f"made for nova-3; {deepgram.model} may ignore it (it has keywords)"
        )
    for path, terms in (("deepgram.keyterm", deepgram.keyterm), ("deepgram.keywords", deepgram.keywords)):
        for term in terms:
            if "," in term:
                yield Finding(path, f"{term!r} is taken as one term, comma included")
    if deepgram.detect_entities and deepgram.max_connections > 5:
        yield Finding("deepgram.detect_entities", "may lower Deepgram's limit to 5 streams at once")
    if (deepgram.diarize or deepgram.diarize_model) and deepgram.max_connections > 50:
        yield Finding(
            "deepgram.diarize_model" if deepgram.diarize_model else "deepgram.diarize",
            "may lower Deepgram's limit to 50 streams at once, below max_connections",
        )
    if deepgram.diarize:
        yield Finding("deepgram.diarize", "is being replaced at Deepgram by diarize_model")
    if config.fleet.shards > 1 and config.fleet.capacity > deepgram.max_connections:
        yield Finding(
            "fleet.capacity",
            f"is above deepgram.max_connections ({deepgram.max_connections}): this member takes shards whose "
            "calls it cannot all connect",
        )


def template_problem(template: str) -> str | None:
    """Return why there cannot be a stream for each call by this name, or None if there can."""
    if template.count(PLACEHOLDER) != 1:
        return f"must contain {PLACEHOLDER} exactly once: one stream per call"
    if template == PLACEHOLDER:
        return "needs a text beside the id: a call could name any key"
    return None


# What no type can say of the text of a key.
TEXTS: dict[str, Callable[[str], str | None]] = {
    "redis.url": redis_url.problem,
    "redis.transcript_stream": template_problem,
    "deepgram.url": deepgram_problem,
    "http.host": host_problem,
}


def _text_problems(config: Config) -> Iterator[Finding]:
    for path, problem in TEXTS.items():
        if (reason := problem(value_at(config, path))) is not None:
            yield Finding(path, reason)


def _redis_problems(redis: RedisConfig) -> Iterator[Finding]:
    template = redis.transcript_stream
    if template_problem(template):
        return
    before, _, after = template.partition(PLACEHOLDER)
    taken: dict[str, str] = {}
    for name in ("audio_stream", "call_end_stream", "events_stream", "dead_letter_stream"):
        stream = getattr(redis, name)
        if stream in taken:
            yield Finding(f"redis.{name}", f"is the same stream as redis.{taken[stream]}")
        taken[stream] = name
        # Interaction ids are the producers' choice: whatever name the template can produce, it will one day.
        if len(stream) > len(before + after) and stream.startswith(before) and stream.endswith(after):
            yield Finding(f"redis.{name}", f"could be the transcript stream of a call ({template})")


def _flow_problems(config: Config) -> Iterator[Finding]:
    if config.flush.min_chunk_ms > config.flush.max_chunk_ms:
        yield Finding(
            "flush.min_chunk_ms", f"must not be above flush.max_chunk_ms ({config.flush.max_chunk_ms})"
        )
    if config.interaction.max_unfinalized_s <= config.deepgram.max_open_segment_s:
        yield Finding(
            "interaction.max_unfinalized_s",
            "must be above deepgram.max_open_segment_s: a final may take that long on a healthy connection",
        )


def _query_problems(deepgram: DeepgramConfig) -> Iterator[Finding]:
    if deepgram.endpointing is True:
        yield Finding("deepgram.endpointing", "takes milliseconds, or false to switch it off")
    if deepgram.utterance_end_ms is not None and not deepgram.interim_results:
        yield Finding(
            "deepgram.utterance_end_ms", "needs interim_results = true: it is found in the interims"
        )
    if deepgram.dictation and not deepgram.punctuate:
        yield Finding("deepgram.dictation", "needs punctuate = true")
    if deepgram.diarize is not None and deepgram.diarize_model is not None:
        yield Finding(
            "deepgram.diarize", "and diarize_model together are rejected by Deepgram; keep the latter"
        )


def _model_problems(deepgram: DeepgramConfig) -> Iterator[Finding]:
    model, language = deepgram.model, deepgram.language
    if model.startswith("flux"):
        yield Finding("deepgram.model", "Flux speaks another protocol (/v2/listen), which is not supported")
    elif deepgram.url.rstrip("/").endswith("/v2/listen"):
        yield Finding("deepgram.url", "/v2/listen is the protocol of Flux, which is not supported")
    if model.startswith("whisper"):
        yield Finding("deepgram.model", "Deepgram's Whisper models take recordings only, no live audio")
    if language == "multi" and _is_builtin(model) and not _is_family(model, "nova-2", "nova-3"):
        yield Finding("deepgram.language", "multi is for nova-2 and nova-3 only")
    if deepgram.keywords and _is_family(model, "nova-3"):
        yield Finding("deepgram.keywords", "nova-3 refuses keywords; use keyterm (plain terms, no weights)")
    if deepgram.detect_entities:
        if language.partition("-")[0].lower() != "en":
            yield Finding("deepgram.detect_entities", f"is for English only; deepgram.language is {language}")
        if _is_builtin(model) and not model.startswith(_ENGLISH_ENTITIES):
            yield Finding("deepgram.detect_entities", f"is for the nova and enhanced models; this is {model}")


def _term_problems(deepgram: DeepgramConfig) -> Iterator[Finding]:
    if sum(len(term.split()) for term in deepgram.keyterm) > KEYTERM_TOKENS:
        yield Finding("deepgram.keyterm", f"holds more than {KEYTERM_TOKENS} tokens in all")
    for keyword in deepgram.keywords:
        if not _KEYWORD.fullmatch(keyword):
            yield Finding(
                "deepgram.keywords", f"{keyword!r} is neither a word nor word:intensifier (a number)"
            )
    for path, pairs, form in (
        ("deepgram.replace", deepgram.replace, "find:replacement"),
        ("deepgram.extra", deepgram.extra, "key:value"),
    ):
        for pair in pairs:
            if not _PAIR.fullmatch(pair):
                yield Finding(path, f"{pair!r} is not of the form {form}")
    repeated = Counter(pair.partition(":")[0] for pair in deepgram.extra)
    for key, count in repeated.items():
        if count > 1:
            yield Finding("deepgram.extra", f"{key!r} stands {count} times; Deepgram keeps the last only")


def _option_problems(deepgram: DeepgramConfig) -> Iterator[Finding]:
    for name in deepgram.options or ():
        path = f"deepgram.{name.lower()}"
        if path in REFUSED:
            yield Finding("deepgram.options", f"{name} is not offered: {REFUSED[path]}")
        elif name.lower() in DeepgramConfig.__struct_fields__:
            yield Finding("deepgram.options", f"{name} has a key of its own: set {path}")


def _is_family(model: str, *families: str) -> bool:
    return any(model == family or model.startswith(f"{family}-") for family in families)


def _is_builtin(model: str) -> bool:
    """Return whether the name says what the model can do; the id of a custom model does not."""
    return _is_family(model, "nova", "enhanced", "base") or model in {
        "meeting", "phonecall", "finance", "conversationalai", "voicemail", "video",
    }  # fmt: skip
