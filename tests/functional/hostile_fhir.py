"""A FHIR server that misbehaves on order: raw sockets on loopback, one thread per connection."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `number` counts the server's requests from 1."""

    number: int
    path: str
    headers: dict[str, str]


Behaviour = Callable[["Wire", Request], None]


class Wire:
    """The server's end of one connection."""

    def __init__(self, connection: socket.socket, stopping: threading.Event) -> None:
        self.connection, self._stopping = connection, stopping

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def respond(
        self, body: bytes, status: str = "200 OK", media: str = "application/fhir+json", **headers: str
    ) -> None:
        """A whole, honest HTTP response."""
        self.send(head(status, media, {"Content-Length": str(len(body))} | headers) + body)

    def json(self, resource: Any, status: str = "200 OK", **headers: str) -> None:
        self.respond(json.dumps(resource).encode(), status, **headers)

    def drip(self, data: bytes, every_s: float) -> None:
        """One byte at a time, until the other side or the test has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self._stopping.wait(every_s):
                return

    def hold(self) -> None:
        """Say nothing until the other side hangs up."""
        while self.connection.recv(4096):
            pass

    def reset(self) -> None:
        """Close with a TCP reset instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def head(status: str, media: str, headers: dict[str, str]) -> bytes:
    """Status line and header lines."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class HostileFhir:
    """Listens on 127.0.0.1 at a free port; `behaviour` answers each request. Use as a context manager."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    unasked: bool = False  # do not read a request first
    connections: int = 0
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> HostileFhir:
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="hostile-accept")
        self._acceptor.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def base(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/fhir"

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def open_connections(self) -> int:
        """Connections that the other side has not hung up."""
        with self._lock:
            return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="hostile-serve")
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        # The other side hanging up in the middle is what these tests are about.
        connection = plain
        with contextlib.suppress(OSError), plain:
            if self.tls:
                plain.settimeout(2.0)
                connection = self.tls.wrap_socket(plain, server_side=True)
                connection.settimeout(None)
                with self._lock:
                    self._open = (self._open - {plain}) | {connection}
            with connection:
                if self.unasked:
                    self.behaviour(Wire(connection, self._stopping), Request(0, "", {}))
                while request := self._read(connection):
                    self.behaviour(Wire(connection, self._stopping), request)
        with self._lock:
            self._open -= {plain, connection}

    def _read(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(4096)
            if not chunk:
                return None
            data += chunk
        first, *lines = data.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        with self._lock:
            request = Request(len(self.requests) + 1, first.split(" ")[1], headers)
            self.requests.append(request)
        return request


def wait_for(holds: Callable[[], bool], seconds: float = 2.0) -> None:
    """Return as soon as `holds()`; AssertionError if it does not become true in time."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.005)


def client_threads() -> set[threading.Thread]:
    """The threads that FHIR clients of this process have running."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("fhir-")}


def bundle(*resources: dict[str, Any], next: str | None = None, **more: Any) -> dict[str, Any]:
    """A searchset page."""
    page: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    page["entry"] = [{"resource": resource, "search": {"mode": "match"}} for resource in resources]
    page["link"] = [{"relation": "next", "url": next}] if next else []
    return page | more


def condition(number: int, patient: str = "p1") -> dict[str, Any]:
    return {"resourceType": "Condition", "id": f"c{number}", "subject": {"reference": f"Patient/{patient}"}}


def gzip_bomb(megabytes: int) -> bytes:
    """JSON that is about a thousand times larger than what is sent."""
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [packer.compress(b'{"resourceType": "Bundle", "x": "')]
    parts += [packer.compress(b" " * (1 << 20)) for _ in range(megabytes)]
    return b"".join([*parts, packer.compress(b'"}'), packer.flush()])
