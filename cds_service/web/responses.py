"""Answers in one piece: JSON, never cached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import orjson
from flask import Response

from cds_service.hooks.exact import as_written

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Whole(Response):
    """A body in one piece, with all its headers: nothing is added to it on its way out."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A list, which the server sends at once; it would ask an iterator for one piece after the other."""
        start_response(self.status, self.headers.to_wsgi_list())
        return [] if environ["REQUEST_METHOD"] == "HEAD" else cast("list[bytes]", self.response)


def json_response(value: Any, status: int = 200, media: str = "application/json") -> Response:
    """JSON, never cached: answers are about a patient."""
    body = orjson.dumps(value, default=as_written)
    headers = (("Content-Type", media), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
    return Whole(body, status, headers)
