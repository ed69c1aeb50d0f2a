"""What the live feed costs: its producer, each further viewer, and what a request pays for the flow."""
