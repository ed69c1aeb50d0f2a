"""The live feed of operators: what is true now, and what changes of it, made once for all who look."""
