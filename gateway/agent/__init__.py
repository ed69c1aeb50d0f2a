"""`gateway agent`: tells a gateway of the GPUs of a machine that has no DCGM exporter."""
