"""CORS for browser clients: by allow-list, open in demo mode (the public CDS Hooks Sandbox is a browser client)."""

from __future__ import annotations

from collections.abc import Collection

from flask import Request, Response

_PATHS = ("/cds-services", "/Questionnaire", "/fhir", "/openapi.yaml")


def apply(response: Response, request: Request, origin: str, origins: Collection[str]) -> None:
    """Answer preflights and mark answers that the origin may read; credentials are never allowed."""
    if not request.path.startswith(_PATHS):
        return
    response.vary.add("Origin")
    everyone = "*" in origins
    if not (everyone or origin in origins):
        return
    response.headers["Access-Control-Allow-Origin"] = "*" if everyone else origin
    response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
    if request.method == "OPTIONS":
        # Authorization must be listed by name: the Fetch standard leaves it out of `*`.
        response.headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Max-Age"] = "600"
