#!/usr/bin/env bash
# Prepares .venv for one use and installs this checkout into it, editable:
#
#     scripts/setup.sh demo|test|dev
#
# Needs Python 3.11 or newer with pip; nothing else. Installs exactly what requirements/<use>.txt locks, by hash.
# A second run finds the stamp of the first and does nothing. TRIO_ASR_VENV puts the environment elsewhere, PYTHON
# chooses its interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

use=${1:-}
case $use in
    demo) covers=(demo test dev) ;;
    test) covers=(test dev) ;;
    dev) covers=(dev) ;;
    *) echo "usage: scripts/setup.sh demo|test|dev" >&2; exit 2 ;;
esac
venv=${TRIO_ASR_VENV:-.venv}
log=$venv/setup.log

say() { printf '%s\n' "$*" >&2; }
fail() { say "setup: $*"; exit 1; }

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null && recent_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer found. Install one, or name it: PYTHON=/path/to/python $0 $use"
}

# What the environment depends on: the lock, the project's metadata, and the place of the checkout.
stamp() { cat "requirements/$1.txt" pyproject.toml <(pwd) | cksum; }

up_to_date() {
    local set
    recent_enough "$venv/bin/python" || return 1
    for set in "${covers[@]}"; do
        if [[ -f $venv/.stamp-$set && $(stamp "$set") == "$(<"$venv/.stamp-$set")" ]]; then return 0; fi
    done
    return 1
}

make_venv() {
    local python
    python=$(find_python)
    say "Creating $venv with $("$python" --version) ..."
    if "$python" -m venv --clear "$venv" >/dev/null 2>&1; then return; fi
    # Debian packages what `venv` needs for pip separately; the system's pip can do the work.
    "$python" -m pip --version >/dev/null 2>&1 \
        || fail "$python has neither venv nor pip. On Debian or Ubuntu: apt install python3-venv"
    "$python" -m venv --clear --without-pip "$venv" || fail "$python cannot create a virtual environment"
    printf '%s\n' "$python" >"$venv/.outer-python"
}

pip() {
    local python=$venv/bin/python
    if [[ -f $venv/.outer-python ]]; then
        "$(<"$venv/.outer-python")" -m pip --python "$python" "$@"
    else
        "$python" -m pip "$@"
    fi
}

# Turns pip's output into a counter: one changing line in a terminal, every tenth package elsewhere.
progress() {
    local total=$1 count=0 line name
    while IFS= read -r line; do
        case $line in
            Collecting\ * | Processing\ *.whl*) # the latter where wheels lie on this machine
                count=$((count + 1))
                name=${line#* }
                name=${name%% *}
                name=${name##*/}
                if [[ -t 2 ]]; then
                    printf '\r\033[K  [%d/%d] %s' "$count" "$total" "$name" >&2
                elif ((count % 10 == 0)); then
                    say "  [$count/$total] $name"
                fi
                ;;
            Installing\ collected\ packages*)
                if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
                say "  unpacking ..."
                ;;
        esac
    done
}

install() {
    local total
    total=$(grep -c '==' "requirements/$use.txt")
    say "Installing what '$use' needs into $venv: up to $total packages, some hundred MB, a minute or two ..."
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
    # The lock is complete, and an older pip that resolves an extra (hypercorn[trio]) would install what is not in it.
    if ! pip install --no-deps --require-hashes -r "requirements/$use.txt" 2>&1 | tee "$log" | progress "$total"; then
        tail -n 15 "$log" >&2
        fail "pip could not install the requirements (all it said: $log)"
    fi
    # The build tool is locked too: nothing is downloaded here.
    if ! pip install --no-deps --no-build-isolation --editable . >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "the project itself could not be installed (all pip said: $log)"
    fi
}

if up_to_date; then exit 0; fi
if ! recent_enough "$venv/bin/python" || ! pip --version >/dev/null 2>&1; then make_venv; fi
install
stamp "$use" >"$venv/.stamp-$use"
say "Ready."
