"""From a file and an environment to a configuration that knows its origins, or to one list of errors."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trio_asr.config import credentials, environment, rules
from trio_asr.config.allowed import allowed_by
from trio_asr.config.credentials import Place, Unusable, find
from trio_asr.config.errors import ConfigError
from trio_asr.config.secret import MASK, Secret, mask_url
from trio_asr.config.tree import SECTIONS, Config, keys, value_at

# Read when no file is named and this one exists: the place the systemd unit uses.
SYSTEM_FILE = Path("/etc/trio-asr/config.toml")
MAX_FILE_BYTES = 256 * 1024  # the file with every key and comment has 10 KB

_TIMELINE = (
    "it would break the timeline of the call, which has one mono channel and takes results from its socket"
)
_FROM_FRAMES = "it is taken from the frames of each call"
_REFUSED: dict[str, str] = {
    "deepgram.callback": _TIMELINE,
    "deepgram.callback_method": _TIMELINE,
    "deepgram.multichannel": _TIMELINE,
    "deepgram.channels": _TIMELINE,
    "deepgram.encoding": _FROM_FRAMES,
    "deepgram.sample_rate": _FROM_FRAMES,
    "deepgram.detect_language": "Deepgram does not offer it on live audio; see deepgram.language",
    "deepgram.filler_words": "Deepgram documents it for recordings only",
    "deepgram.api_key": "the key does not belong into this file; name a file that holds it in "
    "deepgram.api_key_file, or set DEEPGRAM_API_KEY",
    "http.token": "the token does not belong into this file; name a file that holds it in "
    "http.token_file, or set TRIO_ASR_HTTP_TOKEN",
}
_FIELDS = dict(keys())


@dataclass(frozen=True, slots=True)
class Loaded:
    """``origins``: for each key path ``default``, ``file`` or ``env NAME``; for a secret also its file."""

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    path: Path | None


def load(path: Path | None, env: Mapping[str, str], *, system_file: Path = SYSTEM_FILE) -> Loaded:
    """Read ``path`` (or ``system_file`` if that exists), then the environment, which wins.

    Raises ConfigError with everything that is wrong, each line naming the source, the key, the value and
    what is allowed.
    """
    if path is None and system_file.exists():
        path = system_file
    loader = _Loader(path)
    if path is not None:
        loader.take_file(path)
    loader.take_environment(env)
    if loader.problems:
        raise ConfigError(loader.problems)
    return loader.finish(env)


def shown(path: str, value: Any) -> str:
    """A value as a TOML file would write it, without what must not be seen."""
    if isinstance(value, Secret):
        return MASK
    if value is None:
        return "(not set)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{mask_url(value)}"' if path.endswith(".url") else msgspec.json.encode(value).decode()
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(path, one) for one in value)}]"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


class _Loader:
    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = dict.fromkeys(_FIELDS, "default")
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def take_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise ConfigError([f"{path}: is larger than {MAX_FILE_BYTES} bytes: is it the right file?"])
            document = tomllib.loads(data.decode())
        except OSError as exc:
            raise ConfigError([f"{path}: cannot be read: {exc.strerror or exc}"]) from exc
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
            raise ConfigError([f"{path}: is not valid TOML: {exc}"]) from exc
        for section, table in document.items():
            if section not in SECTIONS:
                self._unknown(section, table, SECTIONS)
            elif not isinstance(table, dict):
                self.problems.append(
                    f"{path}: {section} = {_plain(table)}: is a section; write [{section}] and its keys below"
                )
            else:
                for key, value in table.items():
                    self._take(f"{section}.{key}", value)

    def _take(self, path: str, value: Any) -> None:
        if path in _REFUSED:
            self.problems.append(f"{self.path}: {path} is not offered: {_REFUSED[path]}")
        elif path not in _FIELDS:
            self._unknown(path, value, _FIELDS)
        else:
            self._set(path, value, value, source=f"{self.path}:", origin="file")

    def take_environment(self, env: Mapping[str, str]) -> None:
        # An empty variable counted as unset in the old worker, and unit files leave such behind.
        for name, override in environment.OVERRIDES.items():
            if text := env.get(name, "").strip():
                source = f"environment: {name}, for"
                try:
                    value = override.translate(text)
                except ValueError as exc:
                    self.problems.append(f"{source} {override.path} = {shown(override.path, text)}: {exc}")
                else:
                    self._set(override.path, value, text, source=source, origin=f"env {name}", strict=False)
        self.warnings += environment.retired_in(env)

    def _set(
        self, path: str, value: Any, written: Any, *, source: str, origin: str, strict: bool = True
    ) -> None:
        annotation = _FIELDS[path].type
        try:
            converted = msgspec.convert(value, annotation, strict=strict)
            if isinstance(converted, float) and not math.isfinite(converted):
                raise msgspec.ValidationError  # noqa: TRY301 - TOML has inf and nan; no range excludes nan
        except msgspec.ValidationError:
            self.problems.append(
                f"{source} {path} = {_plain(written, path)}: allowed is {allowed_by(annotation)}"
            )
        else:
            self.values[path] = converted
            self.origins[path] = origin

    def _unknown(self, path: str, value: Any, known: Mapping[str, Any]) -> None:
        prefix, _, name = path.rpartition(".")
        siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == prefix]
        if near := difflib.get_close_matches(name, siblings, n=1):
            hint = f"did you mean {path.removesuffix(name)}{near[0]}?"
        elif elsewhere := [other for other in _FIELDS if other.rpartition(".")[2] == name]:
            hint = f"did you mean {elsewhere[0]}?"
        else:
            hint = f"known are: {', '.join(siblings)}"
        self.problems.append(f"{self.path}: {path} = {_plain(value, path)}: unknown key; {hint}")

    def finish(self, env: Mapping[str, str]) -> Loaded:
        config = self._build()
        if config.asr.provider == "deepgram":
            config = self._with_secret(config, credentials.DEEPGRAM, env)
        config = self._with_secret(config, credentials.HTTP, env)
        for found in rules.problems(config):
            self.problems.append(self._line(config, found))
        if self.problems:
            raise ConfigError(self.problems)
        self.warnings += [self._line(config, found) for found in rules.doubts(config)]
        return Loaded(config, self.origins, tuple(self.warnings), self.path)

    def _build(self) -> Config:
        tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for path, value in self.values.items():
            section, _, name = path.partition(".")
            tables[section][name] = value
        return msgspec.convert(tables, Config)

    def _with_secret(self, config: Config, place: Place, env: Mapping[str, str]) -> Config:
        try:
            found = find(place, value_at(config, f"{place.path}_file"), env)
        except Unusable as exc:
            self.problems.append(str(exc))
            return config
        if found is None:
            return config
        self.origins[place.path] = found.origin
        section, _, name = place.path.partition(".")
        changed = msgspec.structs.replace(getattr(config, section), **{name: found.secret})
        return msgspec.structs.replace(config, **{section: changed})

    def _line(self, config: Config, found: rules.Finding) -> str:
        origin = self.origins[found.path]
        source = origin if origin.startswith("env ") else str(self.path or "configuration")
        return f"{source}: {found.path} = {shown(found.path, value_at(config, found.path))}: {found.reason}"


def _plain(value: Any, path: str = "") -> str:
    """A value as it was given, cut short; masked where the name says that it is a secret."""
    name = path.rpartition(".")[2].lower()
    named = any(word in name for word in ("apikey", "secret", "token", "password")) or name.endswith("_key")
    if named and not name.endswith("_file"):
        return MASK
    text = shown(path, value) if not isinstance(value, dict) else "a table"
    return text if len(text) <= 100 else f"{text[:100]}..."
