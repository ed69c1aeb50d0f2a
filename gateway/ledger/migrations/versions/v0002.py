"""Worker-hours: what the fleet cost, and how busy it was (`gateway.ledger.hours`)."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_SUMS = ("minutes", "up", "out", "busy", "rate_sum", "priced", "use_sum", "use_seen")


def upgrade() -> None:
    sums = ", ".join(f'"{name}" BIGINT NOT NULL' for name in _SUMS)
    op.execute(
        "CREATE TABLE fleet_hours (hour BIGINT NOT NULL, backend TEXT NOT NULL, worker TEXT NOT NULL, "
        "gpu_kind TEXT NOT NULL, gpus BIGINT NOT NULL, overhead FLOAT NOT NULL, assumed BOOLEAN NOT NULL, "
        f"{sums}, PRIMARY KEY (hour, backend, worker))"
    )
