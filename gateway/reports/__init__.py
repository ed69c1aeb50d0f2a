"""What the ledger says: sums, the cost of our own GPUs, what was saved, what to do about it (docs/reports.md)."""
