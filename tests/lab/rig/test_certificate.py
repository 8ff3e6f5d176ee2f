from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from trio_asr.lab.rig.certificate import certificate
from trio_asr.lab.rig.programs import RigError


def test_it_is_usable_as_the_simulator_and_a_worker_use_it(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(made.path)
    ssl.create_default_context(cafile=str(made.authority))


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(RigError, match="trustme, in the extra 'demo'"):
        certificate(tmp_path)
