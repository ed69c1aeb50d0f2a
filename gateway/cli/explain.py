"""`gateway explain DIR --request FILE`: what would be decided, and why."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click

PATH = "/admin/v1/explain"


@click.command(short_help="Decide one request, and say why and what would change it.")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--request",
    "request_file",
    type=click.File("rb"),
    help="A request body, or {path, headers, tenant, body}; - reads stdin.",
)
@click.option("--fleet", "fleet_file", type=click.File("rb"), help="Upstream -> state, as in a case; the rest is idle.")
@click.option("--receipt", "receipt_file", type=click.File("rb"), help="A recorded receipt instead of a request.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"]), help="When; default: now.")
@click.option("--url", help="Instead of FOLDER: a running gateway, with its policy and its fleet as they are now.")
@click.option("--admin-key", envvar="GATEWAY_ADMIN_KEY", help="Its admin key [GATEWAY_ADMIN_KEY].")
@click.option("--json", "as_json", is_flag=True, help="The story as JSON.")
@click.pass_context
def explain(
    context: click.Context,
    folder: Path | None,
    request_file: IO[bytes] | None,
    fleet_file: IO[bytes] | None,
    receipt_file: IO[bytes] | None,
    at: datetime | None,
    url: str | None,
    admin_key: str | None,
    as_json: bool,
) -> None:
    """Decide one request with the policy in FOLDER, or on a running gateway, without sending it anywhere; or tell what
    a receipt holds. Exit 1 where the request is refused."""
    from gateway.cli.telling import text

    if (request_file is None) is (receipt_file is None):
        raise click.UsageError("give either --request FILE or --receipt FILE")
    if (folder is None) is (url is None):
        raise click.UsageError("give either a FOLDER or --url, the address of a running gateway")
    if url is not None:
        if request_file is None or fleet_file is not None or at is not None:
            raise click.UsageError("--url goes with --request alone: the fleet and the time are those of the gateway")
        story = live(context, url, admin_key, request_file)
    elif folder is not None:
        story = rehearsed(folder, request_file, receipt_file, fleet_file, at)
    click.echo(json.dumps(story) if as_json else text(story))
    if "outcome" not in story["result"]:
        context.exit(1)


def live(context: click.Context, url: str, key: str | None, request_file: IO[bytes]) -> dict[str, Any]:
    """The story as the admin API of a running gateway tells it."""
    from gateway.cli.inputs import request_of
    from gateway.cli.remote import Gateway

    asked = request_of(request_file).model_dump(mode="json", exclude_unset=True)
    return Gateway(context, url, key).ask("POST", PATH, asked)


def rehearsed(
    folder: Path,
    request_file: IO[bytes] | None,
    receipt_file: IO[bytes] | None,
    fleet_file: IO[bytes] | None,
    at: datetime | None,
) -> dict[str, Any]:
    import time

    from gateway.cli.inputs import fleet_of, receipt_of, request_of
    from gateway.policy.compile import compile_folder
    from gateway.rehearsal.recorded import story_of
    from gateway.rehearsal.story import tell
    from gateway.rehearsal.world import world_of

    policy = compile_folder(folder, env=None)
    if receipt_file is not None:
        return story_of(policy, receipt_of(receipt_file)).as_data()
    assert request_file is not None  # noqa: S101 - one of the two is given
    request, fleet = request_of(request_file), fleet_of(fleet_file, policy)
    moment = time.time() if at is None else at.timestamp()
    return tell(world_of(policy, request, fleet, at=moment), request).as_data()
