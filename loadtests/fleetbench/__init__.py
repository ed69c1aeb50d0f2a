"""What it costs to watch a large fleet: scraping, the store and snapshots, in CPU time."""
