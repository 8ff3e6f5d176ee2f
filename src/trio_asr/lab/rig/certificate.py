"""A certificate for the simulator, and how a worker comes to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from trio_asr.client.audio import INSTALL_DEMO
from trio_asr.lab.rig.programs import RigError


class Certificate(NamedTuple):
    """For 127.0.0.1, with its key, and the authority that it is from; both are files."""

    path: Path
    authority: Path

    @property
    def options(self) -> list[str]:
        """What makes the simulator use it."""
        return ["--tls-cert", str(self.path)]

    @property
    def trust(self) -> dict[str, str]:
        """What a worker's environment needs to trust it."""
        return {"SSL_CERT_FILE": str(self.authority)}


def certificate(work: Path) -> Certificate:
    """Make one in `work`.

    Raises:
        RigError: what makes them is not installed.
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
