"""Requests, fleets and receipts from files or stdin: JSON or YAML, with the option named in every complaint."""

from __future__ import annotations

import json
from typing import IO, Any, TypeVar

import click
from pydantic import ValidationError

from gateway.model import Policy
from gateway.policy.case_schema import RequestIn, WorkerState, unwrapped
from gateway.policy.source import MAX_BYTES, parse
from gateway.policy.strict import Strict
from gateway.policy.validate import nearest
from gateway.rehearsal.receipt_shape import Receipt, as_receipt

T = TypeVar("T", bound=Strict)


def request_of(file: IO[bytes]) -> RequestIn:
    """A request body, or {path, headers, tenant, body}."""
    return checked("--request", RequestIn, unwrapped(loaded("--request", file)))


def receipt_of(file: IO[bytes]) -> Receipt:
    try:
        return as_receipt(loaded("--receipt", file))
    except ValueError as fault:
        raise click.UsageError(f"--receipt: {fault}") from None


def fleet_of(file: IO[bytes] | None, policy: Policy) -> dict[str, WorkerState]:
    given = loaded("--fleet", file) if file is not None else {}
    for name in given:
        if name not in policy.upstreams:
            raise click.UsageError(f"--fleet: unknown upstream `{name}`; {nearest(str(name), list(policy.upstreams))}")
    return {name: checked(f"--fleet: {name}", WorkerState, state) for name, state in given.items()}


def loaded(option: str, file: IO[bytes]) -> dict[str, Any]:
    """JSON or YAML (which JSON is a part of) as an object, by the rules of policy files: no anchors, at most 1 MiB."""
    document = parse(option, file.read(MAX_BYTES + 1))
    if document.faults:
        raise click.UsageError(str(document.faults[0]))
    if not isinstance(document.data, dict):
        raise click.UsageError(f"{option}: must be an object")
    return document.data


def checked(where: str, kind: type[T], value: Any) -> T:
    try:
        return kind.model_validate_json(json.dumps(value))
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = f"unknown key; {nearest(str(first['loc'][-1]), list(kind.model_fields))}"
        if first["type"] == "missing":
            said = f"is required; give {{{', '.join(kind.model_fields)}}}"
        raise click.UsageError(f"{where}: {path}: {said}") from None
