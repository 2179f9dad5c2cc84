"""The direct way of hook calls, which are most of all calls: Flask needs as long to find a view as the ledger to write.

Whatever is not plainly a hook call goes on to Flask, where the same functions begin, answer and end it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, Request, Response

from cds_service.web import access, problems
from cds_service.web.call import Call
from cds_service.web.callers import check_loopback_name
from cds_service.web.control import Live
from cds_service.web.hooks_api import HOOK_RULE, hook

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_PATH = re.compile(r"/cds-services/([A-Za-z0-9._-]+)")
_HOST = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}(?::[0-9]{1,5})?")  # others are for Flask to judge


class Direct:
    """WSGI middleware in front of the service."""

    def __init__(self, app: Flask, live: Live) -> None:
        self._flask, self._live = app.wsgi_app, live
        self._loopback_only = live.settings.demo

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A hook call, else what Flask makes of it."""
        service = _service(environ)
        if service is None:
            return self._flask(environ, start_response)
        here = Call(self._live.state, Request(environ, populate_request=False), endpoint=HOOK_RULE)
        return access.ended(here, self._answer(here, service), cross_origin=True)(environ, start_response)

    def _answer(self, here: Call, service: str) -> Response:
        try:
            if self._loopback_only:
                check_loopback_name(here.request)
            return hook(here, service)
        except Exception as error:  # noqa: BLE001 - every error has an answer
            return problems.told(error, here)


def _service(environ: WSGIEnvironment) -> str | None:
    """The service that a hook call is plainly for; else None."""
    path = _PATH.fullmatch(environ["PATH_INFO"])
    if path is None or environ["REQUEST_METHOD"] != "POST" or environ.get("SCRIPT_NAME"):
        return None
    return path[1] if _HOST.fullmatch(environ.get("HTTP_HOST", "")) else None
