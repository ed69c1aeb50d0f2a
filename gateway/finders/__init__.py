"""Where workers are found: DNS, Kubernetes, the host names that the policy writes. Each replica looks for itself."""
