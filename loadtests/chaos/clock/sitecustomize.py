"""Loaded by Python at start-up where this folder is on PYTHONPATH: the wall clock shows what a file adds to it."""

from __future__ import annotations

import os
import time

_FILE, _true = os.environ.get("CHAOS_CLOCK"), time.time
LOOK_SECONDS = 0.05


def _jumping() -> float:
    now = _true()
    if now >= _state[1]:
        _state[1] = now + LOOK_SECONDS
        with open(str(_FILE)) as offset:
            _state[0] = float(offset.read() or 0)
    return now + _state[0]


_state = [0.0, 0.0]
if _FILE is not None:
    time.time = _jumping
