"""The network between gateway and workers is cut for real, where this machine can make network namespaces."""

from __future__ import annotations
