"""Random draws that depend on the seed, the server's name and the arrival index only: one seed, one run."""

from __future__ import annotations

import math
import random


class Draws:
    """The dice of one server. Each purpose has its own stream, so adding a draw does not move the others."""

    def __init__(self, seed: int, name: str) -> None:
        self._root = f"{seed}:{name}"

    def uniform(self, index: int, purpose: str) -> float:
        """A number in [0, 1) for the index-th arrival."""
        return self._dice(index, purpose).random()

    def lognormal(self, index: int, purpose: str, median: float, sigma: float) -> float:
        """A log-normal draw with the given median; sigma is the deviation of its logarithm."""
        return self._dice(index, purpose).lognormvariate(math.log(median), sigma)

    def _dice(self, index: int, purpose: str) -> random.Random:
        return random.Random(f"{self._root}:{purpose}:{index}")
