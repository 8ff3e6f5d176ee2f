from __future__ import annotations

from typing import TYPE_CHECKING

from trio_asr.lab.rig.children import clean_environment

if TYPE_CHECKING:
    import pytest


def test_what_would_configure_a_child_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("KEPT", "1")
    environment = clean_environment({"REDIS_URL"})
    assert "REDIS_URL" not in environment
    assert environment["KEPT"] == "1"
