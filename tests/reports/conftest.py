"""Ledgers on each kind of database."""

from __future__ import annotations

from tests.ledger.conftest import postgres, postgres_url, sqlite_url, url

__all__ = ["postgres", "postgres_url", "sqlite_url", "url"]
