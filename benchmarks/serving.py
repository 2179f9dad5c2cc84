"""The service against a bare Flask view, against itself with many policies, and against HealthChain, in one run.

All servers run at once, with the same number of workers, and take turns under the same load; what is compared are
medians over the rounds. Fails when a ratio is worse than the recorded one by more than 15%. `--record` writes
results/serving.json and README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import many_policies
from load import Measured, saturate, steady, tool
from results_file import fallen, machine, machine_line, record, recorded
from servers import ROOT, Server, Shape, bare, free_port, service, started

from cds_service.content_files import load_content
from cds_service.policy.compiled import dump

Json = dict[str, Any]
STORY = ROOT / "fhir_fixtures" / "cervical-fusion-authorised"
MANY = (1, 100)  # and, by default, 5,000
CONNECTIONS = 16
STAGES = ("parse", "validate", "extract", "evaluate", "render", "ledger")  # what a call goes through; then the rest
OTHER_PYTHON = ROOT / ".venv-healthchain" / "bin" / "python"
BARE, SEED, HEALTHCHAIN = "bare Flask view", "service", "HealthChain"
# Ratio -> whether more is better. Limits are those of the project.
RATIOS = {"service_to_bare": True, "cost_5000_to_1": False, "service_to_healthchain": True}
LIMITS = {"service_to_bare": 0.30, "cost_5000_to_1": 1.2, "service_to_healthchain": 1.0}


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=5000, help="policies of the largest set")
    parser.add_argument("--record", action="store_true", help="keep these results")
    parser.add_argument("--limits", action="store_true", help="fail where a limit of the project is missed")
    parser.add_argument("--threads", action="store_true", help="only try settings of threads")
    parser.add_argument("--workers", type=int, default=Shape().workers, help="of each server")
    parser.add_argument("--healthchain", default=other_python(), metavar="PYTHON",
                        help="a Python that has healthchain installed; default: $HEALTHCHAIN_PYTHON, or what "
                             "`make bench` installs")  # fmt: skip
    options = parser.parse_args()
    body = (STORY / "request.json").read_bytes()
    if options.threads:
        threads(body, options.seconds, options.rounds, options.workers)
        return
    if not options.healthchain:
        print("HealthChain is not installed here: the service is not compared with it.")
    results = measure(body, options)
    print(table(results))
    before = recorded("serving")
    worse = fallen(results["ratios"], before["ratios"], RATIOS) if before and alike(results, before) else []
    missed = [n for n, limit in LIMITS.items() if not within(results["ratios"].get(n), limit, RATIOS[n])]
    for text in worse:
        print(f"FALLEN  {text}")
    for name in missed:
        print(f"MISSED  {name}: {results['ratios'][name]:.3f}, limit {LIMITS[name]}")
    if options.record or (before is None and options.most == 5000):
        record("serving", results, table(results))
    sys.exit(1 if worse or (options.limits and missed) else 0)


def other_python() -> str | None:
    """The Python that has HealthChain, if there is one."""
    made = str(OTHER_PYTHON) if OTHER_PYTHON.exists() else None
    return os.environ.get("HEALTHCHAIN_PYTHON") or made


def alike(results: Json, before: Json) -> bool:
    """Whether the ratios of two runs may be compared: with as many workers."""
    return bool(results["shape"]["workers"] == before.get("shape", {"workers": 1})["workers"])


def within(value: float | None, limit: float, higher: bool) -> bool:
    """True where there is no value, or it is on the right side of its limit."""
    return value is None or (value >= limit if higher else value <= limit)


def measure(body: bytes, options: argparse.Namespace) -> Json:
    """All servers, in turns."""
    told, shape = machine(), Shape(workers=options.workers)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cds-bench-")))
        servers = [stack.enter_context(bare(BARE, shape)), stack.enter_context(service(SEED, folder, shape=shape))]
        for count, cards in policy_files(folder, options.most):
            servers.append(stack.enter_context(service(named(count), folder, cards=cards, shape=shape)))
        if options.healthchain:
            servers.append(stack.enter_context(healthchain(options.healthchain, options.workers)))
        answered = json.loads(servers[1].post(body))
        same_cards(servers, body, answered)
        turn(servers, body, 1)
        rounds = [turn(servers, body, options.seconds) for _ in range(options.rounds)]
        stages = profile(servers[1], body, options.seconds)
        middle = {s.name: medians([r[s.name] for r in rounds]) for s in servers}
        half = half_load(servers[1], body, options.seconds, middle[SEED].rate / 2)
    return {
        "machine": told,
        "shape": vars(shape),
        "load": {"tool": tool(), "connections": CONNECTIONS, "seconds": options.seconds, "rounds": options.rounds},
        "case": {"story": STORY.name, "bytes": len(body), "cards": len(answered["cards"])},
        "servers": {n: vars(m) for n, m in middle.items()},
        "half_saturation": vars(half),
        "stages_ms": stages,
        "ratios": ratios(rounds),
    }


def same_cards(servers: list[Server], body: bytes, answered: Json) -> None:
    """What is compared must do the work: cards on the seed case, and as many with many policies as with one."""
    if not answered["cards"]:
        raise RuntimeError("the service has no card on its own story")
    counts = {s.name: len(json.loads(s.post(body_for(s, body)))["cards"]) for s in servers[2:]}
    if len({n for name, n in counts.items() if name != HEALTHCHAIN}) != 1 or not all(counts.values()):
        raise RuntimeError(f"the servers answer differently: {counts}")


def policy_files(folder: Path, most: int) -> list[tuple[int, Path]]:
    """Compiled files of 1, 100 and 5,000 policies, the seed case's own among them."""
    content = load_content()
    found = []
    for count in (*MANY, most):
        path = folder / f"{count}.cards"
        made = many_policies.one(content) if count == 1 else many_policies.other_orders(content, count)
        path.write_bytes(dump(made))
        found.append((count, path))
    return found


