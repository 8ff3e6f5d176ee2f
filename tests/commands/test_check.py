"""`trio-asr check`: the effective configuration with its origins, or what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result
from tests.config.helpers import KEY

from trio_asr.commands import check
from trio_asr.config import load
from trio_asr.config.environment import OLD_VARIABLES


def run_check(*arguments: str, env: dict[str, str] | None = None) -> Result:
    clean = dict.fromkeys([*OLD_VARIABLES, "CREDENTIALS_DIRECTORY"])
    return CliRunner(env=clean | (env or {})).invoke(check.check, arguments)


def test_check_prints_a_config_file_with_origins(tmp_path: Path) -> None:
    file = tmp_path / "trio.toml"
    file.write_text('[deepgram]\nkeyterm = ["a \\"b\\""]\nmodel = "nova-3"\n')
    result = run_check("--config", str(file), env=KEY | {"PORT": "1", "LOG_LEVEL": "debug"})
    assert result.exit_code == 0
    assert re.search(r"^port = 1 +# env PORT$", result.stdout, re.MULTILINE)
    assert re.search(r'^model = "nova-3" +# file$', result.stdout, re.MULTILINE)
    assert re.search(r"^# the API key is \*\*\* +# env DEEPGRAM_API_KEY$", result.stdout, re.MULTILINE)
    assert KEY["DEEPGRAM_API_KEY"] not in result.output
    assert "Warning: environment: LOG_LEVEL is not read: set log.level" in result.stderr
    # What it prints can be used as a file, and means the same.
    again = tmp_path / "again.toml"
    again.write_text(result.stdout)
    assert load(again, KEY).config == load(file, KEY | {"PORT": "1"}).config


def test_check_exits_with_2_and_says_why(tmp_path: Path) -> None:
    result = run_check("--config", str(tmp_path / "none.toml"))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "cannot be read" in result.stderr
