"""A million orders: rate, memory, two processes against one, kill -9 and --resume, nothing lost or doubled.

`--orders 5000` tries it. Fails where a limit of the project is missed, or a ratio is worse than recorded by more than
15%. Results of a full run go to results/replay.json and README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_file import fallen, machine, machine_line, record, recorded
from servers import ROOT

Json = dict[str, Any]
MILLION = 1_000_000
ORDERS_PER_PATIENT = 3.95
MEMORY_MB, SPEED_UP, GROWTH_MB = 500, 1.8, 50
SEED = 20261124


@dataclass
class Run:
    """One replay: seconds, and the most memory that its processes held together."""

    seconds: float
    peak_mb: float
    code: int


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=MILLION)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to work; a million orders need about 20 GB")
    parser.add_argument("--record", action="store_true", help="keep these results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cds-replay-bench-", dir=options.folder) as folder:
        results = measure(Path(folder), options)
    print(table(results))
    before = recorded("replay")
    worse = fallen(results["ratios"], before["ratios"], {"two_processes": True}) if before else []
    missed = [name for name, fine in results["held"].items() if not fine]
    for text in (*worse, *missed):
        print(f"FAILED  {text}")
    if options.record or (options.orders >= MILLION and not worse and not missed):
        record("replay", results, table(results))
    sys.exit(1 if worse or missed else 0)


def measure(folder: Path, options: argparse.Namespace) -> Json:
    """All runs."""
    told = machine()
    small, _ = synth(folder / "small", options.orders // 10)
    inputs, orders = synth(folder / "in", options.orders)
    cards = folder / "cards.compiled"
    cli("policy", "build", ROOT / "cards", "--out", cards)
    tenth = replay(small, cards, folder / "small.ndjson", 1)
    one = replay(inputs, cards, folder / "one.ndjson", 1)
    two = replay(inputs, cards, folder / "two.ndjson", 2)
    kills = killed(folder, inputs, cards, options.kills, two.seconds)
    same = len({digest(folder / f"{name}.ndjson") for name in ("one", "two", "killed")}) == 1
    judged, doubled, lines = counted(folder / "killed.ndjson")
    speed_up = one.seconds / two.seconds
    size = sum(p.stat().st_size for p in inputs.iterdir())
    return {
        "machine": told,
        "orders": orders,
        "input_mb": round(size / 1e6),
        "output_mb": round((folder / "one.ndjson").stat().st_size / 1e6),
        "determinations": lines,
        "seconds": {"one": round(one.seconds, 1), "two": round(two.seconds, 1)},
        "rate": {"one": round(orders / one.seconds), "two": round(orders / two.seconds)},
        "peak_mb": {"tenth": tenth.peak_mb, "one": one.peak_mb, "two": two.peak_mb},
        "kills": kills,
        "ratios": {"two_processes": round(speed_up, 3), "memory_growth": round(one.peak_mb / tenth.peak_mb, 3)},
        "held": {
            "every order is judged": judged == orders,
            "none is doubled": doubled == 0,
            "one process, two processes and killed runs write the same": same,
            f"memory under {MEMORY_MB} MB": max(one.peak_mb, two.peak_mb) < MEMORY_MB,
            f"ten times the orders take at most {GROWTH_MB} MB more": one.peak_mb <= tenth.peak_mb + GROWTH_MB,
            f"two processes at least {SPEED_UP} times one": speed_up >= SPEED_UP or options.orders < MILLION,
        },
    }


def command(*words: object) -> list[str]:
    """The command line of the service."""
    return [sys.executable, "-m", "cds_service.cli", *map(str, words)]


def cli(*words: object) -> None:
    """A command that must succeed."""
    subprocess.run(command(*words), check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def synth(folder: Path, orders: int) -> tuple[Path, int]:
    """An export with about so many orders; second, how many there are."""
    cli("synth", "--patients", max(1, round(orders / ORDERS_PER_PATIENT)), "--seed", SEED, "--out", folder,
        "--format", "bulk")  # fmt: skip
    with (folder / "ServiceRequest.ndjson").open("rb") as file:
        return folder, sum(1 for _ in file)


def begin(inputs: Path, cards: Path, out: Path, processes: int, *more: str) -> subprocess.Popen[bytes]:
    """Start a replay."""
    words = command("replay", inputs, "--cards", cards, "--out", out, "--processes", processes, *more)
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def replay(inputs: Path, cards: Path, out: Path, processes: int) -> Run:
    """A whole replay, with its memory watched."""
    started = time.perf_counter()
    process = begin(inputs, cards, out, processes)
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process.pid, peak))
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - started
    watcher.join()
    if code:
        raise RuntimeError(f"replay of {inputs} ended with {code}")
    return Run(seconds, round(peak[0]), code)


def watch(pid: int, peak: list[float]) -> None:
    """Keep the most memory (MB) that a process and its children have held; shared pages count once (PSS)."""
    while (held := memory(pid)) is not None:
        peak[0] = max(peak[0], held)
        time.sleep(0.2)


def memory(pid: int) -> float | None:
    """MB held by a process and its children now; None once it is gone."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    kilobytes = 0
    for each in (str(pid), *children):
        try:
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        except OSError:
            if each == str(pid):
                return None
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1000


def killed(folder: Path, inputs: Path, cards: Path, kills: int, seconds: float) -> int:
    """A run that is killed so many times at moments of its life drawn at random, then left to end; kills that hit."""
    draw, hit, out = random.Random(SEED), 0, folder / "killed.ndjson"
    for number in range(kills):
        process = begin(inputs, cards, out, 2, *(("--resume",) if number else ()))
        try:
            process.wait(draw.uniform(0.1, 0.9) * seconds / kills + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hit += 1
        if not out.exists():
            raise RuntimeError("killed before there was any output: raise --orders")
    process = begin(inputs, cards, out, 2, "--resume")
    if process.wait():
        raise RuntimeError("--resume failed")
    return hit


def digest(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def counted(path: Path) -> tuple[int, int, int]:
    """Orders judged, determinations told twice, and lines of an output."""
    orders: set[int] = set()
    told: Counter[int] = Counter()
    lines = 0
    with path.open("rb") as file:
        for line in file:
            entry = json.loads(line)
            lines += 1
            orders.add(hash((entry["event"], entry["order"])))
            told[hash((entry["event"], entry["order"], entry["policy"], entry["version"], entry["role"]))] += 1
    return len(orders), sum(n - 1 for n in told.values()), lines


def table(results: Json) -> str:
    """The results as Markdown."""
    rate, peak, ratios = results["rate"], results["peak_mb"], results["ratios"]
    lines = [
        machine_line(results["machine"]) + ".",
        "",
        f"{results['orders']:,} synthetic orders as a Bulk Data export of {results['input_mb']:,} MB; "
        f"{results['determinations']:,} determinations, {results['output_mb']:,} MB, with their traces.",
        "",
        "| | one process | two |",
        "| --- | ---: | ---: |",
        f"| seconds | {results['seconds']['one']:,} | {results['seconds']['two']:,} |",
        f"| orders a second | {rate['one']:,} | {rate['two']:,} |",
        f"| peak memory, MB | {peak['one']:,} | {peak['two']:,} |",
        "",
        f"Two processes: {ratios['two_processes']:.2f} times one (limit {SPEED_UP}). Peak memory with a tenth of the "
        f"orders: {peak['tenth']:,} MB. Killed {results['kills']} times with `kill -9` and resumed.",
        "",
        *(f"- {'held' if fine else 'MISSED'}: {name}" for name, fine in results["held"].items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
