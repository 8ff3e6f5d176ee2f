"""The memory limit as control groups give it, and the process where /proc shows processes only."""

import os
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from trio_asr.telemetry.process import Process, memory_limit_bytes

THERE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def group(root: Path, path: str, **limits: str) -> None:
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    for name, limit in limits.items():
        (directory / f"memory.{name}").write_text(limit + "\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own"
    path.write_text("0::/system.slice/trio-asr.service\n")
    return path


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path, own: Path) -> None:
    group(tmp_path, "system.slice/trio-asr.service", high="max", max="900000")
    assert memory_limit_bytes(tmp_path, own) == 900_000
    group(tmp_path, "system.slice", high="max", max="800000")
    assert memory_limit_bytes(tmp_path, own) == 800_000
    group(tmp_path, "system.slice/trio-asr.service", high="700000")
    assert memory_limit_bytes(tmp_path, own) == 700_000


def test_without_limits_it_is_the_machines_memory(tmp_path: Path, own: Path) -> None:
    group(tmp_path, "system.slice/trio-asr.service", high="max", max="max")
    assert memory_limit_bytes(tmp_path, own) == THERE
    assert memory_limit_bytes(tmp_path / "nowhere", own) == THERE
    assert memory_limit_bytes(tmp_path, tmp_path / "nowhere") == THERE
    own.write_text("3:memory:/other\n")  # control groups of the first kind
    assert memory_limit_bytes(tmp_path, own) == THERE


def test_the_process_is_seen_without_proc_stat(tmp_path: Path) -> None:
    """The unit's ProcSubset=pid leaves the folders of processes only."""
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "self").symlink_to(f"/proc/{os.getpid()}")
    registry = CollectorRegistry()
    Process(proc=str(proc), registry=registry)
    assert registry.get_sample_value("process_resident_memory_bytes")
    assert registry.get_sample_value("process_open_fds")
    started = registry.get_sample_value("process_start_time_seconds")
    assert started is not None
    assert started <= time.time() + 1
    assert time.time() - started < 24 * 3600
