"""Explanations: capability pages that say why a card was shown. Unguessable, expiring, never cached."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request

from cds_service.errors import NotFound, RequestError
from cds_service.web.hooks_api import ledger
from cds_service.web.pages.blueprint import ASSETS, page_or_problem, secured
from cds_service.web.responses import json_response

# This page is on the service's listener, where the other pages are not: it brings the sheet along.
pages = Blueprint(
    "explanations", __name__, template_folder="pages/templates", static_folder="pages/static", static_url_path=ASSETS
)
pages.after_request(secured)
pages.register_error_handler(RequestError, page_or_problem)


@pages.get("/explanations/<uuid>")
def explain(uuid: str) -> Response:
    """One explanation, as a page or as JSON by Accept; `?audience=patient` words it for a patient."""
    audience = request.args.get("audience", "clinician")
    if audience not in ("clinician", "patient"):
        raise RequestError("must be clinician or patient", path="audience", code="value")
    stored = ledger().explanation(uuid)
    if stored is None:
        raise NotFound("There is no such explanation, or it has expired.")
    document = worded(stored, audience)
    if request.accept_mimetypes.best_match(["application/json", "text/html"], "text/html") == "application/json":
        response = json_response(document)
    else:
        response = Response(render_template("explanation.html", document=document, audience=audience))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def worded(stored: dict[str, Any], audience: str) -> dict[str, Any]:
    """The document with each part worded for one reader."""
    parts = [{"number": p["number"], "title": p["title"], "text": p[audience]} for p in stored["parts"]]
    return {**stored, "parts": parts, "audience": audience}
