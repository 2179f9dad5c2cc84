"""What a case comes to, as plain data: nothing in it evaluates, looks anything up or needs a policy to be read.

`decide` makes a `Decision`. Cards, coverage information, explanations, the ledger's record, replay's rows and pages are
made of it and of the policies' wording. `to_json` and `from_json` write it and read it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from cds_service.determination.routing import Role
from cds_service.policy.case import UNAVAILABLE, Authorization, Code, Fault, Source
from cds_service.policy.not_looked_at import Unseen
from cds_service.policy.trace import Missing, Trace

# Several policies of one payer on one order: the first of these that occurs.
PRECEDENCE = ("not-supported", "needs-information", "supported", "not-addressed")
_FLAGS: dict[str | None, str] = {"against": "warning", "none": "info"}
_RANK = ("against", "none", "option", "for", None)


class Cause(StrEnum):
    """Why a source leaves a criterion open."""

    FAILED = "failed"  # it was asked for, or came, and could not be read: it may be readable another time
    NOT_SUPPLIED = "not-supplied"  # nobody sent it, and nobody could be asked
    NOT_TOLD = "not-told"  # what was read of it does not tell


class Looked(StrEnum):
    """What the chart says of a fact that was looked for."""

    FOUND = "found"
    ABSENT = "absent"
    NONE_RECORDED = "none-recorded"
    NOT_DOCUMENTED = "not-documented"


def _trace(value: Any) -> Trace:
    return value if isinstance(value, Trace) else Trace.from_json(value)


def _missing(value: Any) -> Missing:
    return value if isinstance(value, Missing) else Missing(**value)


# A trace has one form in JSON, wherever it is written.
TraceNode = Annotated[Trace, PlainValidator(_trace), PlainSerializer(Trace.to_json)]
MissingFact = Annotated[Missing, PlainValidator(_missing), PlainSerializer(Missing._asdict)]


class Waiting(NamedTuple):
    """A source that may hold what is missing, and why it has not told."""

    source: str
    cause: Cause


class OpenCriterion(NamedTuple):
    """A criterion that leaves its rule open: what it lacks, and where that may be."""

    criterion: str
    missing: tuple[MissingFact, ...]
    waits_for: tuple[Waiting, ...]


class OpenRule(NamedTuple):
    """A rule that may still be met."""

    rule: str
    criteria: tuple[OpenCriterion, ...]


@dataclass(frozen=True, slots=True)
class Determination:
    """One policy's outcome for one order; `policy` is None where no coverage policy speaks.

    `settled`: no open rule could give another outcome. `authorization_open`: whether prior authorization is needed
    hangs on rules that are open. `given` are the primaries that the order is judged given. `review` is the status of
    the version's review. One that was judged only to see what it comes to has no trace.
    """

    role: Role
    outcome: str
    payer: str | None = None
    policy: str | None = None
    version: str | None = None
    item: str | None = None
    rule: str | None = None
    because: str = ""
    because_patient: str | None = None
    prior_authorization: str = "unknown"
    recommendation: str | None = None
    review: str = ""
    settled: bool = True
    authorization_open: bool = False
    missing: tuple[MissingFact, ...] = ()
    open: tuple[OpenRule, ...] = ()
    given: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    trace: TraceNode | None = None

    @property
    def key(self) -> str:
        """The version that speaks, as `CompiledVersion.key`."""
        return f"{self.policy}@{self.version}"

    @property
    def rules(self) -> tuple[Trace, ...]:
        """Traces of the rules that were looked at, and of what holds when none is met."""
        return self.trace.children if self.trace else ()

    @property
    def open_criteria(self) -> tuple[OpenCriterion, ...]:
        """All that leave a rule open, in the order in which they are read."""
        return tuple([c for rule in self.open for c in rule.criteria])


@dataclass(frozen=True, slots=True)
class Finding:
    """A coding or safety remark about an order."""

    order: str
    kind: str
    rule: str
    text: str
    policy: str
    version: str
    trace: TraceNode
    cites: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The version that speaks, as `CompiledVersion.key`."""
        return f"{self.policy}@{self.version}"


