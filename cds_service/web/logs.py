"""Structured logs: one JSON object a line, with only the fields named here, so that no patient data gets in."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
import time
from typing import Any

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ENCODE = json.JSONEncoder(ensure_ascii=False, default=str).encode
FIELDS = (
    "service", "status", "ms", "hookInstance", "client", "cards", "outcome", "reason", "revision", "jwks_url", "stages",
)  # fmt: skip


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message and the extra fields of `FIELDS`. A traceback is named by kind and place only."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := record.__dict__.get(name)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            # The text of an exception may quote a request.
            line["exception"] = record.exc_info[0].__name__
        return _ENCODE(line)


def configure(level: str) -> None:
    """Send everything that is logged in this process to standard error as JSON; warnings and the server's own too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("_granian", "granian.access"):
        server = logging.getLogger(name)
        server.handlers.clear()
        server.propagate = True
    # Most of the many threads only wait (see turns.py).
    logging.getLogger("_granian").addFilter(lambda record: "seems quite high" not in str(record.msg))
    logging.captureWarnings(True)


def loggable_instance(instance: object) -> str | None:
    """A hookInstance as it may be logged: a UUID as it is; anything else may say who the patient is, so its hash."""
    if not isinstance(instance, str):
        return None
    if _UUID.fullmatch(instance):
        return instance
    return "sha256:" + hashlib.sha256(instance.encode("utf-8", "surrogatepass")).hexdigest()[:32]
