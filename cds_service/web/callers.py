"""Who may call: trusted clients by their token; in demo mode anyone on this machine."""

from __future__ import annotations

from flask import Request

from cds_service.config import Settings
from cds_service.errors import RequestError
from cds_service.facts.client import Allowed
from cds_service.hooks.runtime import Caller


class Gate:
    """Admits callers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        own = f"{settings.base_url}/fhir"
        self._demo = Caller("demo", Allowed.of((url, True) for url in (own, *settings.listed("allow_fhir"))))

    def admit_discovery(self, request: Request) -> None:
        """Discovery may be open or closed."""
        if self.settings.demo:
            self._check_host(request)

    def admit(self, request: Request) -> Caller:
        """The caller of a hook or feedback."""
        self._check_host(request)
        return self._demo

    def _check_host(self, request: Request) -> None:
        """Demo mode answers only to loopback names, so that no web page elsewhere can reach it by DNS tricks."""
        host = (
            request.host.rsplit(":", 1)[0].strip("[]") if not request.host.endswith("]") else request.host.strip("[]")
        )
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise RequestError("must be a loopback name in demo mode", path="Host", code="security")
