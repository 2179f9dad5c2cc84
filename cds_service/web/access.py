"""One line in the log and one count in the metrics for every call."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

from cds_service.web import metrics
from cds_service.web.logs import loggable_instance

log = logging.getLogger("cds_service.access")


def register(app: Flask) -> None:
    """Log and count the calls of an application."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    seconds = time.perf_counter() - g.began
    # The rule that was matched, not the path: a path may hold an explanation's address.
    endpoint = g.get("endpoint") or (request.url_rule.rule if request.url_rule else "none")
    service = g.get("service", "")
    metrics.called(endpoint, service, response.status_code, seconds)
    level = logging.DEBUG if endpoint.startswith(("/health", "/metrics")) else logging.INFO
    log.log(
        level,
        "%s %s",
        request.method,
        endpoint,
        extra={
            "service": service or None,
            "status": response.status_code,
            "ms": round(seconds * 1000, 2),
            "hookInstance": loggable_instance(g.get("hook_instance")),
            "client": g.get("client"),
            "reason": g.get("reason"),
            **g.get("told", {}),
        },
    )
    return response
