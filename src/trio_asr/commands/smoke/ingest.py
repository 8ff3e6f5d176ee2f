"""The smoke call's first hop: an ingest, and the caller that streams the call to it.

The caller is `trio-asr dial` in a process of its own. Secrets reach it in its environment, never as
arguments, which every user of the machine can read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import trio

from trio_asr.config import Secret
from trio_asr.config.ingest import Platform

SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
GENERIC_PATH = "/v1/ingest"


@dataclass(frozen=True)
class Ingest:
    """An ingest, and how a call is placed there.

    `url` is that of a route's WebSocket, without a user. `secret` is what the platform shows or signs with;
    with a `user` it is the password of it. `id_prefix` is the route's.
    """

    url: str = field(repr=False)
    platform: Platform = "generic"
    tenant: str = "smoke"
    id_prefix: str = ""
    user: str = ""
    secret: Secret | None = None
    key: Secret | None = None

    @property
    def health_url(self) -> str:
        """The URL of its health page, which is on the port for calls."""
        parts = urlsplit(self.url)
        return f"http{parts.scheme[2:]}://{parts.netloc}/health"

    @property
    def secrets(self) -> list[Secret]:
        """What must not be shown."""
        return [secret for secret in (self.secret, self.key) if secret is not None]

    async def place(self, call: str, audio: Path, seconds: float) -> tuple[bool, str]:
        """Play so much of a recording as a call; return whether all went well, and what became of it."""
        command = [sys.executable, "-m", "trio_asr", "dial", "--as", self.platform, "--call", call]
        command += ["--account", self.tenant, "--seconds", str(seconds)]
        command += ["--user", self.user] if self.user else []
        done = await trio.run_process(
            [*command, "--", self.url, str(audio)],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            env=os.environ | self._shown(),
        )
        said = done.stdout.decode(errors="replace").strip().splitlines()
        return done.returncode == 0, said[-1] if said else f"the caller ended with {done.returncode}"

    def _shown(self) -> dict[str, str]:
        """Return the variables that hand the secrets over."""
        named = {"TRIO_ASR_DIAL_SECRET": self.secret, "TRIO_ASR_DIAL_KEY": self.key}
        return {name: "" if secret is None else secret.reveal() for name, secret in named.items()}


def read_ingest(url: str, *, platform: Platform, tenant: str, id_prefix: str, token: str, key: str) -> Ingest:
    """Return the ingest at a URL, in which a user and a password may stand, else `token` counts.

    http stands for ws, and a URL without a path for `/v1/ingest` where the protocol is the generic one.

    Raises:
        ValueError: It is no such URL; the message does not quote it.
    """
    parts = urlsplit("")
    with suppress(ValueError):
        parts = urlsplit(url.strip())
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError("must be like wss://host/path")
    path = parts.path if parts.path.strip("/") or platform != "generic" else GENERIC_PATH
    whole = parts._replace(scheme=SCHEMES[parts.scheme], netloc=parts.netloc.rpartition("@")[2], path=path)
    secret = unquote(parts.password or "") or token
    return Ingest(
        whole.geturl(),
        platform,
        tenant,
        id_prefix,
        unquote(parts.username or ""),
        Secret(secret) if secret else None,
        Secret(key) if key else None,
    )
