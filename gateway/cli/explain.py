"""`gateway explain DIR --request FILE`: what would be decided, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gateway.cli.dry import Story

_COLUMNS = ("upstream", "backend", "load", "after", "score", "usd", "dropped")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--request",
    "request_file",
    required=True,
    type=click.File("rb"),
    help="A request body, or {path, headers, body}; - reads stdin.",
)
@click.option(
    "--fleet", "fleet_file", type=click.File("rb"), help="Upstream -> {load, waiting, kv, gpu, age, healthy}."
)
@click.option("--json", "as_json", is_flag=True, help="The story as JSON.")
def explain(folder: Path, request_file: Any, fleet_file: Any, as_json: bool) -> None:
    """Decide one request with the policy in FOLDER, without sending it anywhere. Exit 1 where it would be refused."""
    from gateway.cli.dry import dry_run
    from gateway.policy.compile import compile_folder

    policy = compile_folder(folder, env=None)
    request, fleet = _request(request_file), _fleet(fleet_file)
    unknown = sorted(set(fleet) - set(policy.upstreams))
    if unknown:
        raise click.UsageError(
            f"--fleet: no upstream `{unknown[0]}` in {folder}; there are {', '.join(policy.upstreams)}"
        )
    story = dry_run(policy, request, fleet)
    if as_json:
        click.echo(
            json.dumps(
                {"result": story.result, "rule": story.rule, "residency": story.residency} | {"upstreams": story.rows}
            )
        )
    else:
        click.echo(_text(story))
    if "outcome" not in story.result:
        click.get_current_context().exit(1)


def _request(file: Any) -> Any:
    from gateway.policy.schema import RequestIn

    given = _load("--request", file)
    wrapped = given if "body" in given and "model" not in given else {"body": given}
    return _checked("--request", RequestIn, {"path": "/v1/chat/completions"} | wrapped)


def _fleet(file: Any) -> dict[str, Any]:
    from gateway.policy.schema import WorkerState

    given = _load("--fleet", file) if file is not None else {}
    return {name: _checked(f"--fleet: {name}", WorkerState, state) for name, state in given.items()}


def _load(option: str, file: Any) -> dict[str, Any]:
    """JSON or YAML (which JSON is a part of), as an object."""
    import yaml

    try:
        given = yaml.safe_load(file.read())
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise click.UsageError(f"{option}: neither JSON nor YAML ({type(fault).__name__})") from None
    if not isinstance(given, dict):
        raise click.UsageError(f"{option}: must be an object")
    return given


def _checked(where: str, kind: Any, value: Any) -> Any:
    from pydantic import ValidationError

    try:
        return kind.model_validate(value)
    except ValidationError as fault:
        first = fault.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise click.UsageError(f"{where}: {path}: {first['msg']}") from None


def _text(story: Story) -> str:
    """The story for a reader: the end first, then what led to it."""
    result = story.result
    if "outcome" in result:
        head = f"{result['outcome']} -> {result['upstream']} ({result['backend']}), because {result['reason']}"
    else:
        head = f"refused: {result['status']} {result['code']}: {result['message']}"
    lines = [head, f"rule: {story.rule or 'none'}"]
    if story.residency:
        lines.append(f"residency: {', '.join(story.residency)}")
    lines += story.notes
    return "\n".join([*lines, *_table(story.rows)])


def _table(rows: tuple[dict[str, Any], ...]) -> list[str]:
    if not rows:
        return []
    cells = [_COLUMNS, *(tuple(_cell(row.get(column)) for column in _COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    return [
        "",
        *("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
