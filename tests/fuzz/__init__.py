"""Fuzzing of both HTTP sides and of the request body: oracles, a kept corpus, and a driver guided by coverage.

`corpus/` is replayed by the tests; `python -m tests.fuzz.explore --seconds 300` looks for more.
"""
