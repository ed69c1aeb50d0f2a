"""For operators: the admin API."""
