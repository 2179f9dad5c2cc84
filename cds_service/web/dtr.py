"""Questionnaires for DTR: read by canonical or id, search by URL, and `$questionnaire-package`, for known clients."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from flask import Blueprint, Response, request

from cds_service.errors import NotFound
from cds_service.hooks.crd_ids import record_of
from cds_service.hooks.dtr_request import asked
from cds_service.hooks.questionnaire import package
from cds_service.hooks.request import parse
from cds_service.hooks.runtime import Caller
from cds_service.render.questionnaire import RuleForm, find, forms, questionnaire
from cds_service.web import questionnaire_search
from cds_service.web.body import read_json_body
from cds_service.web.call import call
from cds_service.web.hooks_api import gate, ledger, runtime
from cds_service.web.responses import json_response

dtr = Blueprint("dtr", __name__)
FHIR = "application/fhir+json"


def _admitted() -> Caller:
    """The caller, whose token is used up: these calls leave no record of a hook."""
    caller = gate().admit(request)
    call().client = caller.id
    gate().spend(caller)
    return caller


@dtr.post("/Questionnaire/$questionnaire-package")
def questionnaire_package() -> Response:
    """Forms that orders need, prefilled (Da Vinci DTR)."""
    call().endpoint = "questionnaire"
    caller, here = _admitted(), runtime()
    body = parse(read_json_body(request, here.settings.max_body_bytes, here.settings.read_deadline))
    answer = package(asked(body), here, caller, lambda context: _remembered(context, caller))
    return json_response(answer, media=FHIR)


def _remembered(context: str, caller: Caller) -> list[str] | None:
    """Canonicals that an earlier assertion to this client named; what a chart held is not read again.

    None where this client was told no such assertion.
    """
    record_id = record_of(context)
    record = ledger().record(record_id) if record_id else None
    if record is None or record.get("client") != caller.id:
        return None
    told = [t for d in record["determinations"] for t in d.get("coverage_information", ())]
    named = [t for t in told if t.get("coverage-assertion-id") == context]
    return [q for t in named for q in t.get("questionnaire", ())] if named else None


@dtr.get("/Questionnaire/<publisher>/<policy>/<name>")
def by_canonical(publisher: str, policy: str, name: str) -> Response:
    """A Questionnaire at its canonical URL, `|<version>` or `?version=` optional."""
    _admitted()
    rule, _, version = name.partition("|")
    form = find(runtime().book.rulebook.folders, f"{publisher}/{policy}", rule, version or request.args.get("version"))
    return _served(form)


@dtr.get("/Questionnaire/<id>")
def by_id(id: str) -> Response:
    """A Questionnaire by its FHIR id."""
    _admitted()
    return _served(next((f for f in forms(runtime().book.rulebook.folders) if f.id == id), None))


@dtr.get("/Questionnaire")
def search() -> Response:
    """Questionnaires by id, name, title, URL and version (FHIR search); all of them without."""
    _admitted()
    base = runtime().settings.base_url
    every = (questionnaire(f, base) for f in forms(runtime().book.rulebook.folders))
    found = questionnaire_search.search(every, list(request.args.items(multi=True)), base)
    return json_response(found, media=FHIR)


def _served(form: RuleForm | None) -> Response:
    if form is None:
        raise NotFound("There is no such Questionnaire.")
    return _cacheable(questionnaire(form, runtime().settings.base_url))


def _cacheable(resource: dict[str, Any]) -> Response:
    """A Questionnaire holds nothing of a patient and never changes within its version."""
    body = orjson.dumps(resource)
    response = Response(body, content_type=FHIR)
    response.headers["Cache-Control"] = "private, max-age=3600"
    response.vary.add("Origin")  # one kept from a call without an origin could not be read by a browser client
    response.set_etag(hashlib.sha256(body).hexdigest()[:32])
    response.make_conditional(request)
    return response