@dataclass(frozen=True, slots=True)
class JudgedOrder:
    """An order by its reference, its codes, and the day it is judged."""

    ref: str
    codes: tuple[Code, ...]
    day: date

    @property
    def resource_type(self) -> str:
        """FHIR resource type, from the reference."""
        return self.ref.split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class Operation:
    """What an order is part of: `cervical fusion`; `case` where nothing is operated on. `own` where it is a primary."""

    phrase: str = "case"
    regions: tuple[str, ...] = ()
    own: bool = False


class LookedFor(NamedTuple):
    """A criterion that the policy's wording reports, and what the chart says of it."""

    criterion: str
    found: Looked


@dataclass(frozen=True, slots=True)
class Billed:
    """What an order comes to where it is billed by these codes."""

    codes: tuple[Code, ...]
    decision: OrderDecision


@dataclass(frozen=True, slots=True)
class OrderDecision:
    """Everything found about one order, and what it comes to.

    `covered_by_policy` is true where a coverage policy speaks: one that does not address the order leaves it to the
    guideline. `governs` is the place of the determination that gave the outcome: the guideline's where no coverage
    policy speaks. `flag` is `warning` or `info` when the order deserves a card of its own; authorised orders never do.
    `authorization` is one that the order carries and that holds. `payer_open`: a coverage that did not come may decide
    before those that are known. `age` in years, from the least to the most that it may be.
    """

    order: JudgedOrder
    determinations: tuple[Determination, ...]
    outcome: str
    covered_by_policy: bool = False
    governs: int | None = None
    flag: str | None = None
    findings: tuple[Finding, ...] = ()
    authorization: Authorization | None = None
    payer_open: bool = False
    operation: Operation = Operation()
    age: tuple[int, int] | None = None
    looked_for: tuple[LookedFor, ...] = ()
    billed: tuple[Billed, ...] = ()

    @property
    def primary(self) -> tuple[Determination, ...]:
        """Determinations of the payer that decides."""
        return tuple([d for d in self.determinations if d.role == "primary"])

    @property
    def spoken(self) -> tuple[Determination, ...]:
        """Determinations by a policy."""
        return tuple([d for d in self.determinations if d.policy is not None])

    @property
    def governing(self) -> Determination | None:
        """What gave the outcome."""
        return None if self.governs is None else self.determinations[self.governs]

    @property
    def settled(self) -> bool:
        """True when a policy has given a definite outcome, or a guideline has something to say."""
        return self.outcome in ("supported", "not-supported") or self.flag is not None or self.authorization is not None

    @property
    def waits(self) -> bool:
        """True where the payer's policy waits for information, and no authorisation makes that needless."""
        return self.covered_by_policy and self.outcome == "needs-information" and self.authorization is None


def order_decision(
    order: JudgedOrder,
    determinations: tuple[Determination, ...],
    authorization: Authorization | None = None,
    payer_open: bool = False,
    **more: Any,
) -> OrderDecision:
    """What determinations come to for an order; `more` is what is said of it beside them."""
    primary = [d for d in determinations if d.role == "primary"]
    outcome = _outcome(primary)
    if payer_open and outcome != "not-addressed":
        outcome = "needs-information"
    spoken = [d for d in primary if d.policy is not None and d.outcome != "not-addressed"]
    governing = _decisive(spoken, outcome) if spoken else _leading(determinations)
    flag = None
    if authorization is None and spoken:
        flag = "warning" if outcome == "not-supported" else None
    elif authorization is None and governing:
        flag = _FLAGS.get(governing.recommendation)
    governs = next((n for n, d in enumerate(determinations) if d is governing), None)
    return OrderDecision(
        order, determinations, outcome, bool(spoken), governs, flag,
        authorization=authorization, payer_open=payer_open, **more,
    )  # fmt: skip


