"""Health, metrics and the contract."""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)
checks = Blueprint("health", __name__)
operators = Blueprint("operators", __name__)
_FRESH_SECONDS = 1.0
_WAIT_SECONDS = 1.0
_MOST_WAITING = 5  # fewer than front.RESERVE
_FAILED = "The ledger could not be asked."
_SILENT = "The ledger's database gives no answer."


class LedgerCheck:
    """Whether the ledger takes writes; asked at most once a second, because the question is a write as well."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._waiting = threading.Semaphore(_MOST_WAITING)
        self._told: threading.Event | None = None  # while the ledger is being asked
        self._asked = float("-inf")
        self._fault = ""

    def fault(self) -> str:
        """What is wrong with database or disk; empty if nothing is.

        While the ledger waits for a database that hangs, few probes wait with it for a moment, and the rest do not:
        they would hold the threads that a worker needs to say that it lives.
        """
        if not self._waiting.acquire(blocking=False):
            return _SILENT
        try:
            told = self._asking()
            return self._fault if told is None or told.wait(_WAIT_SECONDS) else _SILENT
        finally:
            self._waiting.release()

    def _asking(self) -> threading.Event | None:
        """Set when the ledger has answered; None if it did so just now."""
        with self._lock:
            if self._told is None and time.monotonic() - self._asked >= _FRESH_SECONDS:
                self._told = threading.Event()
                threading.Thread(target=self._ask_for, args=(self._told,), name="ready", daemon=True).start()
            return self._told

    def _ask_for(self, told: threading.Event) -> None:
        fault = _FAILED
        try:
            fault = self._ask()
        finally:
            with self._lock:
                if fault and fault != self._fault:
                    log.warning("not ready: %s", fault)
                self._fault, self._asked, self._told = fault, time.monotonic(), None
            told.set()

    def _ask(self) -> str:
        try:
            self._ledger.ready()
        except CdsServiceError as error:
            return str(error)
        return ""


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
        "ledger": (fault if _tells_operators() else "unavailable") if fault else "ok",
        "content": content.revision[:12],
        "reload": content.reload_state,
        "policies": "none is approved: nothing is shown" if shows_nothing else "ok",
    }
    return json_response({"status": "unavailable" if fault else "ok", "checks": found}, 503 if fault else 200)


def _tells_operators() -> bool:
    """Whether this is the operators' listener; what is wrong, and where, is nobody else's business."""
    return operators.name in current_app.blueprints


@checks.get("/openapi.yaml")
def openapi() -> Response:
    """The contract."""
    return Response(contract.text(), content_type="application/yaml")


@operators.get("/metrics")
def exposed() -> Response:
    """Prometheus metrics of all workers."""
    body, media = metrics.exposition()
    return Response(body, content_type=media)
