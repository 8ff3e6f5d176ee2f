"""The labels that metrics have, each set known beforehand: none grows with the calls."""

ROLES = ("starting", "standby", "active", "stopping")
# What is known to happen shows a 0 until it does: of a series that begins with 1, rate() sees no change.
PROBLEMS = ("redis", "lease", "commits", "deepgram", "foreign consumer")
ERRORS = ("internal", "trimmed", "input", "connect", "connection", "provider", "redis", "publish")
GAPS = ("retention", "memory", "rejected", "unanswered", "skipped", "unpublished")
DEAD_LETTERS = ("no_data", "too_large", "json", "interaction_id", "sample_rate", "encoding", "audio")
# Where a bug can be caught, so that it costs one entry, message, call or round.
PLACES = ("entry", "message", "call", "commit", "bus", "housekeeping", "checkpoint", "reload", "page")

# The codes that Deepgram and the WebSocket protocol use. A peer may send any of 4000: those share a label.
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013})
