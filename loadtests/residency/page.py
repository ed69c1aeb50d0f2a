"""What a run says: its verdict, whether it tried enough to mean anything, and its page."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests.residency.media_site import SHARES, Medium
from loadtests.residency.run import Tally

TEXT_PART = "text over HTTP"
MEDIA_PARTS: Mapping[Medium, str] = {medium: f"{medium} over HTTP" for medium in SHARES}
_JOBS = {"jobs": 0.1, "flagged jobs": 0.1, "results kept": 0.05, "jobs under way as a process died": 0.001}
_MEDIA = {
    "flagged": 0.3,
    "tempted": 0.3,
    "deliveries": 0.1,
    "flagged to our own workers": 0.05,
    "flagged to private endpoints": 0.002,
    "reloads": 0.001,
    "processes killed": 0.0005,
}
LEAST: Mapping[str, Mapping[str, float]] = {
    "in one process": {
        "flagged": 0.3,
        "tempted": 0.3,
        "deliveries": 0.2,
        "flagged to our own workers": 0.05,
        "flagged to private endpoints": 0.005,
        "audited": 0.1,
        "under rules that change": 0.1,
        "hedges": 0.0003,
        "rescues": 0.00001,
        "reloads": 0.005,
        "times without the store": 1e-6,
        "media": 0.05,
        "orders": 0.002,
        "translated": 0.005,
        "jobs": 0.005,
        "flagged jobs": 0.001,
        "results kept": 0.0005,
    },
    TEXT_PART: {
        "deliveries": 0.1,
        "flagged to our own workers": 0.05,
        "flagged to private endpoints": 0.01,
        "reloads": 0.001,
    },
    **{name: _MEDIA | (_JOBS if medium == "films" else {}) for medium, name in MEDIA_PARTS.items()},
}
"""Shares of the requests: a run below them tempted the gateway too little to prove anything."""
_ORDER = (
    "requests",
    "flagged",
    "tempted",
    "demands not understood",
    "reloads",
    "times without the store",
    "deliveries",
    "flagged to our own workers",
    "flagged to private endpoints",
    "audited",
    "under rules that change",
    "hedges",
    "rescues",
    "translated",
    "media",
    "orders",
    "jobs",
    "flagged jobs",
    "results kept",
    "results given out",
    "processes killed",
    "jobs under way as a process died",
    "without a word of a caller",
    "forbidden",
)
NOTE = """Written by `make prove-residency`. Each request goes through the gateway's own code, and every delivery is
judged by `loadtests/residency/oracle.py`, which states the promise anew and imports nothing of the gateway.

**In one process** everything is real from the ASGI server's hands to the socket: middleware, keys, the body,
`decide`, `Admission` with leases and budgets in an embedded Valkey, the retry loop of `Forward`, the audit, `Client`,
its pools, connections and their check of the peer. Replaced are the HTTP server in front, the probes, and the one
call that would open a socket: its connections note every byte and answer, refuse, stall, break off or lead to a wrong
peer. The policies are random and never went through `gateway check`, which would refuse many of them: rules that send
anything anywhere, private endpoints in wrong zones, spill on failure, rules whose match holds at one moment and not at
the next, also while a request waits or between two attempts; rules that hedge and rescue; about every sixty requests
another version takes effect, in which zones, kinds and private endpoints of the same addresses have changed, and in
every 25th world the store stands still until the gateway is degraded. For each delivery under a demand the audit on
the disk must have its line at that moment, by a rule that could decide it, under all that was demanded before; no
attempt may be one that only its permit held back; and at the end `gateway audit verify` must find the chains whole.

