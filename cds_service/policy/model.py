"""The shape of policy content: policies, card wording, worked cases, value sets, procedures, payers.

The JSON Schemas under `cards/_schema/` are generated from these models (`cds-service policy schema`),
so that editors, the loader and the engine agree on one shape. Cross-references are checked in `check.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[.-][a-z0-9]+)*$", description="lower-case words joined by - or .")]
Text = Annotated[str, Field(min_length=1)]
IsoDate = date
CodeText = Annotated[str, Field(min_length=1, description="always quoted in YAML")]
Region = Literal["cervical", "thoracic", "lumbar", "sacral"]
Approach = Literal["anterior", "lateral", "posterior", "posterolateral", "interbody", "percutaneous", "presacral"]
Role = Literal[
    "fusion", "decompression", "arthroplasty", "fracture-fixation", "instrumentation", "hardware-removal",
    "interbody-device", "graft", "stimulator", "imaging", "other",
]  # fmt: skip
DeterminationOutcome = Literal["supported", "not-supported", "needs-information", "not-addressed"]
PriorAuthorization = Literal["required", "not-required", "unknown"]
Confidence = Literal["seen", "seen-2nd", "recalled"]


class Model(BaseModel):
    """Base of all content: unknown keys are errors, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# --- value sets, procedures, payers -----------------------------------------------------------------


class ContentSource(Model):
    """Where a list or a rule comes from, and how well it was read."""

    title: Text
    section: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    date: IsoDate | None = None
    confidence: Confidence = Field(description="seen: at its source; seen-2nd: in a summary by others; recalled")
    note: str | None = None


class SetCode(Model):
    """One code of a value set."""

    system: Id
    code: CodeText
    label: Text
    region: list[Region] | None = None


class SetPrefix(Model):
    """All codes of a system that start so, e.g. ICD-10-CM `M48.0`."""

    system: Id
    prefix: CodeText
    label: Text
    region: list[Region] | None = None


class CodedWords(Model):
    """Words too short to trust alone: they count only in the text of an order that has a code of `value_set`."""

    value_set: Id
    terms: list[Text] = Field(default=[], description="words or phrases, matched whole and without case")
    patterns: list[Text] = Field(default=[], description="regular expressions, matched without case")


class ValueSet(Model):
    """Codes, code prefixes, and words by which an order's own text names the same thing."""

    format: Literal[1]
    id: Id
    title: Text
    source: ContentSource
    codes: list[SetCode] = []
    prefixes: list[SetPrefix] = []
    terms: list[Text] = Field(default=[], description="words or phrases, matched whole and without case")
    patterns: list[Text] = Field(default=[], description="regular expressions, matched without case")
    with_code: CodedWords | None = Field(default=None, description="words that count beside certain codes only")
    includes: list[Id] = []


class ProcedureCode(Model):
    """What one procedure or device code means for derived facts."""

    system: Id
    code: CodeText
    label: Text
    role: Role
    region: list[Region] = Field(default=[], description="empty: any, taken from the primary")
    approach: list[Approach] = []
    family: Literal["anterior", "posterior"] | None = Field(default=None, description="which levels it counts")
    per: Literal["interspace", "segment", "operation"] = "operation"
    add_on: bool = False
    requires: list[CodeText] = Field(default=[], description="primaries of the same system it can be added to")
    segments: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="for a code that spans several segments: fewest and most"
    )
    confidence: Confidence = "recalled"


class Procedures(Model):
    """The catalogue behind region, approach, interspaces and add-on checks."""

    format: Literal[1]
    source: ContentSource
    procedures: list[ProcedureCode]


class PayerIdentifier(Model):
    """A business identifier of a payer."""

    system: Text
    value: Text


class Payer(Model):
    """One payer and line of business."""

    id: Id
    label: Text
    line_of_business: Literal["commercial", "medicare", "medicare-advantage", "medicaid", "other"] = "commercial"
    identifiers: list[PayerIdentifier] = []
    names: list[Text] = Field(default=[], description="exact names; case and punctuation do not matter")
    follows: list[Id] = Field(default=[], description="payers whose policies apply as well")


class Payers(Model):
    """The registry of payers, `cards/payers.yaml`."""

    format: Literal[1]
    payers: list[Payer]


# --- criteria ---------------------------------------------------------------------------------------


class Window(Model):
    """A span of time before the day of the order."""

    days: Annotated[int, Field(gt=0)] | None = None
    weeks: Annotated[int, Field(gt=0)] | None = None
    months: Annotated[int, Field(gt=0)] | None = None


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
    """A procedure in the history."""

    value_set: Id
    within: Window | None = None
    after: Window | None = Field(default=None, description="less than this long ago; `within` takes the last day too")
    before: Window | None = Field(default=None, description="at least this long ago")
    at_least: Annotated[int, Field(ge=1)] = 1
    region: Literal["same"] | None = None


