"""Imports point downwards only; the pure half knows neither trio nor the clock nor any I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "trio_asr":
            yield from (f"trio_asr.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def rooms_used(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imports(path) if module.startswith("trio_asr.")}


def allowed_to(room: str) -> set[str]:
    if room == "simulator":
        return set()
    if room in FLOOR:
        return {below for below, floor in FLOOR.items() if floor < FLOOR[room]}
    return {*FLOOR, *BESIDE}


def test_every_room_is_on_a_floor() -> None:
    assert {*map(room_of, MODULES)} == {*FLOOR, *BESIDE, "__init__", "__main__"}


def test_imports_point_downwards() -> None:
    wrong = {
        name(path): rooms_used(path) - {here} - allowed_to(here)
        for path in MODULES
        if (here := room_of(path))
    }
    assert {path: rooms for path, rooms in wrong.items() if rooms} == {}


def test_what_decides_and_what_decodes_is_pure() -> None:
    wrong = []
    for path in MODULES:
        if room_of(path) in PURE:
            wrong += [f"{name(path)} imports {one}" for one in imports(path) if one.split(".")[0] in IMPURE]
            names = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
            wrong += [f"{name(path)} opens files"] * ("open" in names)
    assert wrong == []


def test_no_page_becomes_a_book() -> None:
    assert [name(path) for path in MODULES if len(path.read_text().splitlines()) > 300] == []
