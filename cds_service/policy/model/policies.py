"""Policies with dated versions, rules and findings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from cds_service.policy.model.criteria import Criterion
from cds_service.policy.model.expressions import Expression
from cds_service.policy.model.terms import (
    CodeText,
    Contact,
    ContentSource,
    DeterminationOutcome,
    Id,
    IsoDate,
    Model,
    PriorAuthorization,
    Recommendation,
    Text,
)


class Rule(Model):
    """When it is met, the order gets its outcome. Exclusions come first; the first met rule decides."""

    id: Id
    when: Expression
    outcome: DeterminationOutcome
    prior_authorization: PriorAuthorization = "unknown"
    because: Text = Field(description="the reason in one sentence, for a clinician")
    because_patient: str | None = Field(default=None, description="the same, for a patient")
    cite: Annotated[list[Id], Field(min_length=1)]
    recommendation: Recommendation | None = Field(
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
    recommendation: Recommendation | None = None
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
    prior_authorization: PriorAuthorization = Field(
        default="unknown", description="what holds for the code whatever its rules come to; a rule may say otherwise"
    )
    rules: list[Rule] = []
    otherwise: Otherwise
    alternatives: list[Alternative] = []

    @model_validator(mode="after")
    def _authorization_of_rules(self) -> Item:
        """Rules that say nothing of prior authorization have what the item says."""
        for rule in (*self.rules, self.otherwise):
            if "prior_authorization" not in rule.model_fields_set:
                object.__setattr__(rule, "prior_authorization", self.prior_authorization)
        return self


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
    last_confirmed_on: IsoDate = Field(
        description="day on which the encoding was last compared with what is known of its sources"
    )
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
    contact: Contact | None = Field(default=None, description="whom to ask about it, instead of the payer's contact")
    keywords: list[Text] = []
    versions: Annotated[list[Version], Field(min_length=1)]
