"""A key on its own: the text that a tool was given for it, which reads no configuration."""

import msgspec

from trio_asr.config import redis_url, rules
from trio_asr.config.allowed import accepted, allowed_by
from trio_asr.config.loading import ConfigError
from trio_asr.config.sections import keys
from trio_asr.config.showing import plain

_KEYS = dict(keys())


def usable(path: str, text: str) -> str:
    """Return the text of a key that a tool was given; of a URL of Redis without the options that we decide.

    Raises:
        ConfigError: It could not stand in a configuration; the words are those of its refusal there.
    """
    annotation = _KEYS[path].type
    try:
        accepted(text, annotation)
        text.encode()
    except (msgspec.ValidationError, UnicodeEncodeError):
        reason: str | None = f"allowed is {allowed_by(annotation)}"
    else:
        if path == "redis.url":
            text, _ = redis_url.cleaned(text)
        reason = rules.TEXTS[path](text) if path in rules.TEXTS else None
    if reason is not None:
        raise ConfigError([f"{path} = {plain(text, path)}: {reason}"])
    return text
