"""Named scenarios in which something fails, each with what is promised while it does; real processes throughout."""
