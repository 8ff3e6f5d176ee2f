"""The `trio-asr` command, also as `python -m trio_asr`."""

import sys

from trio_asr.commands import early


def main() -> None:
    """Run the command line, once the process is fit for it."""
    early.prepare(sys.argv[1:])
    from trio_asr.cli import main as command  # noqa: PLC0415 - see `early`

    command()


if __name__ == "__main__":
    main()
