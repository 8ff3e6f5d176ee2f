"""A rig of real processes: an embedded Valkey, the simulator and workers, and calls of stamped audio.

For end-to-end tests, the chaos command and measurements. `processes` starts, kills and freezes; `feeder`
plays calls; `evidence` collects what they left behind, and `account` says what became of every sample.
`run` puts them together.
"""
