"""The Flask application factories: the service, and the pages and metrics for its operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Flask

from cds_service.auth.rate import RateLimiter
from cds_service.hooks.runtime import Runtime
from cds_service.ledger.store import Ledger
from cds_service.web import access, demo_fhir, dtr, explanations, feedback, health, hooks_api, problems
from cds_service.web.call import call
from cds_service.web.callers import check_loopback_name, check_operators_name
from cds_service.web.control import Live, Texts
from cds_service.web.direct import Direct
from cds_service.web.front import Front
from cds_service.web.pages import pages
from cds_service.web.turns import LentFetching, Turns
from cds_service.web.unread import Unread


def create_app(
    runtime: Runtime, ledger: Ledger, texts: Texts | None = None, limiter: RateLimiter | None = None
) -> Flask:
    """The service. In demo mode it has the charts, the operators' pages and the metrics too."""
    turns = Turns(runtime.settings.threads)
    if runtime.fhir is not None:
        runtime = replace(runtime, fhir=LentFetching(runtime.fhir, turns))
    live = Live(runtime, ledger, turns, texts=texts, limiter=limiter)
    app = _app(live, cross_origin=True)
    for blueprint in (hooks_api.api, feedback.feedback, explanations.pages, dtr.dtr):
        app.register_blueprint(blueprint)
    if runtime.settings.demo:
        app.before_request(lambda: check_loopback_name(call().request))
        app.register_blueprint(demo_fhir.fhir)
        _for_operators(app)
    app.wsgi_app = Unread(Front(Direct(app, live), live, cross_origin=True))  # type: ignore[method-assign]
    return app


def create_admin_app(runtime: Runtime, ledger: Ledger, texts: Texts | None = None) -> Flask:
    """The second listener: pages and metrics for operators, which no client of the service can reach."""
    live = Live(runtime, ledger, counted=False, texts=texts)
    app = _app(live, cross_origin=False)
    app.before_request(lambda: check_operators_name(call().request, runtime.settings))
    app.register_blueprint(explanations.pages)
    _for_operators(app)
    app.wsgi_app = Unread(Front(app.wsgi_app, live, cross_origin=False))  # type: ignore[method-assign]
    return app


def _for_operators(app: Flask) -> None:
    app.register_blueprint(health.operators)
    app.register_blueprint(pages)


class _App(Flask):
    """Flask without what no view here needs."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view or handler is a coroutine; asking each of them at every call takes as long as a small view."""
        return func


def _app(live: Live, *, cross_origin: bool) -> Flask:
    app = _App("cds_service.web", static_folder=None)
    app.url_map.strict_slashes = False
    app.extensions["cds_live"] = live
    problems.register(app)
    access.register(app, live, cross_origin=cross_origin)
    app.register_blueprint(health.checks)
    return app