def _outcome(primary: list[Determination]) -> str:
    """The one outcome of the primary coverage; payers that tie for it must agree."""
    if len(primary) == 1:
        return primary[0].outcome
    by_payer: dict[str | None, list[str]] = {}
    for d in primary:
        by_payer.setdefault(d.payer, []).append(d.outcome)
    outcomes = {strongest(o) for o in by_payer.values()}
    if len(outcomes) > 1:
        return "needs-information"
    return outcomes.pop() if outcomes else "not-addressed"


def _decisive(spoken: list[Determination], outcome: str) -> Determination:
    """The first that says what came out; where payers disagree, and none says it, the first."""
    return next((d for d in spoken if d.outcome == outcome), spoken[0])


def _leading(determinations: tuple[Determination, ...]) -> Determination | None:
    """The guideline that objects most."""
    guidelines = [d for d in determinations if d.role == "guideline"]
    return min(guidelines, key=lambda d: _RANK.index(d.recommendation), default=None)


def strongest(outcomes: Iterable[str]) -> str:
    """The outcome that decides when several policies of one payer speak."""
    seen = set(outcomes)
    return next(o for o in PRECEDENCE if o in seen)


@dataclass(frozen=True, slots=True)
class Option:
    """An alternative to a flagged order; `order` is the reference of one that orders it already."""

    code: Code
    label: str
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Flagged:
    """Twin orders with one finding, what is already covered beside them, and what may be suggested."""

    orders: tuple[str, ...]
    ordered: tuple[Option, ...] = ()
    offered: tuple[Option, ...] = ()
    removable: bool = False


class KnownOrder(NamedTuple):
    """An order of the case, judged or not, with the day it is for."""

    ref: str
    codes: tuple[Code, ...] = ()
    occurrence: date | None = None

    @property
    def resource_type(self) -> str:
        """FHIR resource type, from the reference."""
        return self.ref.split("/", 1)[0]


class NotLookedAt(NamedTuple):
    """One order or Coverage, by reference (or place); `kind` is None where intake refused it: then `text` tells why.

    `text` says it, with chart text as it came: whoever shows it escapes it.
    """

    ref: str
    kind: Unseen | None
    text: str
    about: str = ""


@dataclass(frozen=True)
class Decision:
    """What a case comes to. `orders` are those that were judged, `known` all of the case, in the request's order.

    `not_looked_at` are orders without a determination, and coverages that lead to no payer. `sources` say what became
    of each source of facts, `faults` what of the request could not be used. `words` are the chart's own for the
    conditions that are evidence, by reference. `received` is the day of the request.
    """

    orders: tuple[OrderDecision, ...] = ()
    flagged: tuple[Flagged, ...] = ()
    known: tuple[KnownOrder, ...] = ()
    not_looked_at: tuple[NotLookedAt, ...] = ()
    sources: dict[str, Source] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    words: dict[str, str] = field(default_factory=dict)
    received: date | None = None

    def of(self, ref: str) -> OrderDecision:
        """What one order comes to. KeyError for one that was not judged."""
        for decided in self.orders:
            if decided.order.ref == ref:
                return decided
        raise KeyError(ref)

    @property
    def refs(self) -> frozenset[str]:
        """References of all orders of the case."""
        return frozenset([o.ref for o in self.known])

    def source(self, name: str) -> Source:
        """State of a source; unavailable when nothing was ever said about it."""
        return self.sources.get(name, UNAVAILABLE)

    def to_json(self) -> bytes:
        """As JSON; `from_json` reads it back."""
        return _ADAPTER.dump_json(self, exclude_defaults=True)

    @classmethod
    def from_json(cls, text: bytes | str) -> Decision:
        """Read what `to_json` wrote. Raises ValidationError."""
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(Decision)
