"""Where another version's program is found, and that a worker runs that one and no other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import trio

from trio_asr.lab.rig.processes import Worker
from trio_asr.lab.rig.versions import OURS, Version, version_at

SERVE = "import sys; print('another', *sys.argv[1:3], flush=True); sys.exit(7)\n"


def checkout(at: Path) -> Path:
    """Make the `src` of a version that says its arguments and ends with 7."""
    package = at / "src" / "trio_asr"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(SERVE)
    return at / "src"


def test_a_checkout_runs_on_our_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert version_at(Path("src")) == version_at(source) == Version(sys.executable, str(source))


def test_an_environment_and_its_interpreter_run_what_is_installed_there(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    assert version_at(tmp_path) == version_at(python) == Version(str(python), "")
    assert version_at(python).command("serve") == [str(python), "-m", "trio_asr", "serve"]


@pytest.mark.parametrize("kind", ["a folder", "a file", "nothing"])
def test_what_is_no_version(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    if kind == "a folder":
        place.mkdir()
    elif kind == "a file":
        place.touch()
    with pytest.raises(ValueError, match=r"place is no checkout's src, virtual environment or interpreter"):
        version_at(place)


@pytest.mark.integration
async def test_a_worker_runs_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever module path this process has."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "src"))
    version = version_at(checkout(tmp_path))
    config = tmp_path / "worker.toml"
    worker = Worker("worker", config, dict(os.environ), tmp_path / "worker.log", 1, version=version)
    with trio.fail_after(60):
        await worker.start()
        assert await worker.ended(60) == 7
    assert worker.output() == "another serve --config\n"
    config.write_text("[")
    ours = Worker("ours", config, dict(os.environ), tmp_path / "ours.log", 1, version=OURS)
    with trio.fail_after(60):
        await ours.start()
        assert await ours.ended(60) == 2
