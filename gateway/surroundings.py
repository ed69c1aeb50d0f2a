"""What the processes beside a serving one inherit: what finds Python, libraries and the database, and none of its keys.

The gateway's own environment holds its pepper, its operators' keys and those of bought APIs, under any name that a
policy gives them (`${env:NAME}`). So names are allowed, not refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

NAMES = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"})
PREFIXES = ("LC_", "LD_", "DYLD_", "MALLOC_", "PG", "KRB5", "PYTHON", "SSL_CERT_", "OPENSSL_")
"""`PG...` and `KRB5...` are libpq's own, which a database URL may lean on."""
NOTHING: Mapping[str, str] = {}


def surroundings(given: Mapping[str, str] = NOTHING, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`given`, all that such a process needs of our settings, with what `env` has of NAMES and PREFIXES."""
    kept = {name: value for name, value in env.items() if name in NAMES or name.startswith(PREFIXES)}
    return {**kept, **given}
