"""The case: everything known for one hook request, as facts with the reference each came from.

`facts/` builds a case from FHIR; `policy/` only reads it. Codes are already normalised
(`facts/codes.py`): `system` is a short key such as `cpt`, `hcpcs`, `icd-10-cm`, `snomed`, `loinc`,
or the original URI where no key exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from cds_service.policy.not_looked_at import Unseen

if TYPE_CHECKING:
    from dataclasses import dataclass as fact
else:

    def fact(*, frozen, slots):
        """A dataclass that the type checker holds frozen. Python does not: that would triple the cost of making one."""
        return dataclass(slots=slots, unsafe_hash=frozen)


class Code(NamedTuple):
    """A normalised code: `Code("cpt", "20939")`. A tuple, because codes are hashed and compared all the time."""

    system: str
    code: str

    def __str__(self) -> str:
        return f"{self.system} {self.code}"


class SourceState(StrEnum):
    """What became of one source of facts (a prefetch key or a query)."""

    READ = "read"
    EMPTY = "empty"
    UNAVAILABLE = "unavailable"


@fact(frozen=True, slots=True)
class Source:
    """State of one source; `unusable` names resources in it that could not be read, and in words what did not come.

    `foreign` names what was read and left out because it is another patient's: nothing is lacking for want of it.
    """

    state: SourceState
    detail: str = ""
    unusable: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True when absence from this source means absence from the chart."""
        return self.state is not SourceState.UNAVAILABLE and not self.unusable

    @property
    def unsent(self) -> tuple[str, ...]:
        """What did not come, in words: what is unusable and no resource."""
        return tuple([u for u in self.unusable if "/" not in u and "[" not in u])

    @property
    def failed(self) -> bool:
        """True when it was asked for, or came, and could not be read: it may be readable another time."""
        return self.state is SourceState.UNAVAILABLE and self != UNAVAILABLE


UNAVAILABLE = Source(SourceState.UNAVAILABLE, "not supplied")


class Harm(StrEnum):
    """What a deviation from FHIR R4 costs."""

    NONE = "none"  # it was read as what it plainly says, or no fact is read from it
    MISSING = "missing"  # an element that FHIR R4 requires is not there
    LOST = "lost"  # an element, or the whole resource, could not be used


@fact(frozen=True, slots=True)
class Fault:
    """Something in the input that is not as FHIR R4 has it, by reference; never with its value.

    `fatal`: nothing of the resource is used. `why` is the kind, where a whole order was not looked at for a reason of
    ours; `text` says it.
    """

    ref: str
    path: str
    text: str
    fatal: bool = False
    harm: Harm = Harm.LOST
    why: Unseen | None = None


@fact(frozen=True, slots=True)
class Period:
    """Days between which something lies; None is open. A single day has start == end."""

    start: date | None = None
    end: date | None = None


class CoverageClass(NamedTuple):
    """One classification of a coverage: what it is (`plan`, `group`, ...), its value and its name."""

    kind: str | None
    value: str | None = None
    name: str | None = None


@fact(frozen=True, slots=True)
class Coverage:
    """One insurance coverage, with every identifier and name its payor is known by, and its own type and classes.

    `unread` tells that the type or a class could not be read: it may have said anything. `self_paid`: whoever pays is a
    person, the patient mostly, who has no policies.
    """

    ref: str
    payor_identifiers: tuple[tuple[str, str], ...] = ()
    payor_names: tuple[str, ...] = ()
    status: str | None = "active"
    period: Period | None = None
    order: int | None = None
    type_codes: tuple[Code, ...] = ()
    type_texts: tuple[str, ...] = ()
    classes: tuple[CoverageClass, ...] = ()
    unread: bool = False
    self_paid: bool = False

    @property
    def says_more(self) -> bool:
        """True where there is a type or a class beside the payor, readable or not."""
        return bool(self.type_codes or self.type_texts or self.classes or self.unread)


@fact(frozen=True, slots=True)
class Authorization:
    """A payer's existing authorisation of an order: number (if any), where it was read, its first and last day.

    Whose it is: `coverage` is the reference of the coverage it was given under, `insurer` who gave it, known as a
    coverage knows its payor.
    """

    number: str | None
    ref: str
    expires: date | None = None
    begins: date | None = None
    coverage: str | None = None
    insurer: Coverage | None = None


