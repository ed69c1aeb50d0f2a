"""Many downloads of one film at once: what they cost in memory, and whether they all get on alike."""
