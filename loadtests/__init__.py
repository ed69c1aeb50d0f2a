"""Load tools: the simulated fleet, the demo, Locust users and benches. The installed package never imports this."""
