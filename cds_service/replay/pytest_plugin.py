"""A pytest plugin: replay hook requests and Bundles in your own tests, and compare the answers with golden files.

Everything else is imported when the fixture is first used, so that the plugin costs nothing where it is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cds_service.replay.in_memory import Replayer

Json = dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`."""
    group = parser.getgroup("cds-service")
    group.addoption("--update-golden", action="store_true", help="Write golden files instead of comparing with them.")


@dataclass(frozen=True)
class Replayed:
    """What a replay came to. `determinations` are as `evaluate --json` gives them, with their `event`."""

    cards: list[Json]
    determinations: list[Json]
    findings: list[Json]
    problems: list[str]
    _update: bool = field(default=False, repr=False)

    def outcomes(self, role: str = "primary") -> dict[str, str]:
        """Outcome by order reference; of several policies, the one told last that addresses the order."""
        found: dict[str, str] = {}
        for entry in self.determinations:
            if entry["role"] == role and (entry["outcome"] != "not-addressed" or entry["order"] not in found):
                found[entry["order"]] = entry["outcome"]
        return found

    def golden(self) -> Json:
        """What golden files hold: all but what is new in every run, such as ids of cards."""
        brief = [{k: d[k] for k in ("event", "order", "code", "policy", "version", "role", "outcome",
                                    "prior_authorization", "missing")} for d in self.determinations]  # fmt: skip
        cards = [
            {
                "summary": c["summary"],
                "indicator": c["indicator"],
                "suggestions": [s["label"] for s in c.get("suggestions", ())],
            }
            for c in self.cards
        ]
        return {"cards": cards, "determinations": brief, "findings": self.findings, "problems": self.problems}

    def check(self, path: str | Path) -> None:
        """Compare with a golden file, or write it under `--update-golden`. Fails the test where they differ."""
        file = Path(path)
        if self._update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self.golden(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        if not file.exists():
            pytest.fail(f"{file} does not exist. Write it with --update-golden.", pytrace=False)
        expected, found = _held(file), self.golden()
        if found != expected:
            told = "\n".join(_differences(expected, found))
            pytest.fail(f"{file} differs; --update-golden accepts this:\n{told}", pytrace=False)


def _held(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        pytest.fail(f"{file} is not JSON: {error}. --update-golden writes it anew.", pytrace=False)


def _differences(expected: Json, found: Json) -> list[str]:
    import difflib

    before, after = (json.dumps(value, indent=2, ensure_ascii=False).splitlines() for value in (expected, found))
    return list(difflib.unified_diff(before, after, "expected", "found", lineterm="", n=2))


@dataclass
class CdsReplay:
    """The fixture: call it with a hook request or a Bundle."""

    update: bool
    made: dict[tuple[str | None, str | None], Replayer] = field(default_factory=dict)

    def __call__(
        self,
        source: str | Path | bytes | Mapping[str, Any],
        *,
        service: str | None = None,
        cards: str | Path | None = None,
        as_of: date | None = None,
    ) -> Replayed:
        """Replay a file, JSON or NDJSON text (gzipped or not), or an object.

        `cards` is a policy folder, `as_of` the day to judge by. Raises InputFileError for a file that cannot be read,
        TypeError for a wrong `as_of`, and CdsServiceError for a fault of this program.
        """
        from cds_service.replay.in_memory import Replayer

        key = (str(cards) if cards is not None else None, service)
        if key not in self.made:
            self.made[key] = Replayer(*key)
        told = self.made[key].replay(source, as_of)
        return Replayed(told.cards, told.determinations, told.findings, told.problems, self.update)


@pytest.fixture(scope="session")
def _cds_replayers() -> dict[tuple[str | None, str | None], Replayer]:
    return {}


@pytest.fixture
def cds_replay(
    request: pytest.FixtureRequest, _cds_replayers: dict[tuple[str | None, str | None], Replayer]
) -> CdsReplay:
    """Replays a hook request or a Bundle: `cds_replay("request.json").check("request.golden.json")`."""
    return CdsReplay(bool(request.config.getoption("--update-golden")), _cds_replayers)
