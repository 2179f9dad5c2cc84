"""Runs mutants inside one pytest process, in forks of it: as its plugin it records, changes, and runs what can notice.

1. Each test file runs once in a fork with a line recorder: which test executes which lines, and for how long.
2. A fork collects all files. For each mutant it forks again, changes the code of the functions in place, and runs the
   tests that execute the mutated statement, fast ones first, until one fails.
3. What then lives, or runs while modules are imported, is tried once more in a fork that imports everything afresh.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutants import ROOT, Mutant, tree
from mutation_lines import Recorded, Recorder

SURVIVED, KILLED, NOT_SWAPPED = 0, 1, 77
UNCHANGED = Mutant("cds_service/policy/logic.py", -1, 0, range(0), "", "nothing")  # what passes without a mutant
MEMORY = 6 << 30  # a mutant that never stops may also never stop growing
IMPORTING = 30  # processor seconds that imports and collection may take
LEAST, TIMES = 2, 3  # processor seconds that a test may take, and how many times what it took without a mutant


@dataclass(frozen=True)
class Task:
    """One mutant, and the tests or files that run against it."""

    mutant: Mutant
    runs: tuple[str, ...]


class Afresh(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Imports one module with its change."""

    def __init__(self, mutant: Mutant) -> None:
        name = mutant.module.removesuffix(".py").replace("/", ".")
        super().__init__(name, str(ROOT / mutant.module))
        self._mutant = mutant

    def find_spec(self, name: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, _name: str) -> CodeType:
        return compile(tree(self._mutant.module, self._mutant.number), self.path, "exec")


def functions() -> dict[CodeType, list[FunctionType]]:
    """All live functions, by their code."""
    found: dict[CodeType, list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(f"{ROOT}/cds_service/"):
            found.setdefault(each.__code__, []).append(each)
    return found


def swap(mutant: Mutant, live: dict[CodeType, list[FunctionType]]) -> bool:
    """Change the code of the functions of a module in place; False where that does not reach the change."""
    path = str(ROOT / mutant.module)
    before, after = (compile(tree(mutant.module, n), path, "exec") for n in (None, mutant.number))
    changed = [(a, b) for a, b in _pairs(before, after) if a != b][1:]  # the module itself always differs
    reached = [(f, new) for old, new in changed for f in live.get(old, ())]
    for function, new in reached:
        if function.__code__.co_freevars != new.co_freevars:
            return False
        function.__code__ = new
    return bool(reached)


def _pairs(before: CodeType, after: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    yield before, after
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (before, after)]
    if len(inner[0]) == len(inner[1]):
        for one, two in zip(*inner, strict=True):
            yield from _pairs(one, two)


def forked(work: Callable[[], int], scratch: Path) -> int:
    """Start a fork that does some work quietly; its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = KILLED
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.mkdtemp(dir=scratch)
        code = work()
    finally:
        os._exit(code)


def at_most(seconds: float) -> None:
    """End this process after some seconds of processor time, or when it takes too much memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(int(20 * seconds) + 60)  # one that sleeps takes no processor time


def in_forks(works: Iterable[tuple[Any, Callable[[], int]]], jobs: int) -> Iterator[tuple[Any, int]]:
    """Do works in forks, some at a time: the key of each with its wait status, as they end."""
    running: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for key, work in works:
            if len(running) >= jobs:
                yield _ended(running)
            running[forked(work, Path(scratch))] = key
        while running:
            yield _ended(running)


def _ended(running: dict[int, Any]) -> tuple[Any, int]:
    child, status = os.wait()
    return running.pop(child), os.waitstatus_to_exitcode(status)


class Conductor:
    """The pytest plugin. `plan` is called, with this as its argument, instead of collecting and running."""

    def __init__(self, plan: Callable[[Conductor], None], jobs: int) -> None:
        self.plan, self.jobs = plan, jobs
        self.session: pytest.Session
        self.quit_at_failure = False
        self.seconds: dict[str, float] = {}
        self.error: BaseException | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> object:
        self.session = session
        try:
            self.plan(self)
        except BaseException as error:  # noqa: BLE001 - raised again outside pytest, which would print it as its own
            self.error = error
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self.quit_at_failure and report.failed:
            os._exit(KILLED)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if self.quit_at_failure and report.failed:
            os._exit(KILLED)

    def _collected(self, files: Iterable[str]) -> list[pytest.Item]:
        """In a fork: the tests of some files."""
        self.session.config.args = list(files)
        self.session.perform_collect()
        return self.session.items

    def run(self, items: list[pytest.Item]) -> None:
        """Run tests one after another; against a mutant, each within a time that fits it."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            if self.quit_at_failure:
                at_most(LEAST + TIMES * self.seconds.get(item.nodeid, 0))
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)

    def record(self, files: list[str]) -> list[Recorded]:
        """What each file's tests execute."""
        with tempfile.TemporaryDirectory() as folder:

            def one(file: str) -> int:
                recorder = Recorder(file)
                self.session.config.pluginmanager.register(recorder)
                recorder.start()
                self.run(self._collected([file]))
                sys.settrace(None)
                recorder.found.modules = set(sys.modules)
                (Path(folder) / f"{files.index(file)}").write_bytes(pickle.dumps(recorder.found))
                return SURVIVED

            for file, status in in_forks(((f, lambda f=f: one(f)) for f in files), self.jobs):
                if status:
                    raise RuntimeError(f"{file} could not be run")
            found = [pickle.loads((Path(folder) / f"{n}").read_bytes()) for n in range(len(files))]
        self.seconds = {test: seconds for each in found for test, seconds in each.seconds.items()}
        return found

    def swapped(self, files: list[str], tasks: list[Task]) -> Iterator[tuple[Task, int]]:
        """Run tests against mutants whose functions are changed in place: wait status by task."""
        reading, writing = os.pipe()

        def serve() -> int:
            os.close(reading)
            by_id = {i.nodeid: i for i in self._collected(files)}
            live = functions()
            gc.collect()
            gc.freeze()
            self.quit_at_failure = True

            def one(task: Task) -> int:
                if task.mutant is not UNCHANGED and not swap(task.mutant, live):
                    return NOT_SWAPPED
                self.run([by_id[t] for t in task.runs])
                return SURVIVED

            works = ((n, lambda t=t: one(t)) for n, t in enumerate(tasks))
            for number, status in in_forks(works, self.jobs):
                os.write(writing, f"{number} {status}\n".encode())
            return 0

        with tempfile.TemporaryDirectory() as scratch:
            child = forked(serve, Path(scratch))
            os.close(writing)
            with os.fdopen(reading) as lines:
                for line in lines:
                    number, status = map(int, line.split())
                    yield tasks[number], status
            if os.waitpid(child, 0)[1]:
                raise RuntimeError("the tests could not be collected together")

    def afresh(self, tasks: list[Task]) -> Iterator[tuple[Task, int]]:
        """Run whole files against mutants that are imported anew: wait status by task."""

        def one(task: Task) -> int:
            sys.meta_path.insert(0, Afresh(task.mutant))
            self.quit_at_failure = True
            at_most(IMPORTING)
            self.run(self._collected(task.runs))
            return SURVIVED

        yield from in_forks(((t, lambda t=t: one(t)) for t in tasks), self.jobs)


def warm(names: Iterable[str]) -> None:
    """Import what tests import of other people's, so that forks need not."""
    for name in sorted(names):
        if name.split(".")[0] not in ("cds_service", "tests", "support", "conftest") and name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