Eight in a hundred requests are media: pictures (also as a stream, and with a picture in a form), speech, sound to be
heard (a form that passes through in pieces, or is kept until it is whole), sessions, and films and pictures in the
background, which are jobs. The APIs are OpenAI's, Anthropic's (chat completions and Messages are translated into each
other) and three that take orders: fal, GMI Cloud's queue, DashScope. What a caller says holds a nonce: the prompt, a
field of the form, the file and its name, the query of a session. Tickets and results carry it on, so that every call
that follows (a look at an order, its result, its end) is judged as the first one is. A job is judged by the policy that
took it in and by the one that its newest line in the audit names, which must have been in force since then: it keeps
what both demand. And every file where results are kept is read: whose nonce it holds must be allowed to lie there.

**Text over HTTP**: a gateway process stands before the simulated fleet with a folder that `gateway check` lets pass
and whose author never thought of residency; workers and APIs fail, rules hedge, and reloads swap the zones of two APIs.
Judged are the journals of all servers. A delivery that either version of the policy allows counts as allowed there: a
journal does not tell which one it began with.

**Pictures, speech, sound and films over HTTP**: two gateway processes share a store and a folder of results, with such
a folder again, before workers of ours, three accounts of OpenAI's API and two of fal's queue, which note every request
that they get. Pictures are made and edited (a form with an upload), also in the background; films are ordered, waited
for and downloaded; sound comes in one piece and in many. Servers refuse, fail, break off, hang and are gone; a process
is killed (SIGKILL) eight times in a run, and the other one goes on with its jobs. Judged are the journals, as above;
what each job gave out, which must be its own; and every file that the run wrote: what was made for somebody may lie
where results are kept (zone `fra`, on machines of ours) if its demand allows that, and nowhere else.

*Orders*: calls to APIs that take them. *Flagged jobs*: calls of jobs under a demand of their caller, tenant or model.
*Without a word of a caller*: lists of orders at an API, in which one is looked for whose answer was lost; they hold a
model's name and our key. *Tempted*: flagged requests whose rule names at least one backend where they must not go."""


def missing(tally: Tally, least: Mapping[str, float]) -> list[str]:
    """What there was too little of."""
    counts, requests = tally.counts, max(1, tally.counts["requests"])
    wrong = [
        f"too few: {name}: {counts[name]} of {requests}\n"
        for name, share in least.items()
        if counts[name] < share * requests
    ]
    return wrong + ([f"{tally.statuses[500]} answers of 500\n"] if tally.statuses[500] else [])


def verdict(parts: Mapping[str, Tally]) -> str:
    """One line, whose last word is `holds` where it does."""
    requests, deliveries, forbidden = (
        sum(tally.counts[name] for tally in parts.values()) for name in ("requests", "deliveries", "forbidden")
    )
    word = "does not hold" if forbidden else "holds"
    if not forbidden and any(missing(tally, LEAST[name]) for name, tally in parts.items()):
        word = "proves nothing, too little was tried"
    return f"prove-residency: {requests:,} requests, {deliveries:,} deliveries, {forbidden:,} forbidden: {word}"


def page(parts: Mapping[str, Tally], about: Mapping[str, str]) -> str:
    rows = [f"| {name} | " + " | ".join(_shown(tally, name) for tally in parts.values()) + " |" for name in _ORDER]
    statuses = sorted(set().union(*(tally.statuses for tally in parts.values())))
    rows += [
        f"| answered {status or 'nobody: the caller had left'} | "
        + " | ".join(f"{tally.statuses[status]:,}" for tally in parts.values())
        + " |"
        for status in statuses
    ]
    return (
        "\n\n".join(
            (
                "# A million requests, and where their data went",
                NOTE,
                "\n".join(f"- {key}: {value}" for key, value in about.items()),
                f"**{verdict(parts)}**",
                "\n".join((f"| | {' | '.join(parts)} |", "|---" * (len(parts) + 1) + "|", *rows)),
            )
        )
        + "\n"
    )


def _shown(tally: Tally, name: str) -> str:
    """A dash where it is not counted."""
    return f"{tally.counts[name]:,}" if name in tally.counts or name == "forbidden" else "-"
