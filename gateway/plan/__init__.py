"""Which deployment fits: from a team's answers to an architecture, GPUs, costs and a policy folder. Sends nothing."""
