"""In front of both listeners: how many calls may wait, what never waits, and what becomes of unread bodies."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from flask import Request, Response

from cds_service.errors import Issue
from cds_service.web import access, problems
from cds_service.web.call import Call
from cds_service.web.control import Live

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

RETRY_SECONDS = 1
_NEVER_WAIT = frozenset({"/health/live", "/health/ready", "/metrics"})


class Front:
    """WSGI middleware around an application.

    A call has one of CDS_WAITING places or is refused at once: what waits for a place would wait behind a database or
    a client that may never answer, and so would whoever asks whether the process lives.
    """

    def __init__(self, app: WSGIApplication, live: Live, *, cross_origin: bool) -> None:
        self._app, self._live, self._cross_origin = app, live, cross_origin
        self._free = live.settings.waiting
        self._lock = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer of the application, or 503 where all places are taken."""
        if not _one_host(environ):
            return self._refused(environ, start_response, 400, _HOST)
        if environ["PATH_INFO"] in _NEVER_WAIT:
            return self._app(environ, start_response)
        return self._in_place(environ, start_response)

    def _in_place(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            taken = self._free > 0
            self._free -= taken
        if not taken:
            return self._refused(environ, start_response, 503, _BUSY)
        try:
            return self._app(environ, start_response)
        finally:
            with self._lock:
                self._free += 1

    def _refused(
        self, environ: WSGIEnvironment, start_response: StartResponse, status: int, issue: Issue
    ) -> Iterable[bytes]:
        here = Call(self._live.state, Request(environ, populate_request=False), endpoint="none", reason=issue.code)
        response: Response = problems.problem(status, (issue,))
        if status == 503:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return access.ended(here, response, cross_origin=self._cross_origin)(environ, start_response)


_BUSY = Issue("All places of this service are taken. Call again after the time in Retry-After.", code="throttled")
_HOST = Issue("must be there exactly once", "Host", "structure")


def _one_host(environ: WSGIEnvironment) -> bool:
    """RFC 9112, 3.2: older callers may leave it out. Repeated ones arrive joined by a comma, which no host holds."""
    host = environ.get("HTTP_HOST", "")
    return "," not in host and (host != "" or environ["SERVER_PROTOCOL"] != "HTTP/1.1")
