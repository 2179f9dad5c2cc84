"""A pytest plugin that notes which test executes which lines of the packages that mutation testing changes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest
from mutants import PACKAGES, ROOT

Lines = set[tuple[str, int]]


@dataclass
class Recorded:
    """What one file's tests do: seconds and lines of each test, and the lines of import and collection.

    Tests that are `blind` ran more lines than were seen.
    """

    file: str
    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, Lines] = field(default_factory=dict)
    collecting: Lines = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)


class Recorder:
    """Notes the lines of the two packages that run, under the test that runs them."""

    def __init__(self, file: str) -> None:
        self.found = Recorded(file)
        self._now = self.found.collecting
        self._names: dict[str, str | None] = {}

    def start(self) -> None:
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _module(self, path: str) -> str | None:
        name = path.removeprefix(f"{ROOT}/")
        return name if name.startswith(PACKAGES) else None

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        path = frame.f_code.co_filename
        if path not in self._names:
            self._names[path] = self._module(path)
        name = self._names[path]
        if name is None:
            return None
        self._now.add((name, frame.f_lineno))

        def line(frame: FrameType, _event: str, _arg: object) -> Any:
            self._now.add((name, frame.f_lineno))
            return line

        return line

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._now = self.found.lines[item.nodeid] = set()
        self.start()
        started = time.process_time()
        yield
        if sys.gettrace() is None:  # Python stops tracing where a test recurses too deep
            self.found.blind.add(item.nodeid)
        self.found.seconds[item.nodeid] = time.process_time() - started

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.found.failed.append(report.nodeid)
