"""The Flask application factory."""

from __future__ import annotations

from flask import Flask, Response

from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web import demo_fhir, explanations, health, hooks_api, problems
from cds_service.web.callers import Gate
from cds_service.web.cors import Cors


def create_app(runtime: Runtime, ledger: Ledger) -> Flask:
    """An application over a runtime and a ledger; it keeps no other state."""
    app = Flask("cds_service.web", static_folder=None)
    app.url_map.strict_slashes = False
    app.extensions["cds_runtime"] = runtime
    app.extensions["cds_ledger"] = ledger
    app.extensions["cds_gate"] = Gate(runtime.settings)
    problems.register(app)
    for blueprint in (hooks_api.api, explanations.pages, health.checks):
        app.register_blueprint(blueprint)
    if runtime.settings.demo:
        app.register_blueprint(demo_fhir.fhir)
    cors = Cors(runtime.settings)

    @app.after_request
    def _headers(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return cors.apply(response)

    return app