class AgeTest(Model):
    """Age in completed years on the day of the order."""

    at_least: int | None = None
    under: int | None = None


class ObservationTest(Model):
    """The latest final result of a kind, compared; quantities in the UCUM unit named."""

    value_set: Id
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
    "procedure", "age", "observation", "units", "repeated", "lacks_primary", "asked",
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
    age: AgeTest | None = None
    observation: ObservationTest | None = None
    units: UnitsTest | None = None
    repeated: Flag | None = Field(default=None, description="the same code is ordered twice in the operation")
    lacks_primary: Flag | None = Field(default=None, description="an add-on without a procedure it adds to")
    asked: Flag | None = Field(default=None, description="no code carries it: unknown until answered")
    when_absent: Literal["not-met", "unknown"] = "unknown"
    ask: Ask | None = None
    cite: list[Id] = []

    @property
    def operator(self) -> tuple[str, Any]:
        """Name and arguments of the one operator (the loader has made sure there is one)."""
        return next((name, value) for name in OPERATORS if (value := getattr(self, name)) is not None)


class All(Model):
    """Every part is met."""

    all: Annotated[list[Expression], Field(min_length=1)]


class AnyOf(Model):
    """At least one part is met."""

    any: Annotated[list[Expression], Field(min_length=1)]


class Not(Model):
    """The part is not met."""

    not_: Expression = Field(alias="not")


class AtLeast(Model):
    """At least `at_least` of the parts are met."""

    at_least: Annotated[int, Field(ge=1)]
    of: Annotated[list[Expression], Field(min_length=1)]


Expression = str | All | AnyOf | Not | AtLeast


def criterion_ids(expression: Expression) -> Iterator[str]:
    """Ids of the criteria an expression reads, `always` left out."""
    match expression:
        case str():
            if expression != "always":
                yield expression
        case All(all=parts) | AnyOf(any=parts) | AtLeast(of=parts):
            for part in parts:
                yield from criterion_ids(part)
        case Not():
            yield from criterion_ids(expression.not_)


# --- policies ---------------------------------------------------------------------------------------


class Rule(Model):
    """When it is met, the order gets its outcome. Exclusions come first; the first met rule decides."""

    id: Id
    when: Expression
    outcome: DeterminationOutcome
    prior_authorization: PriorAuthorization = "unknown"
    because: Text = Field(description="the reason in one sentence, for a clinician")
    because_patient: str | None = Field(default=None, description="the same, for a patient")
    cite: Annotated[list[Id], Field(min_length=1)]
    recommendation: Literal["against", "none", "option", "for"] | None = Field(
        default=None, description="guidelines only: what the guideline recommends"
    )
    asks: str | None = Field(default=None, description="what would settle a needs-information outcome")


class Otherwise(Model):
    """The outcome when every rule is not met. Mandatory: silence is a decision too."""

    outcome: DeterminationOutcome
    prior_authorization: PriorAuthorization = "unknown"
    because: Text
    because_patient: str | None = None
    cite: list[Id] = []
    recommendation: Literal["against", "none", "option", "for"] | None = None
    asks: str | None = None


class Alternative(Model):
    """An option to offer instead of a flagged order; offered only if this policy supports it on the case."""

    order: Id = Field(description="item of this policy that governs the option")
    code: CodeText
    system: Id = "cpt"
    label: Text
    when: Expression | None = None


class Item(Model):
    """One kind of order that the policy speaks to, with its rules. The first item that matches judges."""

    label: Text = Field(description="how cards name it: start of a sentence, no article")
    patient_label: str | None = None
    value_set: Id
    given: Id | None = Field(default=None, description="value set of the primary it is judged given")
    rules: list[Rule] = []
    otherwise: Otherwise
    alternatives: list[Alternative] = []


class FindingRule(Model):
    """A coding or safety remark: every met rule makes one finding."""

    id: Id
    about: Id = Field(description="value set of the orders the remark is about")
    when: Expression
    text: Text = Field(description="the remark, worded as a question for coding; {label} and {code} are filled in")
    asks: Text | None = Field(
        default=None, description="the question where the order fits two operations and the rule holds for one of them"
    )
    cite: Annotated[list[Id], Field(min_length=1)]


class Review(Model):
    """Who reviewed this version, and when."""

    status: Literal["submitted", "under-review", "approved"]
    by: str | None = None
    on: IsoDate | None = None


class Effective(Model):
    """Days in force, both inclusive; null is open."""

    from_: IsoDate | None = Field(alias="from")
    to: IsoDate | None = None


