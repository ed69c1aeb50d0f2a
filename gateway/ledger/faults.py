"""What can go wrong with the database, in words that may be logged: no parameter, no row, no password."""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

LONGEST = 200
POISON = (DataError, IntegrityError, OverflowError, UnicodeError, ValueError)


_LIMITS = "54"
"""PostgreSQL's class of errors for what is too large, such as a text for its index."""


class DatabaseFault(Exception):
    """The database did not take a batch, or is away: it will be tried again. The message may be logged."""


class NewerSchema(DatabaseFault):
    """The tables were made by a newer gateway."""


def to_blame(fault: BaseException) -> bool:
    """Whether a single row can be to blame for it; all else is the database's own trouble and passes."""
    state = getattr(getattr(fault, "orig", None), "sqlstate", None)
    return isinstance(fault, POISON) or (state or "").startswith(_LIMITS)


def words(fault: BaseException) -> str:
    """The driver's own first line, without the values that PostgreSQL puts into its details."""
    cause = fault.orig if isinstance(fault, DBAPIError) and fault.orig is not None else fault
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    if primary is None and isinstance(cause, SQLAlchemyError | ValueError | UnicodeError | OverflowError):
        return type(cause).__name__
    lines = str(primary or cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0][:LONGEST] if lines else 'no message'}"
