"""`gateway egress DIR`: where a policy folder sends anything, for firewalls and network policies."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.policy.egress import Egress, Host

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FORMATS = click.Choice(["table", "json", "helm-values"])


@click.command(short_help="Hosts, ports and networks that a policy folder names.")
@click.argument("folder", type=FOLDER)
@click.option("--format", "form", type=FORMATS, default="table", show_default=True, help="How they are printed.")
@click.pass_context
def egress(context: click.Context, folder: Path, form: str) -> None:
    """Print where a gateway with the policy in FOLDER sends anything: workers, bought APIs and where their results lie,
    issuers of tokens, webhooks. Looks nothing up, asks nobody. Exit 1 where the folder does not compile.

    Not of the folder, and so not told: store, ledger, bucket, trace collector, and webhooks that requests name."""
    from gateway.policy.compile import compile_files
    from gateway.policy.egress import egress as worked_out
    from gateway.policy.folder import read_folder
    from gateway.policy.sources import read_sources
    from gateway.upstreams.dialects.ordered import hosts_of

    files = read_folder(folder)
    compile_files(files, None)
    sources, _ = read_sources(files)
    found = worked_out(sources, hosts_of)
    if form == "json":
        click.echo(json.dumps(asdict(found)))
    elif form == "helm-values":
        click.echo(_values(found), nl=False)
    else:
        _show(found)


def _values(found: Egress) -> str:
    """What helm/gateway takes; `cidrs` of hosts without any are for their reader to fill in."""
    import yaml

    def hosts(rows: tuple[Host, ...]) -> list[dict[str, Any]]:
        return [{"host": row.host, "port": row.port, "cidrs": list(row.cidrs)} for row in rows]

    made: dict[str, Any] = {
        "networkPolicy": {
            "workers": [{"cidr": row.cidr, "ports": list(row.ports)} for row in found.workers],
            "managed": hosts(found.managed),
            "services": hosts(found.services),
        }
    }
    if found.service_namespaces or found.pool_namespaces:
        made["discovery"] = {"services": list(found.service_namespaces), "pools": list(found.pool_namespaces)}
    text: str = yaml.safe_dump(made, sort_keys=False, default_flow_style=None)
    return text


def _show(found: Egress) -> None:
    from gateway.cli.prices import table

    rows = [
        ("workers", one.cidr, ", ".join(map(str, one.ports)) or "any", "", ", ".join(one.why)) for one in found.workers
    ]
    for kind, hosts in (("managed", found.managed), ("services", found.services)):
        rows += [(kind, one.host, str(one.port), ", ".join(one.cidrs), ", ".join(one.why)) for one in hosts]
    for what, names in (("service", found.service_namespaces), ("pool", found.pool_namespaces)):
        rows += [("kubernetes", f"namespace {name}", "", "", what) for name in names]
    table(("kind", "to", "port", "networks", "for"), rows)
