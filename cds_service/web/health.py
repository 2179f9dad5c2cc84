"""Health and the contract."""

from __future__ import annotations

from flask import Blueprint, Response

from cds_service.errors import CdsServiceError
from cds_service.hooks import contract
from cds_service.web.hooks_api import json_response, ledger, runtime

checks = Blueprint("health", __name__)


@checks.get("/health/live")
def live() -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


@checks.get("/health/ready")
def ready() -> Response:
    """Content is loaded, and the ledger can be written."""
    try:
        ledger().ready()
    except CdsServiceError as error:
        return json_response({"status": "unavailable", "checks": {"ledger": str(error)}}, 503)
    return json_response({"status": "ok", "checks": {"ledger": "ok", "content": runtime().book.rulebook.revision[:12]}})


@checks.get("/openapi.yaml")
def openapi() -> Response:
    """The contract."""
    return Response(contract.text(), content_type="application/yaml")
