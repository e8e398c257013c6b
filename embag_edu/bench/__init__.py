"""Measurements: workloads, how many bytes they need, who else does the work, and how long it takes.

python -m embag_edu bench            a table, in a few minutes
workloads    what is measured: shapes, skew of the rows, lengths of the bags
traffic      the byte model: what each step has to move at least
implementations  who is timed, ours and others'
stopwatch    the one stopwatch: taking turns, on a CPU or on a GPU
measure      fresh inputs, each result checked, all timed
report       the table, and the record as JSON
"""
