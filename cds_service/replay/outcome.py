"""What a run came to: its counts, its problems, and examples of what changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cds_service.replay.judge import EXAMPLES, Result
from cds_service.replay.problems import KEPT, Problem
from cds_service.replay.tally import Tally
from cds_service.replay.unheard import Unheard


@dataclass
class Outcome:
    """What a run came to. `unheard` is known at its end."""

    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    unheard: list[Unheard] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add what one piece of work came to."""
        self.tally.add(result.tally)
        self.problems += result.problems[: KEPT - len(self.problems)]
        self.examples += result.examples[: EXAMPLES - len(self.examples)]

    def note(self, found: list[Problem], more: int = 0) -> None:
        """Add problems that no piece of work has counted, and how many `more` were faulty."""
        self.problems += found[: KEPT - len(self.problems)]
        self.tally.problems.update([p.kind for p in found])
        if more:
            self.tally.problems["faulty"] += more

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the journal."""
        problems = [[p.file, p.line, p.kind, p.text] for p in self.problems]
        return {"tally": self.tally.to_json(), "problems": problems, "examples": self.examples}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Outcome:
        """The outcome so far, as the journal tells of it."""
        problems = [Problem(*p) for p in plain["problems"]]
        return cls(Tally.from_json(plain["tally"]), problems, list(plain["examples"]))
