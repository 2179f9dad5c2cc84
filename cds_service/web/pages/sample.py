"""A made-up year of calls for the insights page of a demo: counted by the ledger's own rules, kept apart from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

from cds_service.ledger.counts import Tally, add_answer, add_finding, add_outcome, finding_rows, new_tally
from cds_service.ledger.document import dumps
from cds_service.ledger.insights import Counts, in_memory
from cds_service.ledger.projection import Projection
from cds_service.policy.content import PolicyFolder
from cds_service.policy.rulebook import Rulebook
from cds_service.render.parts import OVERRIDE_REASONS, REASON_SYSTEM
from cds_service.web.pages.remembered import per_revision

Row = dict[str, Any]
DAYS = 180
_HOOKS = (("order-sign", "order-sign-advisor", 45), ("order-select", "order-select-advisor", 14),
          ("patient-view", "patient-view-advisor", 9), ("order-sign", "order-sign-crd", 26),
          ("order-dispatch", "order-dispatch-crd", 6))  # fmt: skip
_QUIET = 0.45
_LATE = 0.012
_ASSERTED = {
    "supported": (("covered", "no-auth", "", False), ("covered", "auth-needed", "clinical", True),
                  ("covered", "satisfied", "", False)),
    "not-supported": (("not-covered", "", "", False),),
    "needs-information": (("conditional", "conditional", "clinical", True),
                          ("conditional", "auth-needed", "clinical", True),
                          ("conditional", "auth-needed", "clinical", False)),
    "not-addressed": (("indeterminate", "indeterminate", "", False),),
}  # fmt: skip
"""What a made-up CRD answer may say of an order with this outcome (see `projection`), without whether it was sent."""


class _Finding(NamedTuple):
    """A rule of the bundled policies that may have decided a made-up order."""

    payer: str
    policy: str
    version: str
    rule: str
    outcome: str
    missing: tuple[str, ...]
    weight: float
    acceptance: float


def sample(rulebook: Rulebook, today: date) -> Counts:
    """The sample up to a day; the same for the same content and day."""
    return _made(_findings(rulebook), today)


@per_revision
def _findings(rulebook: Rulebook) -> tuple[_Finding, ...]:
    rng = Random(11)  # noqa: S311 - made-up data, no secret
    return tuple(f for folder in rulebook.folders.values() for f in _of_policy(folder, rng))


def _of_policy(folder: PolicyFolder, rng: Random) -> Iterator[_Finding]:
    policy, version = folder.policy, folder.policy.versions[-1]
    if policy.kind != "coverage":
        return
    questions = [c.ask.question for c in version.criteria.values() if c.ask]
    for item in version.orders.values():
        for rule in item.rules:
            missing = tuple(rng.sample(questions, min(2, len(questions))))
            wanted = missing if rule.outcome == "needs-information" else ()
            weight = rng.paretovariate(1.1) * (2.5 if policy.publisher == "Aetna" else 1)
            payer = rng.choice(policy.payers) if policy.payers else ""
            yield _Finding(
                payer, policy.id, version.version, rule.id, rule.outcome, wanted, weight, rng.uniform(0.25, 0.8)
            )


@lru_cache(maxsize=2)
def _made(findings: tuple[_Finding, ...], today: date) -> Counts:
    rng, tally = Random(20), new_tally()  # noqa: S311 - made-up data, no secret
    weights = [f.weight for f in findings]
    for ago in range(DAYS, -1, -1):
        day = today - timedelta(days=ago)
        busy = 2 if day.weekday() > 4 else 5 + (DAYS - ago) // 40
        for n in range(rng.randint(busy // 2, busy + 2)):
            at = datetime(day.year, day.month, day.day, 8 + n % 9, rng.randrange(60), tzinfo=UTC)
            chosen = rng.choices(findings, weights)[0] if findings and rng.random() > _QUIET else None
            _count_call(tally, rng, int(at.timestamp() * 1000), chosen)
    return in_memory(tally)


def _count_call(tally: Tally, rng: Random, at: int, found: _Finding | None) -> None:
    hook, service, _ = rng.choices(_HOOKS, [h[2] for h in _HOOKS])[0]
    place = {
        "received": at,
        "hook": hook,
        "service": service,
        "client": "sample",
        "payer": found.payer if found else "",
    }
    crd = service.endswith("-crd")
    late = crd and rng.random() < _LATE
    answer = {**place, "status": 200, "latency": rng.lognormvariate(1.9, 0.45) + (5000 if late else 0)}
    determinations = [{**d, "asserted": _asserted(rng, d) if crd else ""} for d in _determinations(rng, found)]
    projection = Projection(answer, determinations, list(_cards(place, found, rng)))
    add_answer(tally, projection)
    for row in finding_rows(projection):
        add_finding(tally, row, "shown", 1)
        _react(tally, row, rng, found, at)


def _determinations(rng: Random, found: _Finding | None) -> Iterator[Row]:
    plain = {"policy": None, "version": None, "rule": None, "payer": found.payer if found else "", "missing": "[]"}
    for _ in range(rng.randint(1, 3)):
        outcome = "supported" if rng.random() < 0.6 and found else "not-addressed"
        yield {**plain, "policy": found.policy if found and outcome == "supported" else None, "role": "primary",
               "outcome": outcome}  # fmt: skip
    if found:
        missing = dumps([["answers", text] for text in found.missing]).decode()
        yield {**plain, "policy": found.policy, "version": found.version, "rule": found.rule, "role": "primary",
               "outcome": found.outcome, "missing": missing}  # fmt: skip


def _asserted(rng: Random, determination: Row) -> str:
    return dumps([[*rng.choice(_ASSERTED[determination["outcome"]]), rng.random() < 0.93]]).decode()


def _cards(place: Row, found: _Finding | None, rng: Random) -> Iterator[Row]:
    if found is None or found.outcome not in ("not-supported", "needs-information"):
        return
    flagged = found.outcome == "not-supported"
    names = {"policy": found.policy, "version": found.version, "rule": found.rule}
    yield {**place, **names, "finding": f"{rng.getrandbits(64):x}", "shown": True,
           "indicator": "warning" if flagged else "info", "kind": found.outcome if flagged else "missing"}  # fmt: skip


def _react(tally: Tally, row: Row, rng: Random, found: _Finding | None, at: int) -> None:
    if found is None or rng.random() < 0.18:
        return
    accepted = rng.random() < found.acceptance
    code, display = rng.choices(OVERRIDE_REASONS, (2, 3, 1, 6, 4, 5))[0]
    given = not accepted and rng.random() < 0.7
    reason = {"reason_system": REASON_SYSTEM, "reason_code": code, "reason_display": display, "reason_offered": True}
    empty = dict.fromkeys(reason)
    feedback = {"at": at, "received": at, "outcome": "accepted" if accepted else "overridden"}
    add_outcome(tally, row, {**feedback, **(reason if given else empty)})
