"""What the process does with the memory of large bodies."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS, PAGES = 200, 4 * 200_000 // 4096
SCRIPT = f"""
import resource
from gateway.cli.serve import keep_memory
keep_memory()
def work(rounds):
    for _ in range(rounds):
        bodies = [bytes(200_000) for _ in range(4)]
work(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work({ROUNDS})
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_the_memory_of_one_body_serves_the_next() -> None:
    """Without the setting each round faults all its pages in again."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < ROUNDS * PAGES / 20
