"""Golden cases of a folder, read and checked against the policy that they are about. `gateway test` evaluates them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from gateway.errors import PolicyFault
from gateway.model import Policy
from gateway.policy.case_schema import Case, CasesFile
from gateway.policy.folder import CASES, read_files, unreadable
from gateway.policy.references import repeated, unknown
from gateway.policy.source import START, Fault, in_order, parse
from gateway.policy.validate import Items, read, shape_faults

_CASE = TypeAdapter(Case)


class Placed(NamedTuple):
    """A case, and where it is written: `cases/spill.yaml:3`."""

    place: str
    case: Case


def load_cases(root: Path, policy: Policy | None) -> tuple[Case, ...]:
    """As `placed_cases`."""
    return tuple(one.case for one in placed_cases(root, policy))


def placed_cases(root: Path, policy: Policy | None) -> tuple[Placed, ...]:
    """All cases in `root`/cases/*.yaml, by file and place; none where there is no such folder.

    Names are looked up in `policy`; None, where the folder does not compile, leaves them unchecked.
    Raises PolicyFault with every fault found, in the form of `compile_folder`.
    """
    cases: list[Placed] = []
    faults: list[Fault] = []
    if (root / CASES).exists() and not (root / CASES).is_dir():
        faults.append(Fault(CASES, START, "(file)", "must be a folder of YAML files"))
    for name, raw in read_files(root, root / CASES).items():
        document = unreadable(root, name) if raw is None else parse(name, raw)
        faults += shape_faults(document, CasesFile)
        items = read(document, "cases", _CASE)
        faults += _case_faults(items, policy) if policy is not None else ()
        for index, case in items.sound.items():
            line, _ = document.at(("cases", index))
            cases.append(Placed(f"{name}:{line}", case))
    if faults:
        raise PolicyFault([str(fault) for fault in in_order(faults)])
    return tuple(cases)


def _case_faults(items: Items[Case], policy: Policy) -> Iterator[Fault]:
    """Names in a case that the policy does not have."""
    document = items.document
    upstreams, rules = frozenset(policy.upstreams), frozenset(rule.name for rule in policy.rules)
    versions = frozenset(one.version for model in policy.models.values() for one in model.served_by if one.version)
    yield from repeated(document, [(("cases", i, "name"), case.name) for i, case in items.sound.items()])
    for index, case in items.sound.items():
        for name in case.fleet:
            yield from unknown(document, ("cases", index, "fleet", name), "upstream", name, upstreams)
        if case.request.tenant is not None:
            path = ("cases", index, "request", "tenant")
            yield from unknown(document, path, "tenant", case.request.tenant, frozenset(policy.tenants))
        wanted = (
            ("backend", case.expect.backend, frozenset(policy.backends)),
            ("upstream", case.expect.upstream, upstreams),
            ("rule", case.expect.rule, rules),
            ("version", case.expect.version, versions),
        )
        for key, word, known in wanted:
            if word is not None:
                yield from unknown(document, ("cases", index, "expect", key), key, word, known)
