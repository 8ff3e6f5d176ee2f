"""Labels and buckets of metrics, all known beforehand: none grows with the calls."""

from trio_asr.wire.codes import CaughtAt, DeadLetterKind, ErrorKind, GapReason, Problem, StoredKind

ROLES = ("starting", "standby", "active", "stopping")
# What is known to happen shows a 0 until it does: of a series that begins with 1, rate() sees no change.
PROBLEMS = tuple(one.value for one in Problem if one is not Problem.KEYS)
ERRORS = tuple(one.value for one in ErrorKind)
STATES = tuple(one.value for one in StoredKind)
GAPS = tuple(one.value for one in GapReason)
DEAD_LETTERS = tuple(one.value for one in DeadLetterKind)
PLACES = tuple(one.value for one in CaughtAt)

# The codes that Deepgram and the WebSocket protocol use. A peer may send any of 4000: those share a label.
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013})

# What people wait for. Alerts compare with 2 s, so a bucket ends there and its neighbours are near.
WAITS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 30.0)
# What the machine adds; promised is 25 ms at the 99th percentile.
DELAYS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Around the default triggers of a flush: 200 ms of audio, 500 ms since the last one.
FLUSHES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.21, 0.25, 0.3, 0.4, 0.5, 0.51, 0.55, 0.6, 0.75, 1.0, 2.5, 5.0)
