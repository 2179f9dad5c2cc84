"""Ten minutes of mixed load at half of saturation, two workers: no error, flat memory, p99 within the budget.

    python benchmarks/soak.py [--seconds 600] [--probe 10] [--database-url URL] [--p99 50] [--growth 30]

Trusted clients with a token for every call. Calls are sent on a fixed schedule whatever the answers do, and are
timed from the moment they were due, so that a pause of the service shows in all the calls it delays.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.stories import stories  # noqa: E402

from tests.functional.deployment import FEEDBACK, Deployment  # noqa: E402

SENDERS = 16
SAMPLE_SECONDS = 2.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One call: its kind, where to, the body, and the status it must get."""

    kind: str
    path: str
    body: bytes | None
    expected: int


@dataclass
class Mix:
    """The mixed load: mostly hooks, some feedback on cards that were shown, some discovery, some faulty requests."""

    dice: random.Random = field(default_factory=lambda: random.Random(1))
    cards: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        named = {"order-sign": "order-sign-advisor", "order-select": "order-select-advisor"}
        self.hooks = [(named[s.request["hook"]], s.request) for s in stories() if s.request["hook"] in named]

    def next(self) -> Call:
        turn = self.dice.random()
        if turn < 0.05:
            return Call("discovery", "/cds-services", None, 200)
        if turn < 0.10:
            return Call("faulty", "/cds-services/order-sign-advisor", b'{"hook": "order-sign"}', 400)
        if turn < 0.20 and self.cards:
            card = self.dice.choice(self.cards[-200:])
            item = {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-11-20T12:00:00Z"}
            return Call("feedback", FEEDBACK, json.dumps({"feedback": [item]}).encode(), 200)
        service, request = self.dice.choice(self.hooks)
        body = json.dumps(request | {"hookInstance": str(uuid4())}).encode()
        return Call("hook", f"/cds-services/{service}", body, 200)


class Load:
    """Sends calls from several threads and notes what came back."""

    def __init__(self, site: Deployment) -> None:
        self.site, self.mix = site, Mix()
        self.lock = threading.Lock()
        self.latencies: dict[str, list[float]] = defaultdict(list)
        self.wrong: Counter[str] = Counter()

    def run(self, seconds: float, rate: float | None) -> float:
        """Calls a second; without a `rate` as many as the service takes."""
        number, began = itertools.count(), time.monotonic()

        def due() -> float | None:
            at = began + next(number) / rate if rate else time.monotonic()
            return at if at < began + seconds else None

        threads = [threading.Thread(target=self._send, args=(due,)) for _ in range(SENDERS if rate else 8)]
        before = self.count
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (self.count - before) / (time.monotonic() - began)

    @property
    def count(self) -> int:
        return sum(map(len, self.latencies.values()))

    def _send(self, due: Callable[[], float | None]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=30)
        while (at := due()) is not None:
            with self.lock:
                call = self.mix.next()
            headers = {"Content-Type": "application/json"} | self.site.headers("north", call.path)
            time.sleep(max(0.0, at - time.monotonic()))
            try:
                connection.request("POST" if call.body else "GET", call.path, call.body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._note(call, at, type(error).__name__, b"")
                connection.close()
                continue
            self._note(call, at, str(answer.status), text)
        connection.close()

    def _note(self, call: Call, at: float, status: str, text: bytes) -> None:
        milliseconds = (time.monotonic() - at) * 1000
        with self.lock:
            self.latencies[call.kind].append(milliseconds)
            if status != str(call.expected):
                self.wrong[f"{call.kind}: {status}"] += 1
            elif call.path == "/cds-services/order-sign-advisor" and call.kind == "hook":
                self.mix.cards += [card["uuid"] for card in json.loads(text)["cards"]]
                del self.mix.cards[:-400]


def memory(site: Deployment) -> float:
    """Resident MiB of all processes of the service."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in site.members()]
    return sum(pages) * 4096 / (1 << 20)


def sampled(site: Deployment, work: Callable[[], float]) -> tuple[float, list[float]]:
    """What the work returns, and the memory every two seconds meanwhile."""
    samples, done = [], threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            samples.append(memory(site))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return work(), samples
    finally:
        done.set()
        watcher.join()


def percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 1)


def growth(samples: list[float]) -> float:
    """MiB between the second and the last quarter of the run; the first is for warming up."""
    quarter = max(1, len(samples) // 4)
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return round(sum(last) / len(last) - sum(second) / len(second), 1) if second else 0.0


def measure(site: Deployment, seconds: float, probe: float) -> Json:
    """The figures of one run."""
    warm = Load(site)
    warm.run(probe / 2, None)
    saturation = Load(site).run(probe, None)
    load = Load(site)
    rate, samples = sampled(site, lambda: load.run(seconds, saturation / 2))
    return {
        "saturation_per_second": round(saturation, 1),
        "rate_per_second": round(rate, 1),
        "calls": load.count,
        "wrong": dict(load.wrong),
        "latency_ms": {
            kind: {"p50": percentile(v, 0.5), "p99": percentile(v, 0.99), "max": round(max(v), 1)}
            for kind, v in sorted(load.latencies.items())
        },
        "memory_mib": {"start": round(samples[0]), "end": round(samples[-1]), "growth": growth(samples)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--probe", type=float, default=10, help="seconds for finding out the saturation")
    parser.add_argument("--database-url")
    parser.add_argument("--p99", type=float, default=50, help="budget of hook calls in milliseconds")
    parser.add_argument("--growth", type=float, default=30, help="MiB that memory may grow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"CDS_WORKERS": "2", "CDS_CARDS": "", "CDS_UNREVIEWED_POLICIES": "show", "CDS_LOG_LEVEL": "warning"}
        if options.database_url:
            settings["CDS_DATABASE_URL"] = options.database_url
        site = Deployment(Path(folder), settings)
        site.add("north")
        site.start()
        try:
            figures = measure(site, options.seconds, options.probe)
        finally:
            code = site.stop()
        with site.ledger() as ledger:
            intact = ledger.verify().intact
    faults = {
        "wrong answers": bool(figures["wrong"]),
        "p99 over the budget": figures["latency_ms"]["hook"]["p99"] > options.p99,
        "memory grows": figures["memory_mib"]["growth"] > options.growth,
        "unclean end": code != 0,
        "ledger not intact": not intact,
    }
    figures["failed"] = [name for name, failed in faults.items() if failed]
    print(json.dumps(figures, indent=2))
    return bool(figures["failed"])


if __name__ == "__main__":
    sys.exit(main())
