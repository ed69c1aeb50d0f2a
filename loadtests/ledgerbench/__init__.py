"""What the ledger costs: rows per second into each database while a gateway serves (`make ledger-bench`)."""
