"""Checks of this machine: the configuration, its files, the port, limits, the service manager."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import trio

from trio_asr.client.http import get
from trio_asr.commands.doctor.findings import Report, threaded
from trio_asr.config import Config, ConfigError, Loaded, load, secrets
from trio_asr.config.ingest import SECRETS
from trio_asr.config.secrets import mask_path
from trio_asr.config.sections import ROUTES, keys, value_at
from trio_asr.telemetry.systemd import Notifier

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 (nothing listens on them here)
DESCRIPTORS_A_CALL, DESCRIPTORS_BESIDE = 2, 64


def read_config(
    path: Path | None, env: Mapping[str, str], *, ingest: bool = False
) -> tuple[Loaded | None, list[str]]:
    """Return the configuration and its problems, or None for it if it is unusable.

    Where only the API key is missing, or with `ingest` only something of the ingest's is wrong, it is loaded
    as for a worker with the mock: the rest can still be checked.
    """
    try:
        return load(path, env, ingest=ingest), []
    except ConfigError as error:
        problems = error.problems
    try:
        return load(path, {**env, "ASR_PROVIDER": "mock"}), problems
    except ConfigError:
        return None, problems


class Local:
    """The checks of this machine."""

    def __init__(
        self, env: Mapping[str, str], loaded: Loaded | None, problems: list[str], *, ingest: bool = False
    ) -> None:
        self._env, self._loaded, self._problems, self._ingest = env, loaded, problems, ingest
        self.config = threaded(self._config)
        self.files = threaded(self._files)
        self.limits = threaded(self._limits)
        self.notify = threaded(self._notify)

    def _config(self, report: Report) -> None:
        check = "trio-asr check --ingest" if self._ingest else "trio-asr check"
        for problem in self._problems:
            report.fail("config", problem, f"the process ends with exit code 2; see `{check}`")
        if self._loaded is None or self._problems:
            return
        origins = list(self._loaded.origins.values())
        by_env = sum(origin.startswith("env ") for origin in origins)
        report.ok(
            "config",
            f"usable: file {self._loaded.path or 'none'}, {origins.count('file')} keys from it, {by_env} "
            f"from the environment (`{check}` shows all)",
        )
        for warning in self._loaded.warnings:
            report.warn("config", warning)

    def _files(self, report: Report) -> None:
        if self._loaded is None:
            return
        if self._loaded.path is not None:
            holds_password = "@" in self._loaded.config.redis.url and (
                self._loaded.origins["redis.url"] == "file"
            )
            _look_at(self._loaded.path, report, secret=holds_password, what="a password")
        files = _route_files if self._ingest else _secret_files
        for name, file in files(self._loaded.config, self._env):
            _look_at(file, report, secret=True, what=f"the secret of {name}")

    def _limits(self, report: Report) -> None:
        if self._loaded is None:
            return
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        config = self._loaded.config
        name, most, each = "deepgram.max_connections", config.deepgram.max_connections, DESCRIPTORS_A_CALL
        if self._ingest:
            name, most, each = "ingest.max_connections", config.ingest.max_connections, 1
        needed = most * each + DESCRIPTORS_BESIDE
        says = f"{soft} open files allowed here, {needed} wanted for {name} = {most}"
        if soft == resource.RLIM_INFINITY or soft >= needed:
            report.ok("open files", says)
        else:
            report.warn("open files", says, "raise LimitNOFILE= of the unit, or `ulimit -n`")

    def _notify(self, report: Report) -> None:
        name = self._env.get("NOTIFY_SOCKET", "")
        if not name:
            report.ok("service manager", "no NOTIFY_SOCKET here: not started by systemd")
            return
        with Notifier(self._env) as notifier:
            watchdog, usable = notifier.watchdog_interval_s, notifier.enabled
        for remark in notifier.remarks:
            (report.warn if usable else report.fail)("service manager", remark)
        if not usable:
            return
        if name.startswith("/") and not Path(name).is_socket():
            report.fail("service manager", f"NOTIFY_SOCKET={name}: there is no socket")
            return
        every = f", watchdog fed every {watchdog:g} s" if watchdog else ", no watchdog"
        report.ok("service manager", f"notified at {name}{every}")

    async def port(self, report: Report) -> None:
        """Check the HTTP port: it is free, a worker's, or another program's."""
        if self._loaded is None:
            return
        http = self._loaded.config.http
        if http.port == 0:
            report.ok("http", "http.port = 0: any free port")
            return
        status, body = await get(http.port, "/health", reachable(http.host))
        if status:
            _judge_page(report, http.port, status, body)
            return
        reason = await trio.to_thread.run_sync(cannot_bind, http.host, http.port)
        if reason:
            report.fail("http", f"cannot listen on {http.host}, port {http.port}: {reason}")
        else:
            report.ok("http", f"port {http.port} is free: no worker runs with this configuration here")


def _judge_page(report: Report, port: int, status: int, body: str) -> None:
    try:
        page = json.loads(body)
        service, role, state = page["service"], page.get("role"), page["status"]
    except (ValueError, KeyError, TypeError):
        report.fail("http", f"port {port} is taken by something that is no worker", "set http.port (PORT)")
        return
    says = f"a worker answers on port {port}: {service}, role {role}, status {state}"
    if role is None:
        report.fail("http", f"port {port} is taken by {service}, not trio-asr", "stop it, or set http.port")
    elif status != 200:
        report.fail("http", f"{says}: {page.get('problems')}", "see /ready, and its log")
    else:
        report.ok("http", says)


def reachable(host: str) -> str:
    """Return where to reach what listens on `host`."""
    return "127.0.0.1" if host in EVERYWHERE else host


def cannot_bind(host: str, port: int) -> str:
    """Return why nothing could listen there, or "" if it could. Blocks for the name's lookup."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _secret_files(config: Config, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield every secret file that a key of the worker names, and the credentials that systemd passes."""
    for path, field in keys():
        ours = not path.startswith("ingest.")
        if ours and field.name.endswith("_file") and (value := value_at(config, path)):
            yield path, Path(value)
    if directory := env.get("CREDENTIALS_DIRECTORY"):
        for spec in (secrets.DEEPGRAM, secrets.HTTP):
            credential = Path(directory) / spec.credential
            if credential.exists():
                yield spec.path, credential


def _route_files(config: Config, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield every secret file that the ingest reads; `env` names none."""
    del env
    if config.ingest.tls_key_file is not None:
        yield "ingest.tls_key_file", Path(config.ingest.tls_key_file)
    for number, route in enumerate(config.ingest.route, 1):
        for spec in SECRETS:
            file = getattr(route, f"{spec.name}_file")
            if file is not None and spec.name != "public_key":
                yield f"{ROUTES}.{number}.{spec.name}", Path(file)


def _look_at(file: Path, report: Report, *, secret: bool, what: str) -> None:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError as error:
        # The secret itself may have been put where its file belongs.
        report.fail("files", f"{mask_path(str(file)) if secret else file}: {error.strerror}")
        return
    says = f"{file}: mode {mode:04o}"
    if mode & stat.S_IWOTH:
        report.fail("files", f"{says}: anybody may change it", f"chmod o-w {file}")
    elif secret and mode & stat.S_IROTH:
        report.warn("files", f"{says}: anybody may read {what}", f"chmod o-r {file}")
    elif not os.access(file, os.R_OK):
        report.warn("files", f"{says}: not readable for this user", "run the doctor as the daemon's user")
    else:
        report.ok("files", says)
