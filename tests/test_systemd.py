"""The unit that is shipped, as systemd reads it."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "systemd" / "trio-asr.service"
PROGRAM = "/opt/trio-asr/bin/trio-asr"


def settings() -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return {section: dict(parser[section]) for section in parser.sections()}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    # It looks for the program, which is not installed where tests run: any other will do.
    text = UNIT.read_text()
    assert text.count(PROGRAM) == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(PROGRAM, sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in result.stderr.splitlines() if UNIT.name in line]
    assert complaints == []
    assert result.returncode == 0, result.stderr


def test_it_says_what_the_daemon_relies_on() -> None:
    service = settings()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["WatchdogSec"]
    assert service["Restart"] == "always"
    # A refused configuration stays refused.
    assert service["RestartPreventExitStatus"] == "2"
    assert service["LoadCredential"].startswith("deepgram_api_key:")
    assert service["DynamicUser"] == "yes"


def test_a_stop_has_more_time_than_the_daemon_takes() -> None:
    service = settings()["Service"]
    # shutdown.grace_ms is 3 s by default, and the daemon may take 2 s beyond it.
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 3 + 2
