"""Reload under load: the policy folder is rewritten all the time while requests come at a fixed rate."""
