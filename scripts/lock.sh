#!/usr/bin/env bash
# Locks the dependencies of every use into requirements/*.txt, with hashes, for Python 3.11 and newer.
# By default it keeps locked versions that pyproject.toml allows; `--upgrade` looks for newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."

# One version of a package for all Pythons where possible: what was tested is what runs.
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-header --no-annotate pyproject.toml "$@"
}

# The full set first; the smaller sets are cut from it, so that they never disagree.
compile requirements/build.in --extra demo --extra test --extra lint --extra bench --extra dev "${@}" -o requirements/dev.txt
for name in base demo test; do
    case $name in
        base) extras=() ;;
        demo) extras=(--extra demo) ;;
        test) extras=(--extra demo --extra test) ;;
    esac
    rm -f "requirements/$name.txt"
    compile requirements/build.in "${extras[@]}" --constraint requirements/dev.txt -o "requirements/$name.txt"
done
grep -c '==' requirements/*.txt
