#!/usr/bin/env bash
# Synthesises the calls in src/trio_asr/samples/*.txt again: one line per turn, agent and customer alternating.
# Needs flite (voices slt and rms) and sox, as Debian packages them.
set -euo pipefail
cd "$(dirname "$0")/../src/trio_asr/samples"

for tool in flite sox; do
    command -v "$tool" >/dev/null || { echo "make_samples.sh: $tool is not installed" >&2; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

voices=(slt rms)
for text in *.txt; do
    parts=()
    turn=0
    while IFS= read -r line; do
        part="$work/${text%.txt}-$turn.wav"
        flite -voice "${voices[turn % 2]}" -t "$line" -o "$work/spoken.wav"
        # Phone bandwidth and level; a short silence before the other one answers. No dither: the same
        # text gives the same bytes.
        sox -D "$work/spoken.wav" -r 8000 -b 16 -c 1 "$part" norm -6 pad 0.05 0.45
        parts+=("$part")
        turn=$((turn + 1))
    done <"$text"
    sox -D "${parts[@]}" "${text%.txt}.wav"
    echo "${text%.txt}.wav: $(soxi -d "${text%.txt}.wav"), $(stat -c %s "${text%.txt}.wav") bytes"
done
