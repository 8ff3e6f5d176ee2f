"""Loading: from a file and an environment to a configuration with its origins, or to one list of problems."""

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trio_asr.config import environment, redis_url, rules, secrets
from trio_asr.config.allowed import allowed_by
from trio_asr.config.reading import Unparsable, Unreadable, parse, read
from trio_asr.config.rules import REFUSED
from trio_asr.config.secrets import MASK, Secret, SecretSpec, Unusable, find, mask_path, mask_url
from trio_asr.config.sections import SECTIONS, Config, keys, value_at

# Read when no file is named and this one exists. It is where the systemd unit looks.
SYSTEM_FILE = Path("/etc/trio-asr/config.toml")
MAX_FILE_BYTES = 256 * 1024  # a file with every key and comment has 10 KB

MAX_PROBLEMS = 50  # problems that are reported; a file with more is not a configuration
MAX_SHOWN = 100  # characters of a value, or of an unknown key
_SECRET_NAME = re.compile("auth|key$|pass|secret|token", re.IGNORECASE)
_FIELDS = dict(keys())


class ConfigError(Exception):
    """An unusable configuration. `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from.

    `origins` maps each key path to `default`, `file` or `env NAME`, or for a secret to its file.
    """

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    path: Path | None


def load(path: Path | None, env: Mapping[str, str], *, system_file: Path = SYSTEM_FILE) -> Loaded:
    """Read `path` (or `system_file` if that exists), then the environment, which wins.

    It blocks: files are read.

    Raises:
        ConfigError: The configuration is unusable. Each of its problems names the source, the key, the value
            and what is allowed.
    """
    try:
        if path is None and _is_there(system_file):
            path = system_file
        loader = _Loader(path)
        if path is not None:
            loader.take_file(path)
        loader.take_environment(env)
        loader.refuse_problems()
        return loader.finish(env)
    except ConfigError:
        raise
    # Any other error is a refusal, too: a reload may run beside calls. Its own words are not shown: they
    # may quote a password.
    except Exception as exc:
        raise ConfigError(
            [f"{path or 'configuration'}: cannot be used: {type(exc).__name__} in its checking"]
        ) from exc


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # no permission to look: reading it reports that
        return True


def shown(path: str, value: Any) -> str:
    """Return the value at a key path as TOML, with secrets masked."""
    match value:
        case Secret():
            text = MASK
        case None:
            text = "(not set)"
        case bool():
            text = "true" if value else "false"
        case str():
            text = _quoted(_harmless(path, value))
        case list() | tuple():
            text = f"[{', '.join(shown(path, one) for one in value)}]"
        case dict():
            pairs = ", ".join(f"{name} = {_shown_option(name, one)}" for name, one in value.items())
            text = f"{{ {pairs} }}" if pairs else "{}"
        case float():
            text = f"{value:.12g}"
        case _:
            text = str(value)
    return text


def _shown_option(name: str, value: Any) -> str:
    return f'"{MASK}"' if _SECRET_NAME.search(name) else shown("", value)


def _harmless(path: str, text: str) -> str:
    """Return a text with everything masked that could be a secret at this key."""
    if path.endswith(".url"):
        # Without a scheme it is not a URL, and may be a password.
        return mask_url(text) if "://" in text else MASK
    return mask_path(text) if path.endswith("_file") else text


def _quoted(text: str) -> str:
    """Return a text as a TOML string. Its escapes are those of JSON, except for unpaired surrogates."""
    try:
        return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
    except ValueError:
        return json.dumps(text)


