"""Alembic's folder: `env.py` is run by it, `versions/` has one file per change of the schema."""
