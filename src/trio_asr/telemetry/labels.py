"""The labels and buckets of the metrics. All are known in advance: none grows with the number of calls."""

from typing import Literal, get_args

from trio_asr.wire.codes import CaughtAt, DeadLetterKind, ErrorKind, GapReason, Handover, Problem, StoredKind

Role = Literal["starting", "standby", "active", "draining", "stopping"]
ROLES: tuple[Role, ...] = get_args(Role)
# Every known label is exported from the start, as 0: rate() misses the first event of a series that begins
# at 1.
PROBLEMS = tuple(one.value for one in Problem if one is not Problem.KEYS)
ERRORS = tuple(one.value for one in ErrorKind)
STATES = tuple(one.value for one in StoredKind)
GAPS = tuple(one.value for one in GapReason)
DEAD_LETTERS = tuple(one.value for one in DeadLetterKind)
HANDOVERS = tuple(one.value for one in Handover)
PLACES = tuple(one.value for one in CaughtAt)

# The close codes of Deepgram and of the WebSocket protocol. A peer may send any of 4000: the rest share a
# label.
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013})

# Waits that people notice, in seconds. Alerts compare with 2 s, so a bucket ends there, between close ones.
WAITS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 30.0)
# Latency that the daemon adds, in seconds. The promise is 25 ms at the 99th percentile.
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# For flushes, in seconds; dense around the default triggers: 200 ms of audio, 500 ms since the last flush.
FLUSHES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.21, 0.25, 0.3, 0.4, 0.5, 0.51, 0.55, 0.6, 0.75, 1.0, 2.5, 5.0)
