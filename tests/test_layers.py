"""Imports point downwards only; the pure half knows neither trio nor the clock nor any I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio_asr

SOURCE = Path(trio_asr.__file__).parent
# Ground floor first. A room imports from the floors below its own, and from no other room of its floor.
FLOORS = [
    ["wire", "config", "samples"],
    ["core", "telemetry", "client"],
    ["bus", "deepgram"],
    ["interaction", "ingest"],
    ["worker", "web"],
    ["daemon", "gateway"],
    ["commands", "cli"],
]
# Beside the house: the stand-in for Deepgram knows nothing of us, and none of us know the laboratory.
BESIDE = ["simulator", "lab"]
PURE = ["wire", "core"]
IMPURE = {"trio", "time", "socket", "threading", "asyncio", "os", "redis", "trio_websocket", "logging"}
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(SOURCE.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "trio_asr":
            yield from (f"trio_asr.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def rooms_used(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imports(path) if module.startswith("trio_asr.")}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_downwards(path: Path) -> None:
    here, used = room_of(path), rooms_used(path)
    used.discard(here)
    if here == "simulator":
        assert not used
    elif here in FLOOR:
        assert not used & set(BESIDE)
        assert all(FLOOR[room] < FLOOR[here] for room in used), f"{name(path)} imports from {used}"
    else:
        assert here in ("lab", "__init__", "__main__"), f"{here} is on no floor: give it one above"


@pytest.mark.parametrize("room", [*FLOOR, *BESIDE])
def test_every_floor_is_lived_on(room: str) -> None:
    assert (SOURCE / room).is_dir() or (SOURCE / f"{room}.py").is_file()


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in PURE], ids=name)
def test_what_decides_and_what_decodes_is_pure(path: Path) -> None:
    for module in imports(path):
        assert module.split(".")[0] not in IMPURE, f"{path.name} imports {module}"
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    assert "open" not in names


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_page_becomes_a_book(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
