"""The real service as a process, and a client that holds every answer against the contract."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from support.contract import check
from support.paths import ROOT

Json = dict[str, Any]
START_SECONDS = 30


@dataclass
class Service:
    """A running service: its address, what it has written to its log, and calls to it."""

    base: str
    log_file: Path
    session: requests.Session
    process: subprocess.Popen[bytes]

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call; the answer is as `openapi.yaml` says, or the test fails."""
        return check(self.session.request(method, f"{self.base}{path}", timeout=20, **options))

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def call(self, body: Any, service: str = "order-sign-advisor") -> requests.Response:
        """Call a hook service with a JSON body."""
        return self.request("POST", f"/cds-services/{service}", json=body)

    def answer(self, body: Json, service: str = "order-sign-advisor") -> Json:
        """The response of a call that must succeed."""
        response = self.call(body, service)
        assert response.status_code == 200, response.text
        answered: Json = response.json()
        return answered

    def cards(self, body: Json, service: str = "order-sign-advisor") -> list[Json]:
        """The cards of a call that must succeed."""
        cards: list[Json] = self.answer(body, service)["cards"]
        return cards

    def log(self) -> str:
        """All that the service has written so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Service]:
    """The service in demo mode with its data in `folder`; `options` are further ones of `serve`."""
    port = free_port()
    log_file = folder / "service.log"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CDS_")} | {"CDS_CHECK_RESPONSES": "1"}
    command = [sys.executable, "-m", "cds_service.cli", "serve", "--demo", "--port", str(port)]
    command += ["--database-url", f"sqlite:///{folder / 'ledger.sqlite3'}", *options]
    with log_file.open("wb") as log, requests.Session() as session:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=clean | (environment or {})
        )
        started = Service(f"http://127.0.0.1:{port}", log_file, session, process)
        try:
            _wait(started)
            yield started
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
    assert "differs from the contract" not in started.log()


def _wait(service: Service) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        if service.process.poll() is not None:
            raise AssertionError(f"the service ended at start:\n{service.log()[-2000:]}")
        try:
            if service.session.get(f"{service.base}/health/ready", timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        if time.monotonic() > until:
            raise AssertionError(f"the service did not start in {START_SECONDS} s:\n{service.log()[-2000:]}")
        time.sleep(0.05)
