"""The scenarios, by what fails. Importing this package fills the table in `loadtests.chaos.scenario`."""

from __future__ import annotations

from loadtests.chaos.scenarios import clients, gateways, machine, network, pages, providers, stores, workers

__all__ = ["clients", "gateways", "machine", "network", "pages", "providers", "stores", "workers"]
