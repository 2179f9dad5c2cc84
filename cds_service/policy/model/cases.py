"""Worked cases beside a policy."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from cds_service.policy.model.terms import (
    CodeText,
    DeterminationOutcome,
    Id,
    IsoDate,
    Model,
    PriorAuthorization,
    Recommendation,
    Text,
)


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
    type: Literal["ServiceRequest", "DeviceRequest", "MedicationRequest"] = "ServiceRequest"
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


class CaseService(Model):
    """A service of a worked case that another resource than Procedure tells of."""

    type: Literal["Immunization", "DiagnosticReport", "ImagingStudy", "Encounter", "ServiceRequest", "DeviceRequest"]
    code: CodeText
    system: Id = "cpt"
    on: IsoDate | None = None


class CaseMedication(Model):
    """A drug of a worked case."""

    code: CodeText
    system: Id = "rxnorm"
    active: bool | None = True
    from_: IsoDate | None = Field(default=None, alias="from")
    to: IsoDate | None = None
    stopped_because: CodeText | None = None
    stopped_system: Id = "snomed"


class CaseObservation(Model):
    """A result of a worked case."""

    code: CodeText
    system: Id = "loinc"
    value: float | bool | None = None
    unit: str | None = None
    coded: CodeText | None = None
    coded_system: Id = "snomed"
    on: IsoDate | None = None
    at: Annotated[str, Field(pattern=r"^[0-2][0-9]:[0-5][0-9]$")] | None = Field(
        default=None, description="time of day"
    )


class CaseCoverage(Model):
    """What the coverage of a worked case says beside its payor."""

    type: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")] | None = Field(
        default=None, description="its type as a code of the Source of Payment Typology, quoted"
    )
    text: Text | None = Field(default=None, description="its type in words")
    plan: Text | None = Field(default=None, description="name of its class `plan`")


class ExpectedOrder(Model):
    """What a worked case expects of one order."""

    outcome: DeterminationOutcome
    rule: Id | None = None
    prior_authorization: PriorAuthorization | None = None
    recommendation: Recommendation | None = None
    missing: list[str] | None = Field(
        default=None, description="criteria that are asked for, among others; an empty list: none is"
    )


class WorkedCase(Model):
    """One worked case: the facts, and the outcome per order in this policy."""

    id: Id
    title: Text
    scenario: str | None = None
    payer: Id | None = Field(default=None, description="default: the first payer of the policy, if it has payers")
    coverage: CaseCoverage | None = None
    on: IsoDate = Field(default=date(2026, 6, 1), description="the day on which the orders are judged")
    age: Annotated[int, Field(ge=0, le=130)] | None = Field(default=51, description="null: no birth date is known")
    born: IsoDate | None = Field(default=None, description="the birth date, where the age in years says too little")
    sex: Literal["female", "male"] | None = None
    orders: list[CodeText | CaseOrder]
    conditions: list[CodeText | CaseCondition] = []
    procedures: list[CaseProcedure] = []
    services: list[CaseService] = []
    medications: list[CaseMedication] = []
    observations: list[CaseObservation] = []
    answers: dict[Id, bool] = {}
    unavailable: list[str] = Field(default=[], description="sources that could not be read")
    expect: dict[str, DeterminationOutcome | ExpectedOrder] = {}
    findings: dict[str, list[Id]] | None = Field(default=None, description="finding rule ids per order code")


class CasesFile(Model):
    """`cases.yaml` beside each policy."""

    format: Literal[1]
    cases: list[WorkedCase]
