"""Loading: from a file and an environment to a configuration with its origins, or to one list of problems."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trio_asr.config import environment, redis_url, route_rules, route_secrets, rules, secrets
from trio_asr.config.allowed import accepted, allowed_by, hint_for, refused_in
from trio_asr.config.reading import Unparsable, Unreadable, parse, read
from trio_asr.config.rules import REFUSED
from trio_asr.config.secrets import MASK, SecretSpec, Unusable, find
from trio_asr.config.sections import ROUTES, SECTIONS, Config, keys, route_keys, value_at
from trio_asr.config.showing import cut, plain

# Read when no file is named and this one exists. It is where the systemd unit looks.
SYSTEM_FILE = Path("/etc/trio-asr/config.toml")
MAX_FILE_BYTES = 256 * 1024  # a file with every key and comment has 20 KB

MAX_PROBLEMS = 50  # problems that are reported; a file with more is not a configuration
_KEYS = dict(keys())
_ROUTE_KEYS = dict(route_keys())
_FIELDS = _KEYS | _ROUTE_KEYS
_NUMBER = re.compile(rf"(?<=^{re.escape(ROUTES)})\.(\d+)(?=\.)")


class ConfigError(Exception):
    """An unusable configuration. `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where it came from.

    `origins` maps each key path to `default`, `file` or `env NAME`, or for a secret to its file. The paths of
    routes are numbered from 1, as in `ingest.route.1.path`.
    """

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    path: Path | None


def load(
    path: Path | None, env: Mapping[str, str], *, system_file: Path = SYSTEM_FILE, ingest: bool = False
) -> Loaded:
    """Read `path` (or `system_file` if that exists), then the environment, which wins.

    With `ingest` it is for `trio-asr ingest`: its variables count, its section is checked as a whole, the
    secrets of its routes are read, and no API key of Deepgram is needed. Without, its keys are only parsed.

    It blocks: files are read.

    Raises:
        ConfigError: The configuration is unusable. Each of its problems names the source, the key, the value
            and what is allowed.
    """
    try:
        if path is None and _is_there(system_file):
            path = system_file
        loader = _Loader(path, ingest=ingest)
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


class _Loader:
    """One load: the values found so far, their origins, and what is wrong with them."""

    def __init__(self, path: Path | None, *, ingest: bool) -> None:
        self.path = path
        self.ingest = ingest
        self.values: dict[str, Any] = {}
        self.routes: list[str] = []  # their paths, as given
        self.origins: dict[str, str] = dict.fromkeys(_KEYS, "default")
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
                shown_value = MASK if isinstance(table, str | list) else plain(table, section)
                self.problems.append(
                    f"{path}: {section} = {shown_value}: is a section; write [{section}] and its keys below"
                )
            else:
                for key, value in table.items():
                    if f"{section}.{key}" == ROUTES:
                        self._take_routes(value)
                    else:
                        self._take(f"{section}.", key, value)
            if len(self.problems) > MAX_PROBLEMS:
                self.refuse_problems()

    def _take_routes(self, tables: Any) -> None:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.problems.append(
                f"{self.path}: {ROUTES} is a list of tables: write [[{ROUTES}]] and the keys of one below"
            )
            return
        for number, table in enumerate(tables, 1):
            path = table.get("path")
            self.routes.append(plain(path, "") if isinstance(path, str) else "without path")
            prefix = f"{ROUTES}.{number}."
            self.origins |= {f"{prefix}{_last(key)}": "default" for key in _ROUTE_KEYS}
            for key, value in table.items():
                self._take(prefix, key, value)
            for key, field in _ROUTE_KEYS.items():
                if field.required and _last(key) not in table:
                    label = self._label(f"{prefix}{_last(key)}")
                    self.problems.append(
                        f"{self.path}: {label} is missing: allowed is {allowed_by(field.type)}"
                    )

    def _take(self, prefix: str, key: str, value: Any) -> None:
        path = prefix + (f'"{key}"' if "." in key else key)
        if (reason := REFUSED.get(_unnumbered(path))) is not None:
            self.problems.append(f"{self.path}: {self._label(path)} is not offered: {reason}")
        elif _unnumbered(path) not in _FIELDS:
            self._unknown(path, _FIELDS)
        else:
            self._set(path, value, value, source=f"{self.path}:", origin="file")
        if len(self.problems) > MAX_PROBLEMS:
            self.refuse_problems()

    def _label(self, path: str) -> str:
        """Return a key path for people: one of a route has the route's number and path in it."""
        if (found := _NUMBER.search(path)) is None:
            return path
        return f"{ROUTES} {found[1]} ({self.routes[int(found[1]) - 1]}): {path[found.end() + 1 :]}"

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
        """Take the old programs' variables that still count. An empty variable counts as unset.

        So it did in the old worker, and unit files leave such variables behind.
        """
        for name, override in environment.overrides(ingest=self.ingest).items():
            if text := env.get(name, "").strip():
                source = f"environment: {name}, for"
                try:
                    value = override.translate(text)
                except ValueError as exc:
                    self.problems.append(f"{source} {override.path} = {plain(text, override.path)}: {exc}")
                else:
                    self._set(override.path, value, text, source=source, origin=f"env {name}", strict=False)
        self.warnings += environment.retired_in(env, ingest=self.ingest)

    def _set(
        self, path: str, value: Any, written: Any, *, source: str, origin: str, strict: bool = True
    ) -> None:
        annotation = _FIELDS[_unnumbered(path)].type
        try:
            self.values[path] = accepted(value, annotation, strict=strict)
            self.origins[path] = origin
        except msgspec.ValidationError:
            line = f"{source} {self._label(path)} = {plain(written, path)}: "
            if (name := refused_in(value, annotation)) is not None:
                line += f"{cut(name)!r} cannot be used: "  # without its value: that may be a secret
            self.problems.append(f"{line}allowed is {allowed_by(annotation)}")

    def _unknown(self, path: str, known: Mapping[str, Any]) -> None:
        """Record an unknown key, by its name alone: the value may be a secret."""
        label, prefix, name = path, "", path
        if known is _FIELDS:
            label, path = self._label(path), _unnumbered(path)
            prefix = ROUTES if path.startswith(f"{ROUTES}.") else path.partition(".")[0]
            name = path.removeprefix(f"{prefix}.")
        hint = hint_for(name, prefix, known, _FIELDS)
        self.problems.append(f"{self.path}: {cut(label)}: unknown key; {hint}")

    def finish(self, env: Mapping[str, str]) -> Loaded:
        """Build the configuration, find its secrets and check it as a whole.

        Raises:
            ConfigError: There are problems.
        """
        self._clean_url()
        config = self._build()
        if self.ingest:
            found = route_secrets.find_all(config.ingest, env, self._label)
            config = msgspec.structs.replace(config, ingest=found.ingest)
            self.origins |= found.origins
            self.problems += found.problems
        elif config.asr.provider == "deepgram":
            config = self._with_secret(config, secrets.DEEPGRAM, env)
        config = self._with_secret(config, secrets.HTTP, env)
        apart = route_rules.problems(config.ingest) if self.ingest else rules.worker_problems(config)
        self.problems += [self._line(config, one) for one in (*rules.problems(config), *apart)]
        self.refuse_problems()
        doubts = route_rules.doubts(config.ingest) if self.ingest else rules.doubts(config)
        self.warnings += [self._line(config, one) for one in doubts]
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
        origin = self.origins.get(path, "file")
        return origin if origin.startswith("env ") else str(self.path or "configuration")

    def _build(self) -> Config:
        tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        routes: list[dict[str, Any]] = [{} for _ in self.routes]
        for path, value in self.values.items():
            table, _, name = path.rpartition(".")
            found = _NUMBER.search(path)
            (tables[table] if found is None else routes[int(found[1]) - 1])[name] = value
        tables["ingest"]["route"] = routes
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
        value = plain(value_at(config, found.path), found.path)
        return f"{self._source(found.path)}: {self._label(found.path)} = {value}: {found.reason}"


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _unnumbered(path: str) -> str:
    """Return a key path as the list of keys has it, without the number of a route."""
    return _NUMBER.sub("", path)
