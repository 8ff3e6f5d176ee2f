"""A certificate for the simulator, and how a worker comes to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trio_asr.client.audio import INSTALL_DEMO
from trio_asr.lab.rig.programs import RigError


class Certificate(NamedTuple):
    """A certificate for 127.0.0.1 with its key, and the authority that issued it, both as files."""

    path: Path
    authority: Path

    @property
    def options(self) -> list[str]:
        """The simulator's command-line options that use it."""
        return ["--tls-cert", str(self.path)]

    @property
    def trust(self) -> dict[str, str]:
        """The environment variables that make a worker trust it."""
        return {"SSL_CERT_FILE": str(self.authority)}


def certificate(work: Path) -> Certificate:
    """Issue a certificate into the directory `work`.

    Raises:
        RigError: The package trustme is not installed.
    """
    try:
        import trustme  # noqa: PLC0415 (for wss only)
    except ImportError:
        raise RigError(f"certificates for wss are made by trustme, {INSTALL_DEMO}") from None
    made = Certificate(work / "certificate.pem", work / "authority.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(made.authority))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(made.path))
    return made
