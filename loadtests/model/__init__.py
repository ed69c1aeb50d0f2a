"""A fleet in simulated time, to judge the rules that decide what stays at home: `python -m loadtests.model`."""
