"""Member look-up: the port that a payer plugs in, so that coverage is resolved against its own records.

A payer installs a package with one entry point in the group `cds_service.members`: a function without arguments
that returns a `Members`. Without one, what the client's Coverage says is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import entry_points
from typing import Literal, Protocol

from cds_service.errors import ConfigurationError

GROUP = "cds_service.members"
MemberState = Literal["found", "not-found", "not-active", "several", "unavailable"]


@dataclass(frozen=True, slots=True)
class MemberQuery:
    """Whom to look up: `identifiers` are the (system, value) pairs of Coverage.identifier and the subscriber id.

    `born` is the birth date as the chart has it (perhaps partial), `day` the day coverage is asked for. The repr
    holds nothing of the member.
    """

    payer: str
    identifiers: tuple[tuple[str, str], ...] = field(repr=False)
    born: str | None = field(default=None, repr=False)
    day: date | None = field(default=None, repr=False)


class Members(Protocol):
    """A payer's directory of members."""

    def find(self, query: MemberQuery) -> MemberState:
        """State of one member's coverage. Must answer within a second; `unavailable` when it cannot."""


class DemoMembers:
    """Demo mode: everyone is a member, but for a few member numbers that make each other state reachable."""

    STATES: Mapping[str, MemberState] = {
        "DEMO-NOT-FOUND": "not-found",
        "DEMO-NOT-ACTIVE": "not-active",
        "DEMO-SEVERAL": "several",
        "DEMO-UNAVAILABLE": "unavailable",
    }

    def find(self, query: MemberQuery) -> MemberState:
        """The state that a member number stands for; `found` for any other."""
        return next((self.STATES[value] for _, value in query.identifiers if value in self.STATES), "found")


def plugged_in(demo: bool) -> Members | None:
    """The deployment's directory of members. Raises ConfigurationError when several packages offer one."""
    if demo:
        return DemoMembers()
    found = list(entry_points(group=GROUP))
    if len(found) > 1:
        names = ", ".join(sorted(e.value for e in found))
        raise ConfigurationError(f"Several member directories are installed ({names}). Leave one.")
    if not found:
        return None
    directory: Members = found[0].load()()
    return directory