def named(count: int) -> str:
    """A server with so many policies."""
    return f"service, {count:,} {'policy' if count == 1 else 'policies'}"


def healthchain(python: str, workers: int) -> AbstractContextManager[Server]:
    """HealthChain answering the same hook with one card per ServiceRequest."""
    port = free_port()
    words = [python, "healthchain_app.py", str(port), str(workers)]
    return started(HEALTHCHAIN, words, port, path="/cds/cds-services/order-sign-advisor", ready="/cds/cds-discovery")


def turn(servers: list[Server], body: bytes, seconds: float) -> dict[str, Measured]:
    """One round: every server once, one after the other."""
    return {s.name: saturate(s.url, body_for(s, body), seconds, CONNECTIONS) for s in servers}


def body_for(server: Server, body: bytes) -> bytes:
    """The same body for all; for HealthChain with the orders where its request model has a place for them."""
    if server.name != HEALTHCHAIN:
        return body
    told = json.loads(body)
    told["prefetch"]["draftOrders"] = told["context"].pop("draftOrders")
    return json.dumps(told, separators=(",", ":")).encode()


def medians(found: list[Measured]) -> Measured:
    """Of each number by itself."""
    return Measured(*(round(statistics.median(getattr(m, n) for m in found), 3) for n in ("rate", "p50", "p99")))


def ratios(rounds: list[dict[str, Measured]]) -> Json:
    """Medians of each round's own ratios: a slow moment of the machine hits both sides."""

    def ratio(first: str, second: str) -> float:
        return round(statistics.median(r[first].rate / r[second].rate for r in rounds), 4)

    found = {"service_to_bare": ratio(SEED, BARE)}
    for name in rounds[0]:
        if name.startswith(SEED) and name not in (SEED, named(1)):
            count = re.sub(r"\D", "", name)
            found[f"cost_{count}_to_1"] = ratio(named(1), name)
    if HEALTHCHAIN in rounds[0]:
        found["service_to_healthchain"] = ratio(SEED, HEALTHCHAIN)
    return found


def profile(server: Server, body: bytes, seconds: float) -> Json:
    """Milliseconds per call in each stage, as the service itself tells, one call at a time."""
    before = server.stages()
    steady(server.url, body, seconds, 20, connections=1)
    after = server.stages()
    spent = {n: (after[n][0] - before.get(n, (0, 0))[0]) / (after[n][1] - before.get(n, (0, 0))[1]) for n in after
             if after[n][1] > before.get(n, (0, 0))[1]}  # fmt: skip
    return {name: round(spent[name] * 1000, 3) for name in (*STAGES, *sorted(set(spent) - set(STAGES)))}


def half_load(server: Server, body: bytes, seconds: float, rate: float) -> Measured:
    """Latencies at half of saturation."""
    found = steady(server.url, body, max(seconds, 2), rate)
    return Measured(*(round(v, 3) for v in (found.rate, found.p50, found.p99)))


def threads(body: bytes, seconds: float, rounds: int, workers: int) -> None:
    """Which settings of threads answer fastest: `waiting` are granian's, `threads` those that compute at once."""
    shapes = [Shape(workers, w, t) for w, t in ((1, 1), (2, 2), (8, 8), (64, 1), (64, 2), (64, 4), (64, 8))]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cds-bench-")))
        servers = [stack.enter_context(service(f"waiting {s.waiting}, threads {s.threads}", folder, shape=s))
                   for s in shapes]  # fmt: skip
        servers += [stack.enter_context(bare(f"bare, waiting {w}", Shape(workers, w))) for w in (1, 8, 64)]
        turn(servers, body, 1)
        found = [turn(servers, body, seconds) for _ in range(rounds)]
        print("| server | calls/s | p50 ms | p99 ms |\n| --- | ---: | ---: | ---: |")
        for server in servers:
            middle = medians([r[server.name] for r in found])
            print(f"| {server.name} | {middle.rate:.0f} | {middle.p50:.1f} | {middle.p99:.1f} |")


def table(results: Json) -> str:
    """The results as Markdown."""
    case, load = results["case"], results["load"]
    lines = [
        machine_line(results["machine"]) + ".",
        "",
        f"Story `{case['story']}`: {case['bytes'] / 1000:.1f} kB, {case['cards']} cards, all orders governed; "
        f"validation, policies and ledger (SQLite, normal) on. {load['connections']} connections by {load['tool']}, "
        f"{load['rounds']} rounds of {load['seconds']:g} s, medians. The bare view runs on the service's own server "
        f"class with the same settings: {Shape(**results['shape'])}.",
        "",
        "| server | calls/s | p50 ms | p99 ms |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {n} | {m['rate']:.0f} | {m['p50']:.1f} | {m['p99']:.1f} |" for n, m in results["servers"].items()),
    ]
    half = results["half_saturation"]
    lines += [f"| service, half of saturation | {half['rate']:.0f} | {half['p50']:.1f} | {half['p99']:.1f} |", ""]
    lines += ["| ratio | measured | limit |", "| --- | ---: | ---: |"]
    for name, value in results["ratios"].items():
        sign = "≥" if RATIOS.get(name, False) else "≤"
        limit = f"{sign} {LIMITS[name]}" if name in LIMITS else ""
        lines.append(f"| {name.replace('_', ' ')} | {value:.3f} | {limit} |")
    lines.append(f"| p99 at half of saturation, ms | {half['p99']:.1f} | ≤ 50 |")
    lines += ["", "| stage | ms per call |", "| --- | ---: |"]
    lines += [f"| {n} | {v:.3f} |" for n, v in results["stages_ms"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
