"""The chaos command: the faults that the daemon survives, rehearsed with real processes and measured.

`row` is a row and what it works with, `rows` the table, `mix` faults in random order. `running` plays rows
and judges them by the promises; `report` shows the results.
"""
