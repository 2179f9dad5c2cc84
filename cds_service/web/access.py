"""How every call begins and ends: its state; its headers, one line in the log, one count in the metrics."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

from cds_service.web import cors, metrics
from cds_service.web.call import Call, call
from cds_service.web.control import Live
from cds_service.web.logs import loggable_instance
from cds_service.web.pages.blueprint import POLICY
from cds_service.web.responses import Whole

log = logging.getLogger("cds_service.access")


def register(app: Flask, live: Live, *, cross_origin: bool) -> None:
    """Begin and end the calls of an application; `cross_origin`: whether browser clients may be let in."""

    @app.before_request
    def _begin() -> None:
        g.call = Call(live.state, request._get_current_object())  # type: ignore[attr-defined]

    app.after_request(lambda response: ended(call(), response, cross_origin=cross_origin))


def ended(here: Call, response: Response, *, cross_origin: bool) -> Response:
    """The response with its headers, once the call is counted and logged."""
    if not isinstance(response, Whole):  # which has its headers
        _secure(response)
    if cross_origin and (origin := here.request.environ.get("HTTP_ORIGIN")) is not None:
        cors.apply(response, here.request, origin, here.state.gate.origins)
    # The rule that was matched, not the path: a path may hold an explanation's address.
    rule = here.request.url_rule
    here.endpoint = here.endpoint or (rule.rule if rule else "none")
    seconds = time.perf_counter() - here.began
    metrics.called(here.endpoint, here.service, response.status_code, seconds)
    _tell(here, response.status_code, seconds)
    return response


def _tell(here: Call, status: int, seconds: float) -> None:
    level = logging.DEBUG if here.endpoint.startswith(("/health", "/metrics")) else logging.INFO
    if not log.isEnabledFor(level):
        return
    told = {
        "service": here.service or None,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "hookInstance": loggable_instance(here.hook_instance),
        "client": here.client,
        "reason": here.reason,
        "cards": here.cards,
        "stages": {name: round(milliseconds, 3) for name, milliseconds in here.stages.items()} or None,
    }
    log.log(level, "%s %s", here.request.method, here.endpoint, extra=told)


def _secure(response: Response) -> None:
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html":
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
