"""`gateway explain DIR --request FILE`: what would be decided, and why."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import IO

import click


@click.command(short_help="Decide one request, and say why and what would change it.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    help="A request body, or {path, headers, tenant, body}; - reads stdin.",
)
@click.option("--fleet", "fleet_file", type=click.File("rb"), help="Upstream -> state, as in a case; the rest is idle.")
@click.option("--receipt", "receipt_file", type=click.File("rb"), help="A recorded receipt instead of a request.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="When; default: now.")
@click.option("--json", "as_json", is_flag=True, help="The story as JSON.")
@click.pass_context
def explain(
    context: click.Context,
    folder: Path,
    request_file: IO[bytes] | None,
    fleet_file: IO[bytes] | None,
    receipt_file: IO[bytes] | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Decide one request with the policy in FOLDER, without sending it anywhere; or tell what a receipt holds. Exit 1
    where the request is refused."""
    import time

    from gateway.cli.inputs import fleet_of, receipt_of, request_of
    from gateway.cli.telling import text
    from gateway.policy.compile import compile_folder
    from gateway.rehearsal.recorded import story_of
    from gateway.rehearsal.story import tell
    from gateway.rehearsal.world import world_of

    if (request_file is None) is (receipt_file is None):
        raise click.UsageError("give either --request FILE or --receipt FILE")
    policy = compile_folder(folder, env=None)
    if receipt_file is not None:
        story = story_of(policy, receipt_of(receipt_file))
    elif request_file is not None:
        request, fleet = request_of(request_file), fleet_of(fleet_file, policy)
        moment = time.time() if at is None else at.timestamp()
        story = tell(world_of(policy, request, fleet, at=moment), request)
    click.echo(json.dumps(story.as_data()) if as_json else text(story))
    if "outcome" not in story.result:
        context.exit(1)
