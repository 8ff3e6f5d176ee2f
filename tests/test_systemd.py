"""The units that are shipped, as systemd reads them, and the page that installs them."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trio_asr.config import Config
from trio_asr.config.environment import OVERRIDES
from trio_asr.gateway import LAST_S

ROOT = Path(__file__).parents[1]
PLAIN = ROOT / "systemd" / "trio-asr.service"
TEMPLATE = ROOT / "systemd" / "trio-asr@.service"
INGEST = ROOT / "systemd" / "trio-asr-ingest.service"
FLEET = ROOT / "systemd" / "trio-asr-fleet.conf"
WORKERS = pytest.mark.parametrize("unit", [PLAIN, TEMPLATE], ids=["plain", "template"])
UNITS = pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, INGEST], ids=["plain", "template", "ingest"])
# What the unit of the ingest says in its own way: its program, its secrets, and how long it takes to stop.
ITS_OWN = {"ExecStart", "ExecReload", "TimeoutStopSec", "LoadCredential", "EnvironmentFile"}
PROGRAM = "/opt/trio-asr/bin/trio-asr"
EXPOSURE = 1.1
MB = 1_000_000

ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze (Debian: systemd)")


def service(unit: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(ANALYZE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_analyze
@UNITS
def test_systemd_accepts_it(unit: Path, tmp_path: Path) -> None:
    # It looks for the program, which is not installed where tests run: any other will do.
    text = unit.read_text()
    assert text.count(PROGRAM) == 1
    copy = tmp_path / unit.name.replace("@.", "@one.")
    copy.write_text(text.replace(PROGRAM, sys.executable))
    result = analyze("verify", "--man=no", copy)
    assert [line for line in result.stderr.splitlines() if "trio-asr" in line] == []
    assert result.returncode == 0, result.stderr


@needs_analyze
@UNITS
def test_little_is_exposed(unit: Path) -> None:
    """What is left is the network, which it is there for, and the machine's own files, read only."""
    result = analyze("security", "--offline=true", "--no-pager", f"--threshold={round(EXPOSURE * 10)}", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= EXPOSURE
    assert result.returncode == 0


def test_the_template_is_the_plain_unit_but_for_the_names() -> None:
    """Two copies that drift apart would be two services."""
    head, rest = TEMPLATE.read_text().split("[Unit]\n", 1)
    assert all(line.startswith("#") for line in head.splitlines())
    for theirs, ours in ((" (%i)", ""), ("/%i.toml", "/config.toml"), ("/%i.environment", "/environment")):
        assert rest.count(theirs) == 1
        rest = rest.replace(theirs, ours)
    assert "[Unit]\n" + rest == PLAIN.read_text()
    assert "%i" not in rest


def test_the_unit_of_the_ingest_is_as_hard_as_the_worker_s() -> None:
    ours, its = service(PLAIN), service(INGEST)
    assert {name for name in ours.keys() | its.keys() if ours.get(name) != its.get(name)} == ITS_OWN
    assert its["ExecStart"] == f"{PROGRAM} ingest --config /etc/trio-asr/config.toml"
    assert "ExecReload" not in its  # a SIGHUP would end it
    assert its["LoadCredential"] == "ingest:/etc/trio-asr/ingest"


@UNITS
def test_it_says_what_the_program_relies_on(unit: Path) -> None:
    said = service(unit)
    assert said["Type"] == "notify"
    assert said["WatchdogSec"]
    assert said["Restart"] == "always"
    # A refused configuration stays refused.
    assert said["RestartPreventExitStatus"] == "2"
    assert said["DynamicUser"] == "yes"


@WORKERS
def test_it_says_what_the_daemon_relies_on(unit: Path) -> None:
    said = service(unit)
    assert said["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert said["LoadCredential"].startswith("deepgram_api_key:")


@UNITS
def test_what_it_needs_is_not_taken_away(unit: Path) -> None:
    said = service(unit)
    # Redis and Deepgram; AF_UNIX is sd_notify, systemd-resolved and a Redis at unix://.
    assert set(said["RestrictAddressFamilies"].split()) == {"AF_INET", "AF_INET6", "AF_UNIX"}
    assert "PrivateNetwork" not in said
    assert not [name for name in said if name.startswith("IPAddress")]


@WORKERS
def test_a_stop_has_more_time_than_the_daemon_takes(unit: Path) -> None:
    # The daemon may take 2 s beyond the grace, and twice a second for the bus and the lease.
    grace_s = Config().shutdown.grace_ms / 1000
    assert int(service(unit)["TimeoutStopSec"].removesuffix("s")) > grace_s + 2 + 2


def test_a_stop_has_more_time_than_the_ingest_takes() -> None:
    taken_s = Config().ingest.drain_s + LAST_S
    assert int(service(INGEST)["TimeoutStopSec"].removesuffix("s")) >= taken_s + 5


def test_memory_is_enough_for_what_the_ingest_allows() -> None:
    """70 MB, 100 KB a socket, and all the audio that may wait."""
    said, ingest = service(INGEST), Config().ingest
    bound_mb = 70 + 0.1 * ingest.max_connections + ingest.max_buffered_total_mb * 2**20 / MB
    high = int(said["MemoryHigh"].removesuffix("M")) * 2**20
    assert bound_mb * MB < 0.8 * high
    assert high < int(said["MemoryMax"].removesuffix("G")) * 2**30


@WORKERS
def test_memory_is_enough_for_what_the_configuration_allows(unit: Path) -> None:
    """50 MB, 150 KB a call, and all the audio that may wait; the alert at 80 % must stay quiet even then."""
    said, config = service(unit), Config()
    bound_mb = 50 + 0.15 * config.deepgram.max_connections + config.interaction.max_unfinalized_total_mb
    high = int(said["MemoryHigh"].removesuffix("M")) * 2**20
    assert bound_mb * MB < 0.8 * high
    assert high < int(said["MemoryMax"].removesuffix("G")) * 2**30


# -- a fleet: the template with its drop-in ------------------------------------------------------------------


def member() -> dict[str, list[str]]:
    """What the drop-in says, by name."""
    lines = [line for line in FLEET.read_text().splitlines() if "=" in line and not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for name, _, value in (line.partition("=") for line in lines):
        found.setdefault(name, []).append(value)
    return found


@needs_analyze
def test_systemd_accepts_a_member(tmp_path: Path) -> None:
    unit = tmp_path / "trio-asr@1.service"
    head, tail = TEMPLATE.read_text().split("\n[Install]\n")
    text = f"{head}\n{FLEET.read_text()}\n[Install]\n{tail}"
    unit.write_text(text.replace(PROGRAM, sys.executable))
    result = analyze("verify", "--man=no", unit)
    assert [line for line in result.stderr.splitlines() if "trio-asr" in line] == []
    assert result.returncode == 0, result.stderr


def test_a_member_has_a_name_and_a_port_of_its_own() -> None:
    said = member()
    assert said["ExecStart"] == ["", f"{PROGRAM} serve --config /etc/trio-asr/config.toml"]
    assert said["Environment"] == ["TRIO_ASR_MEMBER=%H-%i", "PORT=301%i"]
    assert {one.partition("=")[0] for one in said["Environment"]} <= OVERRIDES.keys()


def test_a_member_has_the_time_to_hand_over() -> None:
    config = Config()
    taken_s = config.fleet.drain_s + config.shutdown.grace_ms / 1000 + 2 + 2
    assert int(member()["TimeoutStopSec"][0].removesuffix("s")) > taken_s


def test_memory_is_enough_for_a_member() -> None:
    said, config = member(), Config()
    bound_mb = 50 + 0.15 * config.fleet.capacity + config.interaction.max_unfinalized_total_mb * 2**20 / MB
    high = int(said["MemoryHigh"][0].removesuffix("G")) * 2**30
    assert bound_mb * MB < 0.8 * high
    assert high < int(said["MemoryMax"][0].removesuffix("M")) * 2**20


def test_the_page_installs_the_drop_in_and_asks_the_port_of_its_instance() -> None:
    text = commands((ROOT / "docs" / "fleet.md").read_text().partition("\n## systemd\n")[2])
    assert f"/etc/systemd/system/{TEMPLATE.name}.d/" in text
    assert "trio-asr@1 " in text
    assert ":3011/" in text


def commands(page: str) -> str:
    """The first block of commands of a page, or of a part of one."""
    block = next(part for part in page.split("\n\n") if part.startswith("    "))
    lines = block.splitlines()
    assert all(line.startswith("    ") for line in lines)
    assert len(lines) <= 10
    for path in re.findall(r"(?<!/)\b(?:requirements|systemd)/[\w@.-]+", block):
        assert (ROOT / path).is_file(), path
    return block


def test_the_page_installs_what_is_there_and_where_the_units_expect_it() -> None:
    text = commands((ROOT / "docs" / "install.md").read_text())
    for path in ("/opt/trio-asr", "/etc/trio-asr/config.toml", "/etc/trio-asr/deepgram_api_key"):
        assert path in text
        assert path in PLAIN.read_text()
    assert "--require-hashes" in text
    assert "systemctl enable --now trio-asr" in text


def test_the_page_installs_the_ingest_where_its_unit_expects_it() -> None:
    part = (ROOT / "docs" / "install.md").read_text().partition("\n## The ingest\n")[2]
    text, unit = commands(part), INGEST.read_text()
    assert "/etc/trio-asr/ingest" in text
    assert "/etc/trio-asr/ingest" in unit
    # Where the credentials are, as the page and the unit say it.
    named = f"/run/credentials/{INGEST.name}/ingest_NAME"
    assert named in part
    assert named in unit
    assert "systemctl enable --now trio-asr-ingest" in text
