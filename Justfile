# Daily work. `just` lists the recipes; `just setup` comes first (without just: scripts/setup.sh dev).

venv := env("TRIO_ASR_VENV", ".venv")
bin := venv / "bin"

[private]
default:
    @just --list --unsorted

# Make .venv ready for development
setup:
    scripts/setup.sh dev

# Show the daemon at work on recorded calls
demo *ARGS:
    scripts/demo.sh {{ARGS}}

# Run all tests
test *ARGS:
    scripts/test.sh {{ARGS}}

# Run the tests that take long: hours on a jumping clock, thousands of calls
soak *ARGS:
    scripts/test.sh --soak {{ARGS}}

# Run the tests of one folder or file below tests/, e.g. `just suite core`
suite NAME *ARGS:
    scripts/test.sh tests/{{NAME}} {{ARGS}}

# Run the tests that start real processes
integration *ARGS:
    scripts/test.sh -m integration {{ARGS}}

# Run all tests and show what they do not reach
coverage *ARGS:
    scripts/test.sh --cov --cov-report=term-missing:skip-covered --cov-report=xml {{ARGS}}

# Check style, trio pitfalls and types
lint:
    scripts/lint.sh

# Bring the code into shape
format:
    {{bin}}/ruff format .
    {{bin}}/ruff check --fix .

# Run the daemon
serve *ARGS:
    {{bin}}/trio-asr serve {{ARGS}}

# Take calls from telephony platforms
ingest *ARGS:
    {{bin}}/trio-asr ingest {{ARGS}}

# Call an ingest as a telephony platform does, e.g. `just dial twilio ws://127.0.0.1:5000/v1/twilio call.wav`
dial PLATFORM URL *ARGS:
    {{bin}}/trio-asr dial --as {{PLATFORM}} {{URL}} {{ARGS}}

# Run the stand-in for Deepgram
simulate *ARGS:
    {{bin}}/trio-asr simulate {{ARGS}}

# Play a recording onto Redis
feed AUDIO *ARGS:
    {{bin}}/trio-asr feed {{AUDIO}} {{ARGS}}

# Follow transcripts live
watch *ARGS:
    {{bin}}/trio-asr watch {{ARGS}}

# Check a deployment and say what to do
doctor *ARGS:
    {{bin}}/trio-asr doctor {{ARGS}}

# Try a running deployment with one call
smoke *ARGS:
    scripts/smoke.sh {{ARGS}}

# Rehearse faults and account for every sample (`just chaos --quick`, `just chaos --list`)
chaos *ARGS:
    {{bin}}/trio-asr chaos {{ARGS}}

# Measure what calls cost on this machine
load *ARGS:
    {{bin}}/trio-asr load {{ARGS}}

# Compare with the worker one would write today and with a lower bound (see bench/compare.py)
bench *ARGS:
    {{bin}}/python bench/compare.py {{ARGS}}

# Measure what an ingest costs, by platform (see bench/ingest.py)
bench-ingest *ARGS:
    {{bin}}/python bench/ingest.py {{ARGS}}

# Fuzz a target (frames, ends, messages, checkpoints, handshakes, http, ...) for some seconds; needs `pip install atheris`
fuzz TARGET="frames" SECONDS="120" *ARGS:
    {{bin}}/python fuzz/run.py {{TARGET}} -max_total_time={{SECONDS}} {{ARGS}}

# Lock the dependencies again (`just lock --upgrade` for newer ones)
lock *ARGS:
    PATH="{{bin}}:$PATH" scripts/lock.sh {{ARGS}}

# Speak the sample calls again (needs flite and sox)
samples:
    scripts/make_samples.sh

# What every change must pass, from an empty environment
ci:
    .ci/run
