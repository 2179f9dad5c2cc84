"""The CDS Hooks API: discovery, hook calls (CDS Hooks 2.0)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from cds_service.errors import NotFound
from cds_service.hooks.answer import Timing, answer
from cds_service.hooks.recording import record
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import Service, discovery
from cds_service.ledger.store import Ledger
from cds_service.policy.case import Fault
from cds_service.web.body import read_json_body
from cds_service.web.callers import Gate

api = Blueprint("hooks", __name__)
log = logging.getLogger("cds_service.web")
_NAMEABLE = re.compile(r"(?!Patient/)[A-Z][A-Za-z]{1,63}/[A-Za-z0-9.\-]{1,64}")
_PLACE = re.compile(r"[A-Za-z]{1,64}(?:\[\d+\])?(?:\.[A-Za-z]{1,64}(?:\[\d+\])?)*")


def json_response(value: Any, status: int = 200) -> Response:
    """JSON, never cached: answers are about a patient."""
    response = Response(orjson.dumps(value), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def runtime() -> Runtime:
    """The process's runtime."""
    found: Runtime = current_app.extensions["cds_runtime"]
    return found


def ledger() -> Ledger:
    """The process's ledger."""
    found: Ledger = current_app.extensions["cds_ledger"]
    return found


def gate() -> Gate:
    """Who may call."""
    found: Gate = current_app.extensions["cds_gate"]
    return found


def _service(service_id: str) -> Service:
    service = runtime().services.get(service_id)
    if service is None:
        raise NotFound("There is no such service; GET /cds-services lists them.")
    return service


@api.get("/cds-services")
def discover() -> Response:
    """The services on offer."""
    gate().admit_discovery(request)
    here = runtime()
    return json_response(discovery(tuple(here.services.values()), here.book.rulebook))


@api.post("/cds-services/<id>")
def invoke(id: str) -> Response:
    """Answer a hook. A 200 leaves only when its record is durable."""
    here = runtime()
    received = here.now()
    caller = gate().admit(request)
    service = _service(id)
    clock = Timing()
    with clock.stage("parse"):
        settings = here.settings
        body = parse(read_json_body(request, settings.max_body_bytes, settings.read_deadline))
    with clock.stage("validate"):
        hook_request = validate(body, service)
    done = answer(hook_request, service, here, caller, timing=clock)
    _log_unusable(done.case.faults)
    silenced = _silenced(done.response["cards"], done, caller)
    with clock.stage("ledger"):
        store = ledger()
        store.write(record(done, caller, received, store.finding_key, silenced))
    shown = {**done.response, "cards": [c for c in done.response["cards"] if c["uuid"] not in silenced]}
    return json_response(shown)


def _silenced(cards: list[Any], done: Any, caller: Caller) -> frozenset[str]:
    quiet = {r.card["uuid"] for r in done.rendered if r.policy and caller.silent(r.policy)}
    return frozenset(c["uuid"] for c in cards if c["uuid"] in quiet)


def _log_unusable(faults: Iterable[Fault]) -> None:
    """Resources that were not used, by reference. What a client wrote where an id belongs is not repeated."""
    refs = dict.fromkeys(_loggable(f.ref) for f in faults if f.fatal)
    if refs:
        log.warning("not used: %s", ", ".join(refs))


def _loggable(ref: str) -> str:
    if _NAMEABLE.fullmatch(ref) or _PLACE.fullmatch(ref):
        return ref
    kind = ref.partition("/")[0]
    return f"{kind} (id withheld)" if kind.isalpha() and kind.isascii() else "a resource (id withheld)"
