"""The first schema: attempts, what keeps them immutable and unique, and worker-hours."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_TEXTS = (
    "tenant", "key", "tags", "pipeline", "model", "endpoint", "rule", "backend", "upstream", "served_as", "version",
    "kind", "role", "outcome", "reason", "result",
)  # fmt: skip
_COUNTS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "images",
)  # fmt: skip


def _columns(key: str) -> str:
    return ",\n".join(
        (
            f"attempt TEXT NOT NULL {key}".rstrip(),
            "request TEXT NOT NULL",
            "began BIGINT NOT NULL",
            "ended BIGINT NOT NULL",
            *(f'"{name}" TEXT NOT NULL' for name in _TEXTS),
            "status BIGINT",
            "policy TEXT NOT NULL",
            *(f"{name} BIGINT NOT NULL" for name in _COUNTS),
            "seconds FLOAT NOT NULL",
            "characters BIGINT NOT NULL",
            "estimated BOOLEAN NOT NULL",
            "absurd BOOLEAN NOT NULL",
            "cost BIGINT",
            "list_cost BIGINT",
            "basis TEXT NOT NULL",
            "reserved BIGINT NOT NULL",
            "payer TEXT NOT NULL",
            "state TEXT NOT NULL",
            "gpu_us BIGINT NOT NULL",
            "gpu_kind TEXT NOT NULL",
            "price_marks TEXT NOT NULL",
            "demo BOOLEAN NOT NULL",
        )
    )


_KEPT = ("CREATE TABLE attempts_kept (since BIGINT NOT NULL)", "INSERT INTO attempts_kept (since) VALUES (0)")
_INDEXES = (
    "CREATE INDEX attempts_ended ON attempts (ended)",
    *(
        f'CREATE INDEX attempts_{name}_ended ON attempts ("{name}", ended)'
        for name in ("tenant", "model", "backend", "key")
    ),
)
_SUMS = ("minutes", "up", "out", "busy", "rate_sum", "priced", "use_sum", "use_seen")
_HOURS = (
    "CREATE TABLE fleet_hours (hour BIGINT NOT NULL, backend TEXT NOT NULL, worker TEXT NOT NULL, "
    "gpu_kind TEXT NOT NULL, gpus BIGINT NOT NULL, overhead FLOAT NOT NULL, assumed BOOLEAN NOT NULL, "
    f"{', '.join(f'{name} BIGINT NOT NULL' for name in _SUMS)}, PRIMARY KEY (hour, backend, worker))"
)
_SQLITE = (
    f"CREATE TABLE attempts ({_columns('PRIMARY KEY')})",
    *_KEPT,
    *_INDEXES,
    _HOURS,
    # INSERT OR REPLACE deletes without a DELETE trigger: a second row of an attempt is left out before it comes to that
    """CREATE TRIGGER attempts_first_wins BEFORE INSERT ON attempts
    WHEN EXISTS (SELECT 1 FROM attempts WHERE attempt = NEW.attempt) BEGIN SELECT RAISE(IGNORE); END""",
    """CREATE TRIGGER attempts_no_update BEFORE UPDATE ON attempts
    BEGIN SELECT RAISE(ABORT, 'rows of the ledger are immutable'); END""",
    """CREATE TRIGGER attempts_no_delete BEFORE DELETE ON attempts
    WHEN OLD.ended >= (SELECT since FROM attempts_kept)
    BEGIN SELECT RAISE(ABORT, 'rows of the ledger are immutable'); END""",
)
_POSTGRES = (
    f"CREATE TABLE attempts ({_columns('')}, PRIMARY KEY (attempt, ended)) PARTITION BY RANGE (ended)",
    "CREATE TABLE attempts_other PARTITION OF attempts DEFAULT",
    "CREATE TABLE attempts_seen (attempt TEXT PRIMARY KEY, ended BIGINT NOT NULL)",
    "CREATE INDEX attempts_seen_ended ON attempts_seen USING brin (ended)",
    *_KEPT,
    *_INDEXES,
    _HOURS,
    """CREATE FUNCTION attempts_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.ended < (SELECT since FROM attempts_kept) THEN
          RETURN OLD;
        END IF;
      END IF;
      RAISE EXCEPTION 'rows of the ledger are immutable' USING ERRCODE = 'restrict_violation';
    END $$""",
    """CREATE TRIGGER attempts_no_change BEFORE UPDATE OR DELETE ON attempts
    FOR EACH ROW EXECUTE FUNCTION attempts_immutable()""",
    """CREATE TRIGGER attempts_no_truncate BEFORE TRUNCATE ON attempts
    FOR EACH STATEMENT EXECUTE FUNCTION attempts_immutable()""",
)


def upgrade() -> None:
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES:
        op.execute(statement)
