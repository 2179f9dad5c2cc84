"""CORS for browser clients: by allow-list, open in demo mode (the public CDS Hooks Sandbox is a browser client)."""

from __future__ import annotations

from flask import Response, request

from cds_service.web.hooks_api import gate

_PATHS = ("/cds-services", "/fhir", "/openapi.yaml")


def apply(response: Response) -> Response:
    """Answer preflights and mark answers that the origin may read; credentials are never allowed."""
    origin = request.headers.get("Origin")
    if origin is None or not request.path.startswith(_PATHS):
        return response
    response.headers.add("Vary", "Origin")
    origins = gate().origins
    everyone = "*" in origins
    if not (everyone or origin in origins):
        return response
    response.headers["Access-Control-Allow-Origin"] = "*" if everyone else origin
    response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
    if request.method == "OPTIONS":
        # Authorization must be listed by name: the Fetch standard leaves it out of `*`.
        response.headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Max-Age"] = "600"
    return response
