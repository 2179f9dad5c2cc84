"""Criteria: one operator each, with its arguments."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cds_service.policy.model.terms import Approach, Id, Model, Region, Role, Text


class Window(Model):
    """A span of time before the day of the order; no part is longer than a hundred years."""

    days: Annotated[int, Field(gt=0, le=36_525)] | None = None
    weeks: Annotated[int, Field(gt=0, le=5_218)] | None = None
    months: Annotated[int, Field(gt=0, le=1_200)] | None = None
    counted: Literal["calendar"] | None = Field(
        default=None, description="months are counted from the month of the service, whatever its day"
    )


class OrderTest(Model):
    """The judged order itself: its code is in the set, or its own text names one of the set's terms."""

    value_set: Id


class CompanionTest(Model):
    """Another order of the same operation (a draft of this event or an active order)."""

    value_set: Id
    at_least: Annotated[int, Field(ge=1)] = 1
    outcome: Literal["supported"] | None = Field(default=None, description="and this policy finds that order supported")
    scope: Literal["operation", "basket"] = "operation"


class OperationTest(Model):
    """The operation the order belongs to; several values mean any of them."""

    region: list[Region] | None = None
    approach: list[Approach] | None = None
    role: list[Role] | None = None


class CountTest(Model):
    """A count, compared."""

    at_least: int | None = None
    at_most: int | None = None
    of: Literal["operation", "history", "operation-or-history"] = "operation"


class ConditionTest(Model):
    """A diagnosis in the problem list (and, for `indication`, in the order's own reasons first)."""

    value_set: Id
    region: Literal["same"] | None = Field(default=None, description="at the operation's region")
    status: Literal["active", "any"] = "active"
    onset_within: Window | None = None


class ProcedureTest(Model):
    """A service in the history, by whatever resource is the evidence of it"""

    value_set: Id
    within: Window | None = None
    after: Window | None = Field(default=None, description="less than this long ago; `within` takes the last day too")
    before: Window | None = Field(default=None, description="at least this long ago")
    at_least: Annotated[int, Field(ge=1)] = 1
    count: Literal["services", "days"] = Field(
        default="services", description="days: services of one day are one, as visits are counted"
    )
    in_: Literal["calendar-year", "calendar-month"] | None = Field(
        default=None, alias="in", description="in the calendar year (or month) of the day of the order"
    )
    region: Literal["same"] | None = None


class MedicationTest(Model):
    """A drug in use, or used before; products are found through the value set."""

    value_set: Id
    status: Literal["in-use", "any"] = Field(default="any", description="any: in use or used before")
    within: Window | None = Field(default=None, description="used on some day of this span")
    for_at_least: Window | None = Field(default=None, description="used so long without a gap of more than 31 days")
    stopped_because: Id | None = Field(default=None, description="value set of reasons for which it was stopped")


class SexTest(Model):
    """The patient's administrative sex."""

    is_: Literal["female", "male"] = Field(alias="is")


class AgeTest(Model):
    """Age in completed years (or months) on the day of the order."""

    at_least: Annotated[int, Field(ge=0, le=1560)] | None = None
    under: Annotated[int, Field(ge=1, le=1560)] | None = None
    in_: Literal["years", "months"] = Field(default="years", alias="in")


class ObservationTest(Model):
    """Final results of a kind, compared; quantities are converted to the UCUM unit named."""

    value_set: Id
    which: Literal["latest", "lowest", "highest", "any"] = Field(
        default="latest", description="which results of the window are compared; any: one that fits is enough"
    )
    at_least_times: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="with `which: any`: so many results fit"
    )
    apart: Window | None = Field(default=None, description="and lie at least this far from one another")
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str | None = None
    equals: Id | None = Field(default=None, description="value set that the coded result must be in")
    present: bool | None = None
    within: Window | None = None


class UnitsTest(Model):
    """Units ordered of the judged code within its operation."""

    at_least: int | None = None
    at_most: int | None = None
    compared_with: Literal["interspaces"] | None = None


class Flag(Model):
    """An operator that takes no arguments."""


class Ask(Model):
    """The question that settles the criterion when the chart does not (one DTR questionnaire item)."""

    question: Text
    help: str | None = None


OPERATORS = (
    "order", "companion", "operation", "interspaces", "vertebrae", "condition", "indication",
    "procedure", "medication", "age", "sex", "observation", "units", "repeated", "lacks_primary", "asked",
)  # fmt: skip


class Criterion(Model):
    """One three-valued test: exactly one operator, a sentence, and what absence means."""

    text: Text = Field(description="a sentence that is true when the criterion is met")
    order: OrderTest | None = None
    companion: CompanionTest | None = None
    operation: OperationTest | None = None
    interspaces: CountTest | None = None
    vertebrae: CountTest | None = None
    condition: ConditionTest | None = None
    indication: ConditionTest | None = None
    procedure: ProcedureTest | None = None
    medication: MedicationTest | None = None
    age: AgeTest | None = None
    sex: SexTest | None = None
    observation: ObservationTest | None = None
    units: UnitsTest | None = None
    repeated: Flag | None = Field(default=None, description="the same code is ordered twice in the operation")
    lacks_primary: Flag | None = Field(default=None, description="an add-on without a procedure it adds to")
    asked: Flag | None = Field(default=None, description="no code carries it: unknown until answered")
    when_absent: Literal["not-met", "unknown"] = Field(
        default="unknown", description="what it means that a source was read and has nothing of the kind"
    )
    ask: Ask | None = None
    cite: list[Id] = []

    @property
    def operator(self) -> tuple[str, Any]:
        """Name and arguments of the one operator (the loader has made sure there is one)."""
        return next((name, value) for name in OPERATORS if (value := getattr(self, name)) is not None)
