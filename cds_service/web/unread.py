"""Bodies that nobody read: a client that still sends one does not see its answer when the connection is closed.

They are read and forgotten behind the answer, few at once: one that never ends holds up no call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from cds_service.web.places import AT_ONCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MOST_BYTES = 64 * 1024 * 1024
MOST_SECONDS = 10.0
READ = "cds.body_read"
"""In the environment of a call whose body was read to its end, or must not be: the connection is then closed."""
_FIRST, _LARGEST = 1024, 256 * 1024


class Unread:
    """Passes calls on, and reads what they have left unread. The server takes a body only as long as its call lasts."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._free = threading.Semaphore(AT_ONCE)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer of the application; where a body is left, its end comes when the body has come."""
        if not _has_body(environ):
            return self._app(environ, start_response)
        begun: list[tuple[Any, ...]] = []
        answer = self._app(environ, lambda *told: begun.append(told))  # type: ignore[arg-type]
        status, headers, *more = begun[0]
        if READ in environ:
            pass
        elif not self._free.acquire(blocking=False):
            headers = [*headers, ("Connection", "close")]
        else:
            data = b"".join(answer)
            headers = [h for h in headers if h[0].lower() != "content-length"] + [("Content-Length", str(len(data)))]
            answer = _Draining(data, environ["wsgi.input"], self._free)
        start_response(status, headers, *more)
        return answer


class _Draining:
    """The answer in one piece, and no end until the body is read."""

    def __init__(self, data: bytes, stream: BinaryIO, free: threading.Semaphore) -> None:
        self._data: bytes | None = data
        self._stream, self._free = stream, free
        self._ended = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._data is not None:
            data, self._data = self._data, None
            return data
        try:
            drain(self._stream)
        finally:
            self.close()
        raise StopIteration

    def close(self) -> None:
        """Let the next one go ahead."""
        if self._ended.acquire(blocking=False):
            self._free.release()

    def __del__(self) -> None:
        self.close()


def _has_body(environ: WSGIEnvironment) -> bool:
    return bool(environ.get("HTTP_TRANSFER_ENCODING")) or environ.get("CONTENT_LENGTH", "0") not in ("", "0")


def drain(stream: BinaryIO) -> None:
    """Read and forget, bounded in bytes and time.

    The server returns from a read only when all that was asked for is there: so little is asked for at first.
    """
    left, until, wanted = MOST_BYTES, time.monotonic() + MOST_SECONDS, _FIRST
    while left > 0 and time.monotonic() < until:
        chunk = stream.read(min(wanted, left))
        if not chunk:
            return
        left -= len(chunk)
        wanted = min(2 * wanted, _LARGEST)
