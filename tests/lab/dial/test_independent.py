"""Callers are a judge of the readers only while the two have nothing in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from trio_asr.lab import dial


@pytest.mark.parametrize(
    "path", sorted(Path(str(dial.__file__)).parent.glob("*.py")), ids=lambda path: path.name
)
def test_no_caller_uses_the_ingest(path: Path) -> None:
    assert "trio_asr.ingest" not in path.read_text()
