"""TRUNCATE of a single partition, and any change of `attempts_seen`, are refused as well: PostgreSQL alone has them."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'attempts'::regclass"
_SEEN = (
    """CREATE TRIGGER attempts_no_change BEFORE UPDATE OR DELETE ON attempts_seen
    FOR EACH ROW EXECUTE FUNCTION attempts_immutable()""",
    """CREATE TRIGGER attempts_no_truncate BEFORE TRUNCATE ON attempts_seen
    FOR EACH STATEMENT EXECUTE FUNCTION attempts_immutable()""",
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        return
    for table in connection.exec_driver_sql(_PARTITIONS).scalars().all():
        op.execute(
            f"CREATE TRIGGER attempts_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION attempts_immutable()"
        )
    for statement in _SEEN:
        op.execute(statement)
