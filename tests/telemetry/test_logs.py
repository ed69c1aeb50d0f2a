"""Log lines say which request they are about."""

from __future__ import annotations

import json
import logging
from contextvars import copy_context

from gateway.telemetry.logs import REQUEST, JsonLines


def line(**fields: object) -> dict[str, object]:
    record = logging.LogRecord("gateway", logging.INFO, __file__, 1, "said", (), None)
    record.fields = fields
    told: dict[str, object] = json.loads(JsonLines().format(record))
    return told


def test_a_line_has_the_id_of_the_request_that_its_task_works_for() -> None:
    def within() -> None:
        REQUEST.set("r1")
        assert line(policy="v1").items() >= {"event": "said", "policy": "v1", "request_id": "r1"}.items()
        assert line(request_id="another")["request_id"] == "another", "who says it knows better"

    copy_context().run(within)
    assert "request_id" not in line()
