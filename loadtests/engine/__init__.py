"""`make engine-test`: the gateway in front of a real engine, each promise checked and printed."""
