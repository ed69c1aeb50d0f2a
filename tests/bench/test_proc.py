"""Reading /proc: names with brackets, whole families, stores apart, and this very process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from loadtests.bench import proc
from loadtests.bench.proc import Stat

LINE = "42 {name} S 7 42 42 0 -1 4194304 100 0 0 0 150 50 9 9 20 0 1 0 12345 1000 200 18446744073709551615"


@pytest.mark.parametrize("name", ["(nginx)", "(a b)", "(odd) name)", "((sd-pam))"])
def test_a_stat_line_whatever_the_program_is_called(name: str) -> None:
    assert proc.parse_stat(LINE.format(name=name), 100) == Stat(name[1:-1], 7, 2.0)


def test_pss_is_in_bytes_and_not_one_of_its_parts() -> None:
    text = "5581-7ffe ---p 0 00:00 0 [rollup]\nRss:  9000 kB\nPss:  1234 kB\nPss_Anon:  1000 kB\n"
    assert proc.parse_pss(text) == 1234 * 1024
    with pytest.raises(ValueError, match="no Pss"):
        proc.parse_pss("Rss: 1 kB\n")


def test_a_family_is_the_root_and_all_below_it() -> None:
    found = {1: Stat("init", 0, 0), 5: Stat("gateway", 1, 1), 6: Stat("valkey-server", 5, 2), 7: Stat("sh", 6, 3)}
    assert set(proc.family(5, found)) == {5, 6, 7}
    assert set(proc.family(9, found)) == set()


def test_stores_are_counted_apart() -> None:
    members = {5: Stat("gateway", 1, 1), 6: Stat("valkey-server", 5, 2), 7: Stat("redis-server", 5, 2)}
    assert proc.split_store(members) == ([5], [6, 7])


def test_the_writer_of_a_ledger_is_counted_apart() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "ledger", "write", "--child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # only then does it have its command line for sure
        assert proc.split_writer([os.getpid(), child.pid]) == ([os.getpid()], [child.pid])
        child.communicate(b"\n")


def test_cpu_and_memory_of_a_real_child() -> None:
    spin = "import time\nwhile time.process_time() < 0.1: pass\nprint(1, flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in proc.tree(os.getpid())
        assert 0.08 <= proc.cpu_seconds([child.pid]) < time.monotonic()
        assert 1 << 20 < proc.pss_bytes([child.pid]) < 1 << 30
    finally:
        child.communicate(b"\n")
