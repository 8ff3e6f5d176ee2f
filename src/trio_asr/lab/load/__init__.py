"""A load generator and its report: what a call costs on this machine, and how many calls it carries.

`plan` lays down what happens when, `feeder` is the process that feeds, `measure` reads processes and counters
from outside. `account` works out what was lost, `report` shows the figures, and `run` puts them together.
"""
