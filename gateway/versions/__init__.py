"""Policy versions that all replicas share: stored by content, announced in order, signed."""
