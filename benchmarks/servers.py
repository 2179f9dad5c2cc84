"""Starts what is measured: the service, the bare view, others; each a process of its own on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cds_service.config import Settings

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SERVICE = "order-sign-advisor"
START_SECONDS = 180  # with 5,000 policies, on a busy machine


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    base: str
    path: str = f"/cds-services/{SERVICE}"

    @property
    def url(self) -> str:
        return self.base + self.path

    def post(self, body: bytes) -> bytes:
        """One call that must be answered with 200."""
        call = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(call, timeout=30) as answer:
            data: bytes = answer.read()
            return data

    def stages(self) -> dict[str, tuple[float, float]]:
        """Seconds and calls per stage so far, from the service's own metrics."""
        with urllib.request.urlopen(f"{self.base}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = re.findall(r'cds_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)', text)
        names = {stage for _, stage, _ in found}
        values = {(kind, stage): float(value) for kind, stage, value in found}
        return {n: (values["sum", n], values["count", n]) for n in names}


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def started(name: str, words: list[str], port: int, *, path: str | None = None, ready: str = "/health/ready",
            environment: dict[str, str] | None = None) -> Iterator[Server]:  # fmt: skip
    """A process, once it answers; ended with the block."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CDS_")} | (environment or {})
    process = subprocess.Popen(words, cwd=HERE, env=clean, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    server = Server(name, f"http://127.0.0.1:{port}", path or f"/cds-services/{SERVICE}")
    try:
        _wait(server, process, ready)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _wait(server: Server, process: subprocess.Popen[bytes], ready: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RuntimeError(f"{server.name} ended at start: {process.stderr.read().decode()[-2000:]}")
        try:
            urllib.request.urlopen(f"{server.base}{ready}", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{server.name} did not start")


@dataclass(frozen=True)
class Shape:
    """Settings of a server, by default those of `serve`; `threads` means nothing to the bare view."""

    workers: int = Settings().workers
    waiting: int = Settings().waiting
    threads: int = Settings().threads

    def __str__(self) -> str:
        return (
            f"{self.workers} worker{'s' if self.workers > 1 else ''} each, {self.waiting} calls waiting and "
            f"{self.threads} worked on at once per worker"
        )


USUAL = Shape()


def service(
    name: str, folder: Path, *, cards: Path | None = None, shape: Shape = USUAL
) -> AbstractContextManager[Server]:
    """The service in demo mode with a durable ledger of its own (SQLite, normal)."""
    port = free_port()
    words = [sys.executable, "-m", "cds_service.cli", "serve", "--demo", "--port", str(port)]
    words += ["--database-url", f"sqlite:///{folder / f'{name}.sqlite3'}"]
    words += ["--cards", str(cards)] if cards else []
    environment = {f"CDS_{k.upper()}": str(v) for k, v in vars(shape).items()} | {"CDS_LOG_LEVEL": "warning"}
    return started(name, words, port, environment=environment)


def bare(name: str = "bare Flask view", shape: Shape = USUAL) -> AbstractContextManager[Server]:
    """The bare view on the same server class with the same settings."""
    port = free_port()
    words = [sys.executable, "bare.py", "--port", str(port)]
    words += ["--workers", str(shape.workers), "--waiting", str(shape.waiting)]
    return started(name, words, port)
