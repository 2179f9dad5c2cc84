"""HTTP connections that go to checked addresses only, and whose timeouts bound everything that is read."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from cds_service.facts.outbound import Address, Base


class BoundedSocket(socket.socket):
    """A socket whose timeout is for all reads together until it is set again, not for each.

    With an ordinary timeout, a server that sends a byte now and then is waited for without end.
    """

    _until: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Set what is left, in seconds, for all reads from now on."""
        self._until = None if value is None else time.monotonic() + value
        super().settimeout(value)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """As socket.recv_into; TimeoutError once the time for all reads is spent."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            super().settimeout(left)
        return super().recv_into(*args, **kwargs)


class BoundedTlsSocket(BoundedSocket, ssl.SSLSocket):
    """The same over TLS."""


class _PinnedConnection(HTTPConnection):
    """Connects to given addresses; the host name is used for the Host header and TLS only, and never looked up."""

    def __init__(self, *args: Any, addresses: Sequence[Address], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._addresses = addresses

    def _new_conn(self) -> socket.socket:
        timeout = float(self.timeout or 0.0)
        until = time.monotonic() + timeout
        failure: OSError = TimeoutError("timed out")
        for position, address in enumerate(self._addresses):
            share = (until - time.monotonic()) / (len(self._addresses) - position)
            try:
                return _dial(address, share, until)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "timed out")
        raise NewConnectionError(self, "no connection")


def _dial(address: Address, seconds: float, until: float) -> socket.socket:
    connected = BoundedSocket(address.family, socket.SOCK_STREAM)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.settimeout(max(seconds, 0.001))
        connected.connect(address.sockaddr)
        connected.settimeout(max(until - time.monotonic(), 0.001))
    except BaseException:
        connected.close()
        raise
    return connected


class _PinnedTlsConnection(_PinnedConnection, HTTPSConnection):
    pass


class _PinnedPool(HTTPConnectionPool):
    ConnectionCls = _PinnedConnection


class _PinnedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedTlsConnection


class PinnedAdapter(HTTPAdapter):
    """Pooled connections to one base at its checked addresses.

    Used without a requests.Session, so there are no redirects, cookies, proxies or .netrc to go astray with.
    """

    def __init__(self, base: Base, addresses: Sequence[Address], context: ssl.SSLContext, size: int) -> None:
        super().__init__()
        self._pool: HTTPConnectionPool
        if base.scheme == "https":
            pool = _PinnedTlsPool(base.host, base.port, maxsize=size, ssl_context=context, addresses=addresses)
            self._pool = pool
        else:
            self._pool = _PinnedPool(base.host, base.port, maxsize=size, addresses=addresses)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """The one pool, whatever the URL says."""
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Leave verification to the pool's SSL context, which requires it."""

    def close(self) -> None:
        """Close all idle connections; busy ones close when they are done."""
        self._pool.close()
        super().close()


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifying TLS 1.2+ context that trusts `ca_file` (PEM), or the usual public authorities."""
    context = ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BoundedTlsSocket
    return context


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def silence_urllib3() -> None:
    """Keep urllib3 from logging URLs, which name patients: it does for every request and every faulty header."""
    for module in ("connection", "connectionpool", "poolmanager", "response", "util.retry"):
        logging.getLogger(f"urllib3.{module}").addFilter(_nothing)
