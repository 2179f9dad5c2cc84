"""Feedback on cards (CDS Hooks 2.0, Feedback): every item is kept or named as faulty."""

from __future__ import annotations

from collections import Counter

from flask import Blueprint, Response, request

from cds_service.errors import Issue, RequestError, outcome
from cds_service.hooks import contract
from cds_service.hooks.request import parse
from cds_service.ledger.record import FeedbackResult
from cds_service.web import metrics
from cds_service.web.body import read_json_body
from cds_service.web.call import call
from cds_service.web.hooks_api import HOOK_RULE, gate, ledger, offered, runtime
from cds_service.web.responses import json_response

feedback = Blueprint("feedback", __name__)


@feedback.post("/cds-services/<id>/feedback")
def give(id: str) -> Response:
    """Record feedback. 200 if any item was kept, with the others named; 400 if none was."""
    here = call()
    here.endpoint = "feedback"
    # CDS Hooks asks for the URL of the service as audience, and says nothing of its feedback endpoint.
    caller = gate().admit(request, also=HOOK_RULE.replace("<id>", id))
    here.client = caller.id
    gate().spend(caller)
    service = offered(here, id)
    settings = runtime().settings
    body = parse(read_json_body(request, settings.max_body_bytes, settings.read_deadline))
    if isinstance(body.get("feedback"), dict):
        body = {**body, "feedback": [body["feedback"]]}
    found = contract.faults("Feedback", body)
    if found:
        raise RequestError(*found)
    results = ledger().feedback(service.id, caller.id, body["feedback"])
    metrics.given(service.id, Counter(r.status for r in results))
    return _told(results)


def _told(results: list[FeedbackResult]) -> Response:
    rejected = tuple(Issue(r.reason, r.path, "value") for r in results if r.status == "rejected")
    if len(rejected) == len(results):
        raise RequestError(*rejected)
    count = len(results) - len(rejected)
    kept = Issue(f"{count} of {len(results)} items are recorded.", code="informational", severity="information")
    return json_response(outcome((kept, *rejected)), media="application/fhir+json")
