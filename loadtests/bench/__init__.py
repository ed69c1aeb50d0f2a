"""`make bench`: what the gateway costs, beside nginx as plain reverse proxy, in one run on one machine."""
