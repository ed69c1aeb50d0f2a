"""How much of the prefix cache of one endless worker a fleet keeps, and how evenly it is loaded meanwhile."""
