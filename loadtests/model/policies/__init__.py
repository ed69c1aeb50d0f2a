"""Whole policy folders in simulated time: `python -m loadtests.model.policies`.

Real: the compiler, Board, Snapshot and `decide()` with all it calls, `Admission` with its lines, `pick`, the reasons,
the learned limit with its votes, the learned lengths, the watch on outside load. Simulated: the clock, the workers
(`loadtests.model.worker`), the gauges that trail them, the bought APIs, and the store's scripts (`till.py`), which are
written again in Python because a store keeps its own time.
"""
