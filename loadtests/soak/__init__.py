"""The soak: a mixed load with clients that leave and workers that fail, and what is left behind afterwards."""
