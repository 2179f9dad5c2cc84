"""What cards and explanations say, beside what follows from a policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cds_service.policy.model.terms import Id, Model, Region, Text


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
    """`card.yaml`: how a policy speaks. Every part is optional: defaults are in `render/`."""

    format: Literal[1]
    orders: dict[Id, ItemWording] = {}
