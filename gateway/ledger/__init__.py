"""The ledger: one immutable row per attempt, in a database. docs/ledger.md; docs/adr/0024-ledger.md says why so.

Gateways put rows on a stream of the store (`gateway.money.till`); a process of its own, the writer, brings them into
SQLite or PostgreSQL. Whatever dies on the way, each attempt has exactly one row: its first.
"""
