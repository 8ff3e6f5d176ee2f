#!/usr/bin/env bash
# Builds the wheel into a folder (default dist) and checks that it works: installed into an empty environment with
# what requirements/base.txt locks, away from the source.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=${1:-dist}
python=${PYTHON:-python3}
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-deps --require-hashes -r requirements/base.txt  # the build tool is in it, too
rm -f "$dist"/trio_asr-*.whl
"$work/venv/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$dist" .
wheel=$(ls "$dist"/trio_asr-*.whl)
"$work/venv/bin/pip" install --quiet --no-deps --no-index "$wheel"

cd "$work"  # not in the checkout: imports must come from the wheel
"$work/venv/bin/pip" check
"$work/venv/bin/python" - "$wheel" <<'PY'
import email, pathlib, sys, zipfile

import trio_asr
from trio_asr.client.audio import load
from trio_asr.samples import shipped_samples

wheel = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(wheel) as archive:
    assert archive.testzip() is None
    names = archive.namelist()
    (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    about = email.message_from_bytes(archive.read(metadata))
assert about["Name"] == "trio-asr" and about["Summary"] and about["Requires-Python"], about.items()
assert about["Description-Content-Type"] == "text/markdown" and about.get_payload().strip()
for needed in ("py.typed", "bus/commit.lua", "bus/lease.lua", "samples/billing.wav"):
    assert f"trio_asr/{needed}" in names, needed
recordings = [name for name in names if name.startswith("trio_asr/samples/") and name.endswith((".wav", ".txt"))]
assert len(recordings) == 2, recordings  # what `smoke` plays; the demo's others stay in the source
strange = [name for name in names if not name.startswith(("trio_asr/", "trio_asr-"))]
assert not strange, strange
assert pathlib.Path(trio_asr.__file__).is_relative_to(sys.prefix), trio_asr.__file__
about_it = set(about.get_all("Classifier"))
assert "Typing :: Typed" in about_it and "Framework :: Trio" in about_it and about["Keywords"], about.items()
played = load(shipped_samples()[0].audio)
assert len(played) > 10 * 8000 * 2, len(played)
print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size} bytes")
PY
"$work/venv/bin/trio-asr" --help >/dev/null
ASR_PROVIDER=mock PUBSUB_ADAPTER=in_memory "$work/venv/bin/trio-asr" check >/dev/null
echo "The wheel works: $wheel"
