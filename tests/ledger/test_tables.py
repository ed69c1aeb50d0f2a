"""The tables hold a row as it is, and the migrations make just these tables."""

from __future__ import annotations

from dataclasses import fields

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import BigInteger, Connection, Float, MetaData

from gateway.ledger.database import Database
from gateway.ledger.tables import attempts, metadata, seen, values
from gateway.model import Row
from tests.ledger.reading import on
from tests.ledger.rows import row

MONEY = ("cost", "list_cost", "reserved")


def test_a_column_for_each_field() -> None:
    assert [column.name for column in attempts.columns] == [field.name for field in fields(Row)]
    assert set(values(row(1))) == {field.name for field in fields(Row)}


def test_money_is_whole_numbers() -> None:
    for name in MONEY:
        assert isinstance(attempts.c[name].type, BigInteger)
    assert [column.name for column in attempts.columns if isinstance(column.type, Float)] == ["seconds"]


def test_tuples_are_json() -> None:
    assert values(row(1, tags=('say "hi"', "b")))["tags"] == '["say \\"hi\\"","b"]'
    assert values(row(1))["price_marks"] == "[]"


def test_migrations_make_what_the_tables_say(url: str, ledger: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        declared = MetaData()
        for table in (*metadata.tables.values(), *((seen,) if ledger.shared else ())):
            table.to_metadata(declared)
        ours = {
            "include_object": lambda _, name, *__: (
                not name.startswith(("attempts_2", "attempts_other", "attempts_seen_"))
            )
        }
        found: list[object] = compare_metadata(MigrationContext.configure(connection, opts=ours), declared)
        return found

    assert on(url, differences) == []
