"""How far one hook call travels: files entered, functions, calls, and moves between files and between packages.

    .venv/bin/python benchmarks/journey.py [SERVICE ...]    (order-sign-advisor and order-sign-crd by default)

The story is a bundled one, answered by the whole service in this process, once it is warm. Limits are those of
LIMITS; the process fails where one is passed. Reading the story needs a look into each file, and each move between
packages is a turn of the page.
"""

from __future__ import annotations

import collections
import secrets
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import cds_service
from cds_service.config import Settings
from cds_service.hooks.runtime import Runtime
from cds_service.hooks.warm import warm
from cds_service.ledger.store import Ledger
from cds_service.web.app import create_app

ROOT = Path(cds_service.__file__).parent
STORY = ROOT.parent / "fhir_fixtures" / "cervical-fusion" / "request.json"
HERE = "http://127.0.0.1:8140"
# Files, moves between packages: as it is, so that it gets no longer. The goal is 50 and 250, 55 and 300.
LIMITS = {"order-sign-advisor": (95, 520), "order-sign-crd": (105, 790)}


class Journey:
    """What a profiler saw of one call."""

    def __init__(self) -> None:
        self.way: list[str] = []  # files, each move once
        self.functions: set[tuple[str, str]] = set()
        self.calls = 0

    def watch(self, frame: FrameType, event: str, _: Any) -> None:
        """For `sys.setprofile`."""
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{ROOT}/"):
            self.calls += 1
            own = name.removeprefix(f"{ROOT}/")
            self.functions.add((own, frame.f_code.co_qualname))
            if not self.way or self.way[-1] != own:
                self.way.append(own)

    @property
    def files(self) -> int:
        """Files entered."""
        return len(set(self.way))

    @property
    def moves(self) -> list[tuple[str, str]]:
        """Moves between packages."""
        packages = [own.split("/")[0] for own in self.way]
        return [(a, b) for a, b in pairwise(packages) if a != b]


def travelled(call: Callable[[], object]) -> Journey:
    """The journey of one call; those before it have built what is built on first use."""
    call(), call()
    seen = Journey()
    sys.setprofile(seen.watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


def main(services: list[str]) -> int:
    """Count each service's journey; 1 where a limit is passed."""
    passed = 0
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime.build(Settings(demo=True, port=8140, public_url=HERE))
        ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", key=secrets.token_bytes(32))
        client = create_app(runtime, ledger).test_client()
        warm(runtime)
        body = STORY.read_bytes()
        for service in services or LIMITS:
            path, headers = f"/cds-services/{service}", {"Host": HERE.removeprefix("http://")}
            answered = client.post(path, data=body, content_type="application/json", headers=headers)
            seen = travelled(
                lambda p=path, h=headers: client.post(p, data=body, content_type="application/json", headers=h)
            )
            most_files, most_moves = LIMITS.get(service, (sys.maxsize, sys.maxsize))
            passed |= seen.files > most_files or len(seen.moves) > most_moves
            print(
                f"{service}: HTTP {answered.status_code}, {seen.files} files, {len(seen.functions)} functions, "
                f"{seen.calls} calls, {len(seen.way)} moves between files, {len(seen.moves)} between packages"
            )
            for (one, other), number in collections.Counter(seen.moves).most_common(8):
                print(f"  {one} -> {other} {number}")
        ledger.close()
    return int(passed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
