"""`gateway` without its telemetry: nothing is counted, observed, traced or told. What telemetry costs is measured
against it, and nobody else needs it."""

from __future__ import annotations

from gateway.__main__ import main
from gateway.edge import books  # where `tell` is called from
from gateway.instruments import Counter, Histogram, Level
from gateway.telemetry import Telemetry


def nothing(*_: object, **__: object) -> None:
    """What every instrument does."""


def silence() -> None:
    for instrument, name in ((Counter, "inc"), (Histogram, "observe"), (Level, "set"), (Level, "add")):
        setattr(instrument, name, nothing)
    for name in [name for name in vars(Telemetry) if name.startswith(("count_", "estimated"))]:
        setattr(Telemetry, name, nothing)
    vars(books)["tell"] = nothing


if __name__ == "__main__":
    silence()
    main()