class _Loader:
    """One load: the values found so far, their origins, and what is wrong with them."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = dict.fromkeys(_FIELDS, "default")
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def take_file(self, path: Path) -> None:
        """Take the keys of a TOML file; what is wrong with single keys goes to `problems`.

        Raises:
            ConfigError: The file cannot be read or parsed, or has more than `MAX_PROBLEMS` problems.
        """
        try:
            document = parse(read(path, MAX_FILE_BYTES))
        except Unreadable as exc:
            raise ConfigError([f"{path}: cannot be read: {exc}"]) from exc
        except Unparsable as exc:
            raise ConfigError([f"{path}: {exc}"]) from exc
        for section, table in document.items():
            if section not in SECTIONS:
                self._unknown(section, SECTIONS)
            elif not isinstance(table, dict):
                shown_value = MASK if isinstance(table, str | list) else _plain(table, section)
                self.problems.append(
                    f"{path}: {section} = {shown_value}: is a section; write [{section}] and its keys below"
                )
            else:
                for key, value in table.items():
                    self._take(f"{section}.{key}", value)
            if len(self.problems) > MAX_PROBLEMS:
                self.refuse_problems()

    def _take(self, path: str, value: Any) -> None:
        if path in REFUSED:
            self.problems.append(f"{self.path}: {path} is not offered: {REFUSED[path]}")
        elif path not in _FIELDS:
            self._unknown(path, _FIELDS)
        else:
            self._set(path, value, value, source=f"{self.path}:", origin="file")
        if len(self.problems) > MAX_PROBLEMS:
            self.refuse_problems()

    def refuse_problems(self) -> None:
        """Refuse the configuration if there are problems.

        Raises:
            ConfigError: There are; it has the first `MAX_PROBLEMS` of them.
        """
        if len(self.problems) > MAX_PROBLEMS:
            raise ConfigError([*self.problems[:MAX_PROBLEMS], f"{self.path}: and more, which are not told"])
        if self.problems:
            raise ConfigError(self.problems)

    def take_environment(self, env: Mapping[str, str]) -> None:
        """Take the old worker's variables that still count. An empty variable counts as unset.

        So it did in the old worker, and unit files leave such variables behind.
        """
        for name, override in environment.OVERRIDES.items():
            if text := env.get(name, "").strip():
                source = f"environment: {name}, for"
                try:
                    value = override.translate(text)
                except ValueError as exc:
                    self.problems.append(f"{source} {override.path} = {_plain(text, override.path)}: {exc}")
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
                raise msgspec.ValidationError  # noqa: TRY301 - TOML has inf and nan; no range rules nan out
        except msgspec.ValidationError:
            self.problems.append(
                f"{source} {path} = {_plain(written, path)}: allowed is {allowed_by(annotation)}"
            )
        else:
            self.values[path] = converted
            self.origins[path] = origin

    def _unknown(self, path: str, known: Mapping[str, Any]) -> None:
        """Record an unknown key, by its name alone: the value may be a secret."""
        prefix, _, name = path.partition(".") if known is _FIELDS else ("", "", path)
        siblings = [other.rpartition(".")[2] for other in known if other.rpartition(".")[0] == prefix]
        if near := difflib.get_close_matches(name[:MAX_SHOWN], siblings, n=1):
            hint = f"did you mean {path.removesuffix(name)}{near[0]}?"
        elif elsewhere := [other for other in _FIELDS if other.rpartition(".")[2] == name]:
            hint = f"did you mean {elsewhere[0]}?"
        else:
            hint = f"known are: {', '.join(siblings)}"
        self.problems.append(f"{self.path}: {_cut(path)}: unknown key; {hint}")

    def finish(self, env: Mapping[str, str]) -> Loaded:
        """Build the configuration, find its secrets and check it as a whole.

        Raises:
            ConfigError: There are problems.
        """
        self._clean_url()
        config = self._build()
        if config.asr.provider == "deepgram":
            config = self._with_secret(config, secrets.DEEPGRAM, env)
        config = self._with_secret(config, secrets.HTTP, env)
        for found in rules.problems(config):
            self.problems.append(self._line(config, found))
        self.refuse_problems()
        self.warnings += [self._line(config, found) for found in rules.doubts(config)]
        return Loaded(config, self.origins, tuple(self.warnings), self.path)

    def _clean_url(self) -> None:
        """Remove the options that the daemon decides from the Redis URL: redis-py would let the URL win."""
        if (url := self.values.get("redis.url")) is not None:
            self.values["redis.url"], taken = redis_url.cleaned(url)
            source = self._source("redis.url")
            self.warnings += [
                f"{source}: redis.url: its option {name} has no effect: the daemon sets it" for name in taken
            ]

    def _source(self, path: str) -> str:
        origin = self.origins[path]
        return origin if origin.startswith("env ") else str(self.path or "configuration")

    def _build(self) -> Config:
        tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for path, value in self.values.items():
            section, _, name = path.partition(".")
            tables[section][name] = value
        return msgspec.convert(tables, Config)

    def _with_secret(self, config: Config, spec: SecretSpec, env: Mapping[str, str]) -> Config:
        try:
            found = find(spec, value_at(config, f"{spec.path}_file"), env)
        except Unusable as exc:
            self.problems.append(str(exc))
            return config
        if found is None:
            return config
        self.origins[spec.path] = found.origin
        section, _, name = spec.path.partition(".")
        changed = msgspec.structs.replace(getattr(config, section), **{name: found.secret})
        return msgspec.structs.replace(config, **{section: changed})

    def _line(self, config: Config, found: rules.Finding) -> str:
        value = _plain(value_at(config, found.path), found.path)
        return f"{self._source(found.path)}: {found.path} = {value}: {found.reason}"


def _plain(value: Any, path: str) -> str:
    """Return a value as it was given, cut to `MAX_SHOWN` characters, with secrets masked."""
    if isinstance(value, dict):
        return "a table"
    return _cut(shown(path, value))


def _cut(text: str) -> str:
    safe = "".join(char if char.isprintable() else "?" for char in text[: MAX_SHOWN + 1])
    return safe if len(safe) <= MAX_SHOWN else f"{safe[:MAX_SHOWN]}..."
