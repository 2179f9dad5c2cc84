"""Health, metrics and the contract."""

from __future__ import annotations

import threading
import time

from flask import Blueprint, Response, current_app

from cds_service.errors import CdsServiceError
from cds_service.hooks import contract
from cds_service.ledger.store import Ledger
from cds_service.web import metrics
from cds_service.web.control import Live
from cds_service.web.hooks_api import ledger
from cds_service.web.responses import json_response

checks = Blueprint("health", __name__)
operators = Blueprint("operators", __name__)
_FRESH_SECONDS = 1.0
_WAIT_SECONDS = 1.0


class LedgerCheck:
    """Whether the ledger takes writes; asked at most once a second, because the question is a write as well."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._fault = ""

    def fault(self) -> str:
        """What is wrong with database or disk; empty if nothing is.

        While one probe waits for a database that hangs, the others do not join it: they would hold all places of a
        worker, and it would answer nothing any more.
        """
        if not self._lock.acquire(timeout=_WAIT_SECONDS):
            return "The ledger's database gives no answer."
        try:
            if time.monotonic() - self._asked >= _FRESH_SECONDS:
                try:
                    self._ledger.ready()
                    self._fault = ""
                except CdsServiceError as error:
                    self._fault = str(error)
                self._asked = time.monotonic()
            return self._fault
        finally:
            self._lock.release()


@checks.get("/health/live")
def live() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@checks.get("/health/ready")
def ready() -> Response:
    """The ledger can be written (database and disk), and which content is in force."""
    check = current_app.extensions.setdefault("cds_ledger_check", LedgerCheck(ledger()))
    content: Live = current_app.extensions["cds_live"]
    fault = check.fault()
    shows_nothing = content.state.runtime.shows_nothing
    found = {
        "ledger": fault or "ok",
        "content": content.revision[:12],
        "reload": content.fault or "ok",
        "policies": "none is approved: nothing is shown" if shows_nothing else "ok",
    }
    return json_response({"status": "unavailable" if fault else "ok", "checks": found}, 503 if fault else 200)


@checks.get("/openapi.yaml")
def openapi() -> Response:
    """The contract."""
    return Response(contract.text(), content_type="application/yaml")


@operators.get("/metrics")
def exposed() -> Response:
    """Prometheus metrics of all workers."""
    body, media = metrics.exposition()
    return Response(body, content_type=media)
