"""The chaos command: the faults that the daemon survives, each rehearsed with real processes, and measured.

`stage` is what a row may do things to, `rows` the table, `mix` faults in random order, `running` plays rows
and judges them by the promises, `report` shows what came out.
"""
