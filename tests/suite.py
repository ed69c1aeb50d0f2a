"""`make test`: the whole suite on all cores, and a second, quiet look at what failed beside the others.

    python -m tests.suite [arguments of pytest]

A test with real processes and deadlines can starve on a machine that is busy with the rest of the suite. So a few that
failed are run once more, one after another, with nothing beside them. Who passes then is named, because a test that
depends on the load is a defect to be mended; who fails again fails the suite. What keeps promises about money and
residency gets no second look: a failure there may be the one interleaving in a thousand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

BESIDE = 1
"""More processes of pytest than cores: tests with real processes wait most of their time. They run in the order of
their files, for the longest ones (e2e) then come early."""
MOST = 3
"""More than these are no accident."""
NEVER_AGAIN = ("tests/money/", "tests/ledger/", "tests/audit/", "tests/routing/", "tests/residency")
FAILED = 1
"""Exit code of pytest: tests ran, and some failed."""
ROOT = Path(__file__).parent.parent
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Some machines set it. Each worker and hundreds of children would compile the same files again."""
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"


def second_look(failed: Iterable[str]) -> list[str]:
    """Those that may be looked at again; none of them where one may not, or where they are too many."""
    names = sorted(failed)
    if not 0 < len(names) <= MOST or any(name.startswith(NEVER_AGAIN) for name in names):
        return []
    return names


def main(arguments: Sequence[str]) -> int:
    pytest = [sys.executable, "-m", "pytest"]
    LAST_FAILED.unlink(missing_ok=True)
    spread = ["-n", str(BESIDE + (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]
    env = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    ended = subprocess.run([*pytest, *spread, *arguments], cwd=ROOT, env=env).returncode
    if ended != FAILED or not LAST_FAILED.exists():
        return ended
    names = second_look(json.loads(LAST_FAILED.read_text()))
    if not names:
        return ended
    print(f"\nonce more, alone: {', '.join(names)}", flush=True)
    again = subprocess.run([*pytest, "-p", "no:cacheprovider", *names], cwd=ROOT, env=env).returncode
    if again == 0:
        print(f"passed alone, failed beside the others (mend them, they depend on the load): {', '.join(names)}")
    return again


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
