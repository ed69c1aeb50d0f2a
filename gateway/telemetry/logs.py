"""JSON lines on stderr, each with the request that it is about."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)
"""Id of the request that the running task works for."""
ACCESS = "gateway.access"


class JsonLines(logging.Formatter):
    """One JSON object a line. Only what the message and `extra={"fields": ...}` hold: never a body,
    a key or an address."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        request = REQUEST.get()
        if request is not None:
            line["request_id"] = request
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            trail = record.exc_info[2]
            while trail is not None and trail.tb_next is not None:
                trail = trail.tb_next
            if trail is not None:
                line["at"] = f"{trail.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trail.tb_lineno}"
        return json.dumps(line, default=str)


def set_up_logs(level: str) -> None:
    """JSON lines on stderr for the whole process. What the OpenTelemetry SDK says of every failed export is said once,
    by us (`export.Collector`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.access").disabled = True
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.addHandler(logging.NullHandler())
