"""The kinds of values that several sections share, and what a section is."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from trio_asr.config.secrets import mask_pair, mask_path, mask_url

# No blanks and no braces: these names become parts of Redis keys, and braces in a key change its hash slot.
KeyName = Annotated[
    str,
    Meta(pattern=r"^[^\s{}\x00-\x1f]{1,200}\Z", extra={"allowed": "1-200 characters, no blanks or braces"}),
]
FileName = Annotated[str, Meta(pattern=r"^[^\x00]{1,4096}\Z", extra={"allowed": "a path"})]
HostName = Annotated[str, Meta(pattern=r"^[^\s/]{1,255}\Z", extra={"allowed": "a host name or an address"})]
Text = Annotated[str, Meta(pattern=r"^\S(.*\S)?\Z", extra={"allowed": "a text without blanks at its ends"})]
Texts = tuple[Text, ...]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. `repr` masks what may be a secret, since configs end up in tracebacks."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({shown})"


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return [*value]  # the values may be anything, secrets included
    if name == "extra":
        return [mask_pair(pair) for pair in value]
    if not isinstance(value, str):
        return value
    if name.endswith("_file"):
        return mask_path(value)
    return mask_url(value) if "://" in value else value
