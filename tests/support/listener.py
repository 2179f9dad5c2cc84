"""A FHIR server of a stranger: serves what it is given, and counts who connects."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = dict[str, Any]


@dataclass
class Listener:
    """Its address, the resources it serves, and the connections and paths it has seen."""

    base: str
    resources: list[Json] = field(default_factory=list)
    connections: int = 0
    paths: list[str] = field(default_factory=list)

    def reset(self, *resources: Json) -> None:
        self.resources, self.connections, self.paths = list(resources), 0, []

    def answer(self, path: str) -> tuple[int, Json]:
        split = urlsplit(path)
        kind, _, own = split.path.removeprefix("/fhir/").partition("/")
        if own:
            found = [r for r in self.resources if r["resourceType"] == kind and r["id"] == own]
            return (200, found[0]) if found else (404, {"resourceType": "OperationOutcome", "issue": []})
        wanted = dict(parse_qsl(split.query))
        matches = [r for r in self.resources if r["resourceType"] == kind]
        if "status" in wanted:
            matches = [r for r in matches if r.get("status") in wanted["status"].split(",")]
        entries = [{"fullUrl": f"{self.base}/{kind}/{r['id']}", "resource": r} for r in matches]
        return 200, {"resourceType": "Bundle", "type": "searchset", "total": len(matches), "entry": entries}


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener on a free port of loopback."""
    listener = Listener("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listener.paths.append(self.path)
            status, body = listener.answer(self.path)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def process_request(self, request: Any, client_address: Any) -> None:
            listener.connections += 1
            super().process_request(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    listener.base = f"http://127.0.0.1:{server.server_port}/fhir"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
