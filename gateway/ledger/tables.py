"""The ledger's tables, as every query sees them: the same columns on SQLite and on PostgreSQL.

Columns of `attempts` are the fields of `gateway.model.Row`, which says what they mean. Money is BIGINT micro-dollars,
times are BIGINT microseconds since the epoch (so `ended / 86_400_000_000` is a UTC day on both), tuples are JSON text.
What only one database has (partitions, triggers) is made by the migrations.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, MetaData, Table, Text

from gateway.model import Row

MICRO_PER_SECOND = 10**6
MICRO_PER_DAY = 86_400 * MICRO_PER_SECOND
INDEXED = ("tenant", "model", "backend", "key")
"""What reports ask by, each together with `ended`."""

metadata = MetaData()
attempts = Table(
    "attempts",
    metadata,
    Column("attempt", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("began", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("upstream", Text, nullable=False),
    Column("served_as", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("status", BigInteger),
    Column("policy", Text, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("characters", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("absurd", Boolean, nullable=False),
    Column("cost", BigInteger),
    Column("list_cost", BigInteger),
    Column("basis", Text, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("payer", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("gpu_us", BigInteger, nullable=False),
    Column("gpu_kind", Text, nullable=False),
    Column("price_marks", Text, nullable=False),
    Column("demo", Boolean, nullable=False),
    Index("attempts_ended", "ended"),
    *(Index(f"attempts_{name}_ended", name, "ended") for name in INDEXED),
)
"""On PostgreSQL partitioned by month on `ended`, so that its key there is (attempt, ended): `seen` keeps it one row."""

seen = Table(
    "attempts_seen",
    MetaData(),
    Column("attempt", Text, primary_key=True),
    Column("ended", BigInteger, nullable=False),
)
"""PostgreSQL only: which attempts have a row. A unique key of a partitioned table must hold the column that it is
partitioned by, and a repeated row may say another time."""

kept = Table("attempts_kept", metadata, Column("since", BigInteger, nullable=False))
"""One row: attempts that ended before may be gone (retention), and triggers let nothing else be deleted."""

_TUPLES = tuple(field.name for field in fields(Row) if str(field.type).startswith("tuple"))
_encode = msgspec.json.Encoder().encode


def values(row: Row) -> dict[str, Any]:
    """Column -> value, for INSERT with bound parameters."""
    found = {name: getattr(row, name) for name in Row.__slots__}
    for name in _TUPLES:
        found[name] = _encode(found[name]).decode()
    return found
