"""A rig of real processes: an embedded Valkey, the simulator and workers, and calls of stamped audio.

It serves the end-to-end tests, the chaos command and measurements. `processes` starts, kills and freezes
processes; `feeder` plays calls; `evidence` collects what they left behind; `account` works out what became of
every sample. `run` puts them together.
"""
