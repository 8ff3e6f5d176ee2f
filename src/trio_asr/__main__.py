"""``python -m trio_asr`` is the same as the ``trio-asr`` command."""

from trio_asr.cli import main

if __name__ == "__main__":
    main()
