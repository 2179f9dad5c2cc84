"""CORS for browser clients: by allow-list, open in demo mode (the public CDS Hooks Sandbox is a browser client)."""

from __future__ import annotations

from flask import Response, request

from cds_service.config import Settings

_PATHS = ("/cds-services", "/fhir", "/openapi.yaml")


class Cors:
    """Adds the headers that a browser needs; credentials are never allowed."""

    def __init__(self, settings: Settings) -> None:
        listed = settings.listed("cors_origins")
        self.everyone = "*" in listed or (settings.demo and not listed)
        self.origins = frozenset(listed)

    def apply(self, response: Response) -> Response:
        """Answer preflights and mark answers that the origin may read."""
        origin = request.headers.get("Origin")
        if origin is None or not request.path.startswith(_PATHS):
            return response
        response.headers.add("Vary", "Origin")
        if not (self.everyone or origin in self.origins):
            return response
        response.headers["Access-Control-Allow-Origin"] = "*" if self.everyone else origin
        if request.method == "OPTIONS":
            # Authorization must be listed by name: the Fetch standard leaves it out of `*`.
            response.headers["Access-Control-Allow-Headers"] = "authorization, content-type"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Max-Age"] = "600"
        return response
