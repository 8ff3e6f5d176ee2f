"""Fuzz one target under atheris: `python fuzz/run.py frames -max_total_time=120`.

atheris is not a dependency of the project: run `pip install atheris` first. Interesting inputs go to
fuzz/found/TARGET (not kept in git), failing ones to the current directory; `fuzz/corpus` holds the seeds.
Further arguments are libFuzzer's; a file name runs that input once.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    try:
        import atheris  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
    except ImportError:
        sys.exit("fuzz: atheris is not installed: pip install atheris")
    sys.path[:0] = [str(HERE.parent), str(HERE.parent / "src")]
    targets = ["trio_asr.core", "trio_asr.config", "trio_asr.web", "trio_asr.deepgram.websocket", "tomllib"]
    with atheris.instrument_imports(include=targets):
        from fuzz.targets import TARGETS  # noqa: PLC0415

    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz/run.py {'|'.join(TARGETS)} [libFuzzer options]")
    name, more = sys.argv[1], sys.argv[2:]
    found, seeds = HERE / "found" / name, HERE / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    again = any(Path(one).is_file() for one in more)
    inputs = [] if again else [str(folder) for folder in (found, seeds) if folder.is_dir()]
    atheris.Setup([sys.argv[0], *more, *inputs], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
