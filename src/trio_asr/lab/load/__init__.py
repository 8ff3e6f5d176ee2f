"""A load generator and its report: what a call costs on this machine, and how many of them it carries.

`plan` says what is done, `feeder` is the process that does it, `measure` looks at processes and counters from
outside, `account` says what was lost, `report` shows it; `run` puts them together.
"""
