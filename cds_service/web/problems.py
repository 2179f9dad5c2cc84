"""Errors as FHIR OperationOutcomes: they name the field, and hold no stack trace, token or patient value."""

from __future__ import annotations

import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from cds_service.errors import CdsServiceError, Issue, LedgerUnavailable, RequestError, once, outcome, place_of
from cds_service.web.call import Call, call
from cds_service.web.callers import Throttled
from cds_service.web.responses import json_response

log = logging.getLogger("cds_service.web")
MOST_ISSUES = 100
_STATUS_CODES = {404: "not-found", 405: "not-supported", 408: "timeout", 413: "too-long", 415: "not-supported"}


def problem(status: int, issues: tuple[Issue, ...]) -> Response:
    """The HTTP answer for an error."""
    return json_response(outcome(issues), status, "application/fhir+json")


def register(app: Flask) -> None:
    """Every error leaves as an OperationOutcome."""
    app.register_error_handler(Exception, lambda error: told(error, call()))


def told(error: Exception, here: Call) -> Response:
    """The answer to an error; one that was not foreseen is logged by kind and place only."""
    if isinstance(error, RequestError):
        return _refused(error, here)
    if isinstance(error, CdsServiceError):
        log.error("failed: %s: %s", type(error).__name__, error)
        passing = isinstance(error, LedgerUnavailable)
        again = Issue("The answer could not be completed. Try again.", code="transient" if passing else "exception")
        response = problem(error.http_status, (again,))
        if isinstance(error, LedgerUnavailable):
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, RequestEntityTooLarge):
        return problem(413, (Issue("is larger than this service accepts", "$", "too-long"),))
    if isinstance(error, HTTPException):
        return _http(error, here)
    return _unforeseen(error)


def _refused(error: RequestError, here: Call) -> Response:
    here.reason = ",".join(sorted({i.code for i in error.issues}))
    response = problem(error.http_status, _first(once(error.issues)))
    if error.http_status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.http_status in (408, 413):
        response.headers["Connection"] = "close"  # what is left of the body must not be taken for a request
    if isinstance(error, Throttled):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _first(issues: tuple[Issue, ...]) -> tuple[Issue, ...]:
    """As many as somebody may read: an answer must not be many times as large as the request."""
    left = len(issues) - MOST_ISSUES
    if left <= 0:
        return issues
    more = Issue(f"{left} more faults are not listed.", code="informational", severity="information")
    return (*issues[:MOST_ISSUES], more)


def _http(error: HTTPException, here: Call) -> Response:
    status = error.code or 500
    text = {404: "There is nothing at this address.", 405: f"{here.request.method} is not offered here."}.get(status)
    answer = problem(status, (Issue(text or error.name, code=_STATUS_CODES.get(status, "processing")),))
    for name, value in error.get_headers():
        if name == "Allow":
            answer.headers[name] = value
    return answer


def _unforeseen(error: Exception) -> Response:
    log.error("unforeseen %s", place_of(error))
    return problem(500, (Issue("The service failed. The fault has been recorded.", code="exception"),))
