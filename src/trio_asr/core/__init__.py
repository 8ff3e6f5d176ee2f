"""The pure half: no trio, no clock, no I/O. `now` is an argument, effects are return values."""
