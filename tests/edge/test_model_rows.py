"""GET /v1/models: a row as OpenAI's own SDK reads it, with the day on which the model ends."""

from __future__ import annotations

from datetime import date

import pytest
from openai.types import Model as Row

from gateway.edge.routes import model_row
from gateway.model import Model, Served

SOON, LATER = date(2026, 12, 1), date(2027, 1, 14)


@pytest.mark.parametrize(
    ("days", "shutdown"),
    [
        ((None,), None),
        ((SOON,), "2026-12-01"),
        ((SOON, LATER), "2027-01-14"),
        ((SOON, None), None),  # one way to serve it goes on: our own workers, say
    ],
)
def test_the_day_is_that_of_the_last_way_to_serve_it(days: tuple[date | None, ...], shutdown: str | None) -> None:
    served = tuple(Served(f"b{i}", "x", retires=day) for i, day in enumerate(days))
    written = model_row(Model("gpt-4o", "text", served))
    row = Row.model_validate(written)
    assert (row.id, row.object, row.owned_by, row.shutdown_date) == ("gpt-4o", "model", "gateway", shutdown)
    assert ("shutdown_date" in written) == (shutdown is not None)
