"""Bought APIs that have a language of their own: one file per provider, and beside it what its models take."""
