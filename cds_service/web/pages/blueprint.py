"""The blueprint that all pages share: security headers, errors as pages, words for templates."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from cds_service.errors import RequestError
from cds_service.policy.model import Effective
from cds_service.web.hooks_api import runtime
from cds_service.web.problems import problem

TEMPLATES, STATIC, ASSETS = "templates", "static", "/assets"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

pages = Blueprint("pages", __name__, template_folder=TEMPLATES, static_folder=STATIC, static_url_path=ASSETS)


def secured(response: Response) -> Response:
    """Headers of every page: nothing but our own files may run, and the address goes to nobody."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


pages.after_request(secured)


@pages.context_processor
def _shared() -> dict[str, Any]:
    return {"demo": runtime().settings.demo, "here": request.path, "dates": in_force_dates}


def in_force_dates(effective: Effective, in_force: bool) -> str:
    """Days in force in words; an open end stays open, and is never the day it was looked at."""
    start, end = effective.from_, effective.to
    if start is None and end is None:
        return "dates not stated" if in_force else "no dates"
    return f"{start or 'start not stated'} to {end}" if end else f"since {start}"


def page_or_problem(error: RequestError) -> Response:
    """A page for a person, an OperationOutcome for a script."""
    wanted = request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json")
    if wanted != "text/html":
        return problem(error.http_status, error.issues)
    page = Response(render_template("error.html", status=error.http_status, issues=error.issues))
    page.status_code = error.http_status
    return page


pages.register_error_handler(RequestError, page_or_problem)
