"""A bare Flask view on the service's own server class: parses the body, answers with a constant."""

from __future__ import annotations

import argparse

import orjson
from flask import Flask, Response, request

from cds_service.config import Settings
from cds_service.web.server import Server

_CONSTANT = orjson.dumps({"cards": []})


def application() -> Flask:
    """One route."""
    app = Flask("bare", static_folder=None)

    @app.post("/cds-services/order-sign-advisor")
    def invoke() -> Response:
        orjson.loads(request.get_data())
        return Response(_CONSTANT, content_type="application/json")

    @app.get("/health/ready")
    def ready() -> Response:
        return Response(b"{}", content_type="application/json")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=Settings().workers)
    parser.add_argument("--waiting", type=int, default=Settings().waiting)
    options = parser.parse_args()
    settings = Settings(demo=True, port=options.port, waiting=options.waiting)
    Server("bare:application", "127.0.0.1", options.port, settings, options.workers).serve()