class Version(Model):
    """One dated version of a policy."""

    version: Annotated[str, Field(min_length=1)]
    effective: Effective
    last_confirmed_on: IsoDate
    review: Review
    changes: str | None = None
    sources: dict[Id, ContentSource]
    criteria: dict[Id, Criterion] = {}
    orders: dict[Id, Item] = {}
    findings: list[FindingRule] = []


class Policy(Model):
    """One folder `cards/<publisher>/<policy>/policy.yaml`."""

    format: Literal[1]
    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")]
    kind: Literal["coverage", "guideline", "coding", "safety"]
    title: Text
    publisher: Text
    short_title: Text = Field(description="name on the card, e.g. 'Aetna CPB 0411'")
    payers: list[Id] = Field(default=[], description="coverage policies: which payers apply it")
    notice: Literal["unofficial encoding"]
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    topic: Text = "bone graft"
    keywords: list[Text] = []
    versions: Annotated[list[Version], Field(min_length=1)]


# --- wording and worked cases -----------------------------------------------------------------------


class Wording(Model):
    """A text for each reader; `patient` falls back to `clinician`."""

    clinician: Text
    patient: str | None = None


class Passage(Model):
    """A passage of the explanation, shown where `regions` (if any) fit the operation."""

    text: Wording
    regions: list[Region] | None = None
    cite: list[Id] = []


class Looked(Model):
    """A risk factor or fact that the explanation reports as found, absent or not documented."""

    criterion: Id
    label: Text
    patient_label: str | None = None


class ItemWording(Model):
    """Wording for one item: card lines and passages of the explanation."""

    summary: list[Text] = Field(default=[], description="Jinja2, longest first; the first under 140 characters is used")
    summary_none: list[Text] = Field(default=[], description="the same, where a guideline makes no recommendation")
    summary_against: list[Text] = Field(default=[], description="the same, where a guideline advises against")
    rationale: list[Passage] = []
    distinction: list[Passage] = []
    single_studies: list[Passage] = []
    pitfall: list[Passage] = []
    recommendation: list[Passage] = []
    context: list[Looked] = []
    related: list[Text] = []


class CardFile(Model):
    """`card.yaml`: how a policy speaks. Every part is optional; defaults are in `cards/_default/card.yaml`."""

    format: Literal[1]
    orders: dict[Id, ItemWording] = {}


class CaseOrder(Model):
    """A draft order of a worked case: a code, or a mapping with what else the order carries."""

    code: CodeText | None = None
    system: Id = "cpt"
    id: str | None = None
    units: int | None = 1
    text: str | None = None
    note: str | None = None
    modifiers: list[str] = []
    reason: list[CodeText] = []
    body_site: str | None = None
    encounter: str | None = None
    requisition: str | None = None
    occurrence: IsoDate | None = None
    active: bool = Field(default=False, description="already signed: context, not a draft")
    authorization: str | None = None


class CaseCondition(Model):
    """A condition of a worked case."""

    code: CodeText | None = None
    system: Id = "icd-10-cm"
    text: str = ""
    active: bool | None = True
    confirmed: bool | None = True
    onset: IsoDate | None = None


class CaseProcedure(Model):
    """A procedure in the history of a worked case."""

    code: CodeText
    system: Id = "cpt"
    on: IsoDate | None = None
    text: str | None = None


class CaseObservation(Model):
    """A result of a worked case."""

    code: CodeText
    system: Id = "loinc"
    value: float | bool | None = None
    unit: str | None = None
    coded: CodeText | None = None
    coded_system: Id = "snomed"
    on: IsoDate | None = None


class ExpectedOrder(Model):
    """What a worked case expects of one order."""

    outcome: DeterminationOutcome
    rule: Id | None = None
    prior_authorization: PriorAuthorization | None = None
    missing: list[str] | None = None


class WorkedCase(Model):
    """One worked case: the facts, and the outcome per order in this policy."""

    id: Id
    title: Text
    scenario: str | None = None
    payer: Id | None = None
    on: IsoDate = date(2026, 6, 1)
    age: int | None = 51
    orders: list[CodeText | CaseOrder]
    conditions: list[CodeText | CaseCondition] = []
    procedures: list[CaseProcedure] = []
    observations: list[CaseObservation] = []
    answers: dict[Id, bool] = {}
    unavailable: list[str] = Field(default=[], description="sources that could not be read")
    expect: dict[str, DeterminationOutcome | ExpectedOrder] = {}
    findings: dict[str, list[Id]] | None = Field(default=None, description="finding rule ids per order code")


class CasesFile(Model):
    """`cases.yaml` beside each policy."""

    format: Literal[1]
    cases: list[WorkedCase]


for _model in (All, AnyOf, Not, AtLeast, Rule, Alternative, FindingRule, Item, Version, Policy):
    _model.model_rebuild()
