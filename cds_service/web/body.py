"""Reads request bodies: content type, size and time limits; what is left unread is for `unread`."""

from __future__ import annotations

import time
from typing import BinaryIO

from flask import Request

from cds_service.errors import RequestError, TooLarge, WrongMedia
from cds_service.web.unread import READ

_FIRST = 16


class Timeout(RequestError):
    """The body did not arrive in time."""

    http_status = 408
    default_code = "timeout"


def read_json_body(request: Request, limit: int, deadline_s: float) -> bytes:
    """The raw body of a JSON request. Raises WrongMedia (415), TooLarge (413) or Timeout (408)."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise WrongMedia("must be sent as it is, not compressed", path="Content-Encoding")
    media = request.mimetype
    if media != "application/json" and not media.endswith("+json"):
        raise WrongMedia("must be application/json", path="Content-Type")
    stream: BinaryIO = request.environ["wsgi.input"]
    length = request.content_length
    if length is not None and length > limit:
        raise TooLarge(f"is larger than {limit} bytes", path="$")
    try:
        body = _read(stream, length, limit, time.monotonic() + deadline_s)
    except Timeout:
        request.environ[READ] = True  # whoever drips is not waited for
        raise
    request.environ[READ] = True
    return body


def _read(stream: BinaryIO, length: int | None, limit: int, until: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while length is None or size < length:
        # The server returns only when all that was asked for is there. So we ask for no more than three times what
        # has come already: whoever drips bytes is found out after at most four times the deadline.
        wanted = max(_FIRST, 3 * size)
        chunk = stream.read(wanted if length is None else min(wanted, length - size))
        if not chunk:
            break
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"is larger than {limit} bytes", path="$")
        chunks.append(chunk)
        if time.monotonic() > until:
            raise Timeout("did not arrive in time", path="$")
    return b"".join(chunks)
