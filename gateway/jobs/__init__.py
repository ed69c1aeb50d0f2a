"""Generations that outlive their requests, and their processes: `docs/jobs.md`."""
