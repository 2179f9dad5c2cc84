"""Load over HTTP/1.1: as much as goes (wrk where it is installed), or at a fixed rate with latencies by schedule.

At a fixed rate a late answer counts from when its call was due, so that a stall is not hidden by calls it held up.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_LUA = """
local file = io.open("{body}", "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
function response(status) if status ~= 200 then bad = (bad or 0) + 1 end end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nJSON{{"calls":%d,"seconds":%f,"p50":%f,"p99":%f,"bad":%d}}\\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    e.status + e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """Calls a second, and milliseconds."""

    rate: float
    p50: float
    p99: float


def tool() -> str:
    """What makes the load."""
    return "wrk" if shutil.which("wrk") else "bundled generator"


def saturate(url: str, body: bytes, seconds: float, connections: int) -> Measured:
    """As many calls as `connections` can make one after the other. Raises RuntimeError on any answer but 200."""
    if not shutil.which("wrk"):
        return _together(url, body, seconds, connections, None)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        script = Path(folder) / "load.lua"
        script.write_text(_LUA.format(body=Path(folder) / "body"))
        words = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
            str(script),
            "--timeout",
            "10s",
        ]
        done = subprocess.run([*words, url], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.partition("JSON")[2])
    if told["bad"] or not told["calls"]:
        raise RuntimeError(f"{url}: {told['bad']} of {told['calls']} calls failed")
    return Measured(told["calls"] / told["seconds"], told["p50"], told["p99"])


def steady(url: str, body: bytes, seconds: float, rate: float, connections: int = 16) -> Measured:
    """`rate` calls a second, evenly spaced over the connections."""
    return _together(url, body, seconds, connections, rate)


def _together(url: str, body: bytes, seconds: float, connections: int, rate: float | None) -> Measured:
    taken: list[list[float]] = [[] for _ in range(connections)]
    failed: list[Exception] = []
    begin = time.perf_counter() + 0.2

    def work(number: int) -> None:
        try:
            _one(url, body, taken[number], begin, seconds, number, connections, rate)
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{url}: {failed[0]}") from failed[0]
    every = sorted(t for own in taken for t in own)
    spent = time.perf_counter() - begin
    return Measured(len(every) / spent, every[len(every) // 2] * 1000, every[int(len(every) * 0.99)] * 1000)


def _one(url: str, body: bytes, taken: list[float], begin: float, seconds: float, number: int, of: int,
         rate: float | None) -> None:  # fmt: skip
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    call = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    due = begin + (number / rate if rate else 0.0)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while due < begin + seconds:
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            sock.sendall(call)
            _answer(sock)
            now = time.perf_counter()
            taken.append(now - due)
            due = due + of / rate if rate else now


def _answer(sock: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.split(b"\r\n")[0].decode())
    length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:"))
    while len(rest) < length:
        rest += _more(sock)


def _more(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    if not data:
        raise RuntimeError("the connection was closed")
    return data
