"""A certificate for the simulator, and how a worker comes to trust it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from trio_asr.lab.rig.programs import RigError


class Certificate(NamedTuple):
    """For 127.0.0.1, and its key; both are files."""

    path: Path
    key: Path

    @property
    def options(self) -> list[str]:
        """What makes the simulator use it."""
        return ["--tls-cert", str(self.path), "--tls-key", str(self.key)]

    @property
    def trust(self) -> dict[str, str]:
        """What a worker's environment needs to trust it."""
        return {"SSL_CERT_FILE": str(self.path)}


def self_signed(work: Path) -> Certificate:
    """Make one in `work`, by the `openssl` command.

    Raises:
        RigError: there is no such command, or it fails.
    """
    made = Certificate(work / "certificate.pem", work / "key.pem")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
        *("-keyout", str(made.key), "-out", str(made.path)),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise RigError(f"no certificate for wss: {error}") from error
    return made
