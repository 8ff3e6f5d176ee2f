from __future__ import annotations

import subprocess
import sys

import click
import pytest

from trio_asr import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["trio-asr", *arguments])
    with pytest.raises(SystemExit) as outcome:
        cli.main()
    assert isinstance(outcome.value.code, int)
    return outcome.value.code


def only_command(monkeypatch: pytest.MonkeyPatch, callback: object) -> None:
    command = click.Command("thing", callback=callback)  # type: ignore[arg-type]
    monkeypatch.setattr(sys.modules[__name__], "thing", command, raising=False)
    monkeypatch.setitem(cli.COMMANDS, "thing", cli._Command(__name__, "thing", "a thing"))


def test_help_names_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"  {name} " in out


def test_help_loads_no_command() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['trio-asr', '--help']\n"
        "from trio_asr.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('trio', 'redis', 'rich', 'quart', 'structlog')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("trio-asr 0.")


def test_unknown_command_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "sevre") == 2
    assert "No such command 'sevre'" in capsys.readouterr().err


def test_an_error_is_one_line_and_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise click.ClickException("no Redis at redis://nowhere")

    only_command(monkeypatch, fail)
    assert run(monkeypatch, "thing") == 1
    assert capsys.readouterr().err == "Error: no Redis at redis://nowhere\n"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), BaseExceptionGroup("trio", [KeyboardInterrupt()])], ids=["bare", "group"]
)
def test_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def interrupted() -> None:
        raise error

    only_command(monkeypatch, interrupted)
    assert run(monkeypatch, "thing") == 130
    assert capsys.readouterr().err.endswith("Interrupted.\n")


def test_an_exit_code_of_a_command_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    only_command(monkeypatch, lambda: click.get_current_context().exit(3))
    assert run(monkeypatch, "thing") == 3


def test_a_missing_module_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "thing", cli._Command("not_there_at_all", "thing", "a thing"))
    assert run(monkeypatch, "thing") == 1
    assert "needs the module not_there_at_all" in capsys.readouterr().err
