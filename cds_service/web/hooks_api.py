"""The CDS Hooks API: discovery, hook calls (CDS Hooks 2.0)."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import datetime
from itertools import count, islice
from typing import Any

from flask import Blueprint, Response, request

from cds_service.errors import LedgerError, NotFound
from cds_service.facts.builder import FURTHER_ORDERS, FURTHER_RESOURCES
from cds_service.facts.validity import READABLE
from cds_service.hooks import contract
from cds_service.hooks.answer import Answer, Timing, answer
from cds_service.hooks.crd_services import nothing_to_say
from cds_service.hooks.recording import held_back, record, shown
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import Service, discovery
from cds_service.ledger.record import Replayed
from cds_service.ledger.store import Ledger
from cds_service.policy.case import Case, Fault
from cds_service.web import logs, metrics
from cds_service.web.body import read_json_body
from cds_service.web.call import Call, call
from cds_service.web.callers import Admission
from cds_service.web.responses import json_response
from cds_service.web.turns import Turns

HOOK_RULE = "/cds-services/<id>"
api = Blueprint("hooks", __name__)
log = logging.getLogger("cds_service.web")
_MOST_REFS = 20
_PLACE = re.compile(r"(?:context\.[A-Za-z]{1,32}|plannedOrders)\.entry\[\d+\](?:\.[A-Za-z]{1,32})*")
_KEY = os.urandom(16)  # of this run: what is hashed with it cannot be found by trying ids


def runtime() -> Runtime:
    """Settings, content and ports as this request began with."""
    return call().state.runtime


def ledger() -> Ledger:
    """The process's ledger."""
    return call().state.ledger


def gate() -> Admission:
    """Who may call."""
    return call().state.gate


def turns() -> Turns:
    """How many calls are worked on at once."""
    return call().state.turns


def offered(here: Call, service_id: str) -> Service:
    """A service of this deployment. Raises NotFound."""
    service = here.state.runtime.services.get(service_id)
    if service is None:
        raise NotFound("There is no such service; GET /cds-services lists them.")
    here.service = service.id
    return service


@api.get("/cds-services")
def discover() -> Response:
    """The services on offer."""
    call().endpoint = "discovery"
    gate().admit_discovery(request)
    here = runtime()
    return json_response(discovery(tuple(here.services.values()), here.book.rulebook))


@api.post(HOOK_RULE)
def invoke(id: str) -> Response:
    """Answer a hook."""
    return hook(call(), id)


def hook(here: Call, id: str) -> Response:
    """Answer a hook. A 200 leaves only when its record is durable, and the token is used up with the record."""
    here.endpoint = "hook"
    received = here.state.runtime.now()
    caller = here.state.gate.admit(here.request)
    here.client = caller.id
    try:
        return _answered(here, caller, offered(here, id), received)
    except (Replayed, LedgerError):
        raise
    except Exception:
        # No record holds this token, so it is used up by itself: a refused call cannot be sent again either.
        here.state.gate.spend(caller)
        raise


def _answered(here: Call, caller: Caller, service: Service, received: datetime) -> Response:
    settings, store, turns = here.state.runtime.settings, here.state.ledger, here.state.turns
    waited, clock = Timing(), Timing()
    with waited.stage("read"):
        raw = read_json_body(here.request, settings.max_body_bytes, settings.read_deadline)
    with waited.stage("wait"):
        turn = turns.take()
    with turn:
        done = _evaluated(here, raw, caller, service, clock)
        silenced = held_back(done, caller)
        with clock.stage("render"):
            response = _as_described(shown(done, caller, silenced), settings.check_responses)
        with clock.stage("ledger"):
            kept = record(done, caller, received, store.finding_key, silenced)
            with turns.lent() if settings.writes_wait else nullcontext():
                store.write(kept)
        here.cards, here.stages = len(kept.cards) - len(silenced), waited.stages | clock.stages
        metrics.answered(kept, here.stages)
    return response


_answers = count()


def _as_described(response: dict[str, Any], every: int) -> Response:
    """The response, one in `every` held against the contract.

    That it differs is our fault, which is logged, and no reason to withhold it.
    """
    if next(_answers) % every == 0:
        for fault in contract.faults("HookResponse", response):
            log.error("an answer differs from the contract: %s %s", fault.path, fault.text)
    return json_response(response)


def _evaluated(here: Call, raw: bytes, caller: Caller, service: Service, clock: Timing) -> Answer:
    with clock.stage("parse"):
        body = parse(raw)
    here.hook_instance = body.get("hookInstance")
    with clock.stage("validate"):
        hook_request = validate(body, service, raw)
    runtime = here.state.runtime
    if caller.stopped:
        silence, book = nothing_to_say(service), runtime.book
        return Answer(
            silence, hook_request, service, Case(), book.policies, timing=clock, revision=book.rulebook.revision
        )
    done = answer(hook_request, service, runtime, caller, live=True, timing=clock)
    _log_unusable(done.case.faults, logs.loggable_instance(here.hook_instance))
    return done


def _log_unusable(faults: Iterable[Fault], instance: str | None) -> None:
    """Resources that were not used; the record of the call has their references."""
    refs = dict.fromkeys(_loggable(f.ref) for f in faults if f.fatal)
    if refs:
        more = f" and {len(refs) - _MOST_REFS} more" if len(refs) > _MOST_REFS else ""
        told = ", ".join(islice(refs, _MOST_REFS))
        log.warning("not used: %s%s", told, more, extra={"hookInstance": instance})


def _loggable(ref: str) -> str:
    """A place in the request, or a type and a hash of the reference: an id may say who the patient is."""
    if _PLACE.fullmatch(ref) or ref in (FURTHER_ORDERS, FURTHER_RESOURCES):
        return ref
    kind = re.split(r"[/\[]", ref, maxsplit=1)[0]
    hashed = hashlib.blake2b(ref.encode("utf-8", "surrogatepass"), key=_KEY, digest_size=4).hexdigest()
    return f"{kind if kind in READABLE else 'a resource'} #{hashed}"
