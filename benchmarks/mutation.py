"""Mutation testing of the engine: changes one thing in policy/ or determination/, and the tests must notice.

Prints the rate of each module; a run over everything writes the survivors to benchmarks/mutation-survivors.txt.
`benchmarks/mutation.py cds_service/policy/lint.py` tries one module; `--sample N` tries N mutants chosen by `--seed`.
Changes that no test can notice are listed, with the reason, in benchmarks/mutation-equivalent.yaml.
Exits 1 when fewer than `--at-least` percent are killed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from mutants import ROOT, Mark, Mutant, marks, mutants
from mutation_lines import Recorded
from mutation_run import NOT_SWAPPED, SURVIVED, UNCHANGED, Conductor, Task, warm

TESTS = (
    "tests/spec/test_*.py",
    "tests/unit/test_policy_*.py",
    "tests/unit/test_determination_*.py",
    "tests/policies/test_*.py",
)
SURVIVORS = ROOT / "benchmarks" / "mutation-survivors.txt"
# Reports of failures cost more than the tests; files beside the code would stay; rewritten asserts cannot be swapped.
QUIET = ["-q", "-s", "--tb=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not verify"]


@dataclass
class Tally:
    """What came of the mutants."""

    recorded: list[Recorded] = field(default_factory=list)
    tried: list[Mutant] = field(default_factory=list)
    survivors: list[Mutant] = field(default_factory=list)
    equivalent: dict[Mutant, Mark] = field(default_factory=dict)
    timed_out: int = 0

    def note(self, mutant: Mutant, status: int, known: list[Mark]) -> None:
        """Count one mutant by the wait status of its fork; one that lives and is known to be equivalent, apart."""
        mark = next((m for m in known if m.fits(mutant)), None)
        if mark and status == SURVIVED:
            self.equivalent[mutant] = mark
            return
        self.tried.append(mutant)
        self.timed_out += status < 0
        if status == SURVIVED:
            self.survivors.append(mutant)
            print(f"survived {mutant}", flush=True)

    def rate(self, module: str = "") -> tuple[int, int, float]:
        """Tried, killed and percent, of one module or of all."""
        tried = sum(m.module.startswith(module) for m in self.tried)
        killed = tried - sum(m.module.startswith(module) for m in self.survivors)
        return tried, killed, 100 * killed / tried if tried else 0.0


def hits(recorded: Recorded, mutant: Mutant) -> list[str]:
    """Tests of a file that run the mutated statement."""
    wanted = {(mutant.module, line) for line in mutant.lines}
    unseen = {t for t in recorded.blind if any(m == mutant.module for m, _ in recorded.lines[t])}
    return [t for t, lines in recorded.lines.items() if wanted & lines or t in unseen]


def quick(mutant: Mutant, recorded: list[Recorded]) -> Task | None:
    """The tests that run the statement, fast ones first, then the rest of their files: caches may hold what it made.

    No file that has run it before its tests began: what it made then is not changed.
    """
    wanted = {(mutant.module, line) for line in mutant.lines}
    sharp: dict[str, float] = {}
    rest: dict[str, float] = {}
    for each in recorded:
        if not wanted & each.collecting and (found := hits(each, mutant)):
            sharp |= {t: each.seconds[t] for t in found}
            rest |= each.seconds
    ordered = [*sorted(sharp, key=sharp.__getitem__), *sorted(rest, key=rest.__getitem__)]
    return Task(mutant, tuple(dict.fromkeys(ordered))) if ordered else None


def thorough(mutant: Mutant, recorded: list[Recorded]) -> Task | None:
    """Whole files that ran the statement while they were collected, those first that run most of its module."""
    wanted = {(mutant.module, line) for line in mutant.lines}
    chosen: dict[str, float] = {}
    importing = [each for each in recorded if wanted & each.collecting]
    own = {r.file: sum(any(m == mutant.module for m, _ in lines) for lines in r.lines.values()) for r in importing}
    for each in importing:
        if own[each.file] or not any(own.values()):  # a module of constants has nothing that runs in a test
            chosen[each.file] = sum(each.seconds.values()) / (1 + own[each.file])
    if not chosen:
        return None
    return Task(mutant, tuple(sorted(chosen, key=chosen.__getitem__)))


def check_unchanged(conductor: Conductor, recorded: list[Recorded]) -> None:
    """Both ways of running must pass without a mutant, or every mutant would seem to be killed."""
    files = [r.file for r in recorded]
    failed = [t for r in recorded for t in r.failed]
    if failed:
        raise SystemExit("these tests fail without any mutant: " + ", ".join(failed))
    everything = Task(UNCHANGED, tuple(t for r in recorded for t in r.lines))
    if any(status != SURVIVED for _, status in conductor.swapped(files, [everything])):
        raise SystemExit("the tests fail in a fork without any mutant")
    if any(status != SURVIVED for _, status in conductor.afresh([Task(UNCHANGED, tuple(files))])):
        raise SystemExit("the tests fail without any mutant when everything is imported afresh")


def run(chosen: list[Mutant], conductor: Conductor, known: list[Mark]) -> Tally:
    """Record, then try every mutant: changed in place, and what lives or cannot be changed so, afresh."""
    files = list(dict.fromkeys(p.relative_to(ROOT).as_posix() for g in TESTS for p in sorted(ROOT.glob(g))))
    tally = Tally(conductor.record(files))
    check_unchanged(conductor, tally.recorded)
    warm({m for r in tally.recorded for m in r.modules})
    left = {m: thorough(m, tally.recorded) for m in chosen}
    tasks = [task for m in chosen if (task := quick(m, tally.recorded))]
    for task, status in conductor.swapped(files, tasks):
        if status == NOT_SWAPPED:
            running = tuple(r.file for r in tally.recorded if r.lines.keys() & set(task.runs))
            left[task.mutant] = left[task.mutant] or Task(task.mutant, running)
        elif status != SURVIVED or left[task.mutant] is None:
            tally.note(task.mutant, status, known)
            del left[task.mutant]
    for mutant in [m for m, task in left.items() if task is None]:
        tally.note(mutant, SURVIVED, known)  # nothing runs it
    for task, status in conductor.afresh([task for task in left.values() if task]):
        tally.note(task.mutant, status, known)
    return tally


def _in_order(found: Iterable[Mutant]) -> list[Mutant]:
    return sorted(found, key=lambda m: (m.module, m.number))


def lines_of(tally: Tally, total: int) -> Iterator[str]:
    """The report: rates by module, survivors, and what is left out with its reason."""
    tried, killed, rate = tally.rate()
    yield f"# {tried} of {total} mutants tried, {killed} killed ({rate:.1f} %), {tally.timed_out} of them by time."
    even_so = 100 * killed / ((tried + len(tally.equivalent)) or 1)
    yield f"# {len(tally.equivalent)} more live because they are equivalent; counted as survivors: {even_so:.1f} %."
    yield ""
    for module in sorted({m.module for m in tally.tried}):
        tried, killed, rate = tally.rate(module)
        yield f"# {rate:5.1f} %  {killed:4} of {tried:4}  {module}"
    yield ""
    yield from map(str, _in_order(tally.survivors))
    yield ""
    yield "# Equivalent:"
    yield from (
        f"# {m}: {mark.why}" for m, mark in sorted(tally.equivalent.items(), key=lambda e: (e[0].module, e[0].number))
    )


def main() -> None:
    """Try the mutants and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="Only mutants of these files.")
    parser.add_argument("--sample", type=int, default=0, help="How many mutants to try; 0 for all.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="How many mutants to try at a time.")
    parser.add_argument("--at-least", type=float, default=90, help="Percent that must be killed.")
    options = parser.parse_args()
    everything, known = mutants(), marks()
    chosen = [m for m in everything if not options.modules or m.module in options.modules]
    if options.sample:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    started = time.monotonic()
    tally = conducted(chosen, options.jobs, known)
    report = list(lines_of(tally, len(everything)))
    if len(chosen) == len(everything):
        SURVIVORS.write_text("\n".join(report).strip() + "\n", encoding="utf-8")
        for mark in set(known) - set(tally.equivalent.values()):
            print(f"remove the mark of '{mark.source}' in {mark.module} ({mark.change}): nothing it fits lives")
    print("\n".join(report[: report.index("", 3)]))
    print(f"in {time.monotonic() - started:.0f} s")
    sys.exit(0 if tally.rate()[2] >= options.at_least else 1)


def conducted(chosen: list[Mutant], jobs: int, known: list[Mark]) -> Tally:
    """Run within pytest, from the root of the repository, with nothing left there."""
    done: list[Tally] = []
    conductor = Conductor(lambda c: done.append(run(chosen, c, known)), jobs)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch
        pytest.main([*QUIET, "--hypothesis-seed=1", "tests/unit"], plugins=[conductor])
    if conductor.error:
        raise conductor.error
    return done[0]


if __name__ == "__main__":
    main()
