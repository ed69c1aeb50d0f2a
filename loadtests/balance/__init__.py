"""How evenly bursts land on equal workers: two replicas beside a router that picks by scraped metrics; and how soon
what one replica frees serves who waits at the other."""
