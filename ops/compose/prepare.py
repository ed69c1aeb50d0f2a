"""`make compose-secrets`: what docker-compose.yml reads as files, made of random numbers. Needs Python alone.

Files that are there are kept, so it may be run again. They lie in a folder of mode 0700 and are readable themselves: a
container has its own user, and sees only those that it is given.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RANDOM_BYTES = 32
SIMULATED_KEY = "sim-managed-key"
"""What the simulated APIs take; the place of a bought API's real key."""
TENANTS = """\
# Written by `make compose-secrets`. The key is in secrets/load.env; `gateway keys new` makes others.
tenants:
  - name: demo
    budgets: {{usd: 50, per: day}}
    keys: [{{hash: {hash}, id: demo}}]
"""


def contents() -> dict[str, str]:
    """File name in secrets/ -> text. Those that are named as settings are read through GATEWAY_SECRETS_DIR."""
    store, ledger, grafana = (secrets.token_hex(RANDOM_BYTES) for _ in range(3))
    return {
        "GATEWAY_ADMIN_KEY": secrets.token_urlsafe(RANDOM_BYTES),
        "GATEWAY_AUDIT_KEY": secrets.token_urlsafe(RANDOM_BYTES),
        "GATEWAY_KEY_PEPPER": secrets.token_urlsafe(RANDOM_BYTES),
        "GATEWAY_LEDGER_URL": f"postgresql://gateway:{ledger}@postgres:5432/gateway",
        "GATEWAY_REDIS_URL": f"redis://:{store}@valkey:6379/0",
        "postgres_password": ledger,
        "valkey_auth.conf": f"requirepass {store}\n",
        "grafana_password": grafana,
        "provider_key": SIMULATED_KEY,
        "load.env": f"GATEWAY_KEY=gw-{secrets.token_urlsafe(RANDOM_BYTES)}\n",
    }


def prepare(folder: Path) -> list[str]:
    """Writes what is missing below `folder`; returns the names of what it wrote. Raises OSError."""
    kept = folder / "secrets"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = contents()
    if any((kept / name).exists() for name in written):
        missing = sorted(name for name in written if not (kept / name).exists())
        if missing:  # some belong together: half of them anew would not fit the other half
            raise FileNotFoundError(f"{kept} lacks {', '.join(missing)}: remove the folder to make all of it anew")
        return []
    for name, text in written.items():
        _write(kept / name, text)
    key = written["load.env"].strip().partition("=")[2]
    digest = hmac.digest(written["GATEWAY_KEY_PEPPER"].encode(), key.encode(), "sha256").hex()
    tenants = folder / "policies" / "tenants.yaml"
    tenants.parent.mkdir(exist_ok=True)
    _write(tenants, TENANTS.format(hash=digest))
    return [*written, tenants.name]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    os.chmod(path, 0o644)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    try:
        written = prepare(folder)
    except OSError as fault:
        print(f"make compose-secrets: {fault}", file=sys.stderr)
        return 2
    print(
        f"wrote {len(written)} files below {folder}"
        if written
        else f"{folder / 'secrets'} is complete: nothing written"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