@fact(frozen=True, slots=True)
class Order:
    """One request resource. `draft` orders are judged; others are context.

    `authorizations` are all that it carries, whoever gave them, in force or not. `reasons_faulty` where a reason could
    not be read, or is in words.
    """

    ref: str
    codes: tuple[Code, ...] = ()
    draft: bool = True
    units: int | None = 1
    modifiers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    reason_codes: tuple[Code, ...] = ()
    reason_refs: tuple[str, ...] = ()
    reasons_faulty: bool = False
    body_sites: tuple[Code, ...] = ()
    body_site_texts: tuple[str, ...] = ()
    encounter: str | None = None
    requisition: str | None = None
    based_on: tuple[str, ...] = ()
    insurance: tuple[str, ...] = ()
    occurrence: date | None = None
    authored_on: date | None = None
    authorizations: tuple[Authorization, ...] = ()
    faulty: frozenset[str] = frozenset()

    @property
    def resource_type(self) -> str:
        """FHIR resource type, from the reference."""
        return self.ref.split("/", 1)[0]


def day_of(order: Order, as_of: date | None, received: date, not_before: date) -> date:
    """The day an order is judged: `as_of`, else occurrence, else authoredOn or receipt; none before `not_before`."""
    return as_of or order.occurrence or max(order.authored_on or received, not_before)


@fact(frozen=True, slots=True)
class Condition:
    """A diagnosis. `active`/`confirmed` are None where the chart does not say or says it unreadably."""

    ref: str
    codes: tuple[Code, ...] = ()
    active: bool | None = True
    confirmed: bool | None = True
    onset: Period | None = None
    text: str = ""


@fact(frozen=True, slots=True)
class Procedure:
    """A service that was given: a Procedure, or another resource that is evidence of one."""

    ref: str
    codes: tuple[Code, ...] = ()
    performed: Period | None = None
    body_sites: tuple[Code, ...] = ()
    texts: tuple[str, ...] = ()
    done: bool | None = True


@fact(frozen=True, slots=True)
class Medication:
    """A drug that is or was prescribed, dispensed, given or reported; `active` is None where the chart does not say.

    `taken` are the days of use as far as they are known: an end that is open is one that is not recorded.
    """

    ref: str
    codes: tuple[Code, ...] = ()
    active: bool | None = True
    taken: Period | None = None
    stopped_because: tuple[Code, ...] = ()
    texts: tuple[str, ...] = ()


@fact(frozen=True, slots=True)
class Observation:
    """A result: exactly one of `quantity` (with UCUM `unit`), `flag` or `coded` is set.

    `at` is the instant of it, where a time with its zone is recorded.
    """

    ref: str
    codes: tuple[Code, ...] = ()
    effective: Period | None = None
    quantity: float | None = None
    comparator: str | None = None
    unit: str | None = None
    flag: bool | None = None
    coded: tuple[Code, ...] = ()
    final: bool = True
    at: datetime | None = None


@fact(frozen=True, slots=True)
class Answer:
    """One answered item of a QuestionnaireResponse, linkId = criterion id.

    `authored` is an instant (a datetime with its zone) or a day; `question` is what was asked, where the answer says.
    """

    ref: str
    questionnaire: str
    link_id: str
    value: bool | float | str | date | Code | None
    authored: date | None = None
    about: tuple[str, ...] = ()
    question: str | None = None


@fact(frozen=True, slots=True)
class Patient:
    """What criteria may know of the patient; `birth` is a range when the date is partial."""

    ref: str
    birth: Period | None = None
    sex: str | None = None


@fact(frozen=True, slots=True)
class Case:
    """Everything known for one hook request.

    `sources` has an entry per source name (facts/sources.py). A name that is missing counts as unavailable.
    `services` are given services that resources other than Procedure tell of. `not_before` is the day of receipt in a
    live call: a draft is signed then, whenever it was written.
    """

    orders: tuple[Order, ...] = ()
    conditions: tuple[Condition, ...] = ()
    procedures: tuple[Procedure, ...] = ()
    services: tuple[Procedure, ...] = ()
    medications: tuple[Medication, ...] = ()
    observations: tuple[Observation, ...] = ()
    answers: tuple[Answer, ...] = ()
    patient: Patient | None = None
    coverages: tuple[Coverage, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    received: date = date.min
    as_of: date | None = None
    not_before: date = date.min

    def source(self, name: str) -> Source:
        """State of a source; unavailable when nothing was ever said about it."""
        return self.sources.get(name, UNAVAILABLE)

    def day(self, order: Order) -> date:
        """The day an order is judged: see `day_of`."""
        return day_of(order, self.as_of, self.received, self.not_before)

    def with_orders(self, orders: tuple[Order, ...]) -> Case:
        """The same case with other orders (a suggestion applied)."""
        return replace(self, orders=orders)
