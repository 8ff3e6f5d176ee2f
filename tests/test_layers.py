"""Imports point downwards only; the pure half knows neither trio nor the clock nor any I/O."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trio_asr

SOURCE = Path(trio_asr.__file__).parent
# From the bottom up. A module may import from its own layer and from those below.
LAYERS = [
    {"background", "core", "early", "labels", "tallies", "machine", "waiting", "past"},
    {"config", "deadlines", "families", "logs", "metrics", "notify", "stream", "tls", "troubles", "samples"},
    {"away", "border", "bus", "guard", "places", "provider", "internal"},
    {"deepgram", "mock", "committer", "connections", "migration"},
    {"services", "conversation"},
    {"account", "flusher", "sender"},
    {"interaction"},
    {"slots", "shares", "stored", "restarts", "positions"},
    {"calls"},
    {"restoring", "catchup", "dispatcher", "housekeeping"},
    {"web"},
    {"daemon"},
    {"config_command", "serve_command"},
    {"cli"},
    {"__main__"},
]
# Beside the daemon: it knows nothing of them. The tools may use what is documented, and the simulator.
BESIDE = {"simulator", "tools"}
IMPURE = {"trio", "time", "socket", "threading", "asyncio", "os", "redis", "trio_websocket", "logging"}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "trio_asr"}
    return found


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def level(name: str) -> int | None:
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_downwards(path: Path) -> None:
    relative = path.relative_to(SOURCE)
    here = relative.parts[0].removesuffix(".py")
    if here in BESIDE or here == "__init__":
        return
    assert level(here) is not None, f"{relative} is in no layer: give it one above"
    for module in imports(path):
        name = room(module)
        if module.startswith("trio_asr.") and name:
            # The command line loads its commands by name; nothing else reaches beside.
            assert name not in BESIDE, f"{relative} imports {module}"
            there = level(name)
            assert there is not None
            assert there <= (level(here) or 0), f"{relative} imports {module}, which is above it"


@pytest.mark.parametrize("path", sorted((SOURCE / "core").glob("*.py")), ids=lambda path: path.stem)
def test_the_core_is_pure(path: Path) -> None:
    for module in imports(path):
        assert module.split(".")[0] not in IMPURE, f"{path.name} imports {module}"
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "open" not in names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_page_becomes_a_book(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
