"""What goes through the Helm engine needs it; `make helm-test` has it, the suite passes over those files."""

from __future__ import annotations

from importlib.util import find_spec

ENGINE = ("helm_sdkpy", "kubernetes_validate")
collect_ignore_glob = [] if all(find_spec(name) is not None for name in ENGINE) else ["test_engine_*.py"]
