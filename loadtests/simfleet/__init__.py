"""A simulated fleet in one process: vLLM-like GPU workers, managed APIs and DCGM pages, each on its own loopback port.

Run it with ``python -m loadtests.simfleet``; from a test, use :func:`loadtests.simfleet.harness.start`.
"""
