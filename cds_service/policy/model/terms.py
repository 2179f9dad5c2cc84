"""Words that all content is made of: ids, texts, regions, roles, outcomes, sources."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Id = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:[.-][a-z0-9]+)*$", description="lower-case words joined by - or .")]
Text = Annotated[str, Field(min_length=1)]


def _day(value: Any) -> Any:
    """A day is written as YYYY-MM-DD: a number would be read as seconds since 1970."""
    if not isinstance(value, date) and not (isinstance(value, str) and _DAY.fullmatch(value)):
        raise PydanticCustomError("date_form", "not a date")
    return value


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
IsoDate = Annotated[date, BeforeValidator(_day)]
CodeText = Annotated[str, Field(min_length=1, description="always quoted in YAML")]
Region = Literal["cervical", "thoracic", "lumbar", "sacral"]
Approach = Literal["anterior", "lateral", "posterior", "posterolateral", "interbody", "percutaneous", "presacral"]
Role = Literal[
    "fusion", "decompression", "arthroplasty", "fracture-fixation", "instrumentation", "hardware-removal",
    "interbody-device", "graft", "stimulator", "imaging", "other",
]  # fmt: skip
DeterminationOutcome = Literal["supported", "not-supported", "needs-information", "not-addressed"]
PriorAuthorization = Literal["required", "not-required", "unknown"]
Recommendation = Literal["against", "none", "option", "for"]
Confidence = Literal["seen", "seen-2nd", "recalled"]


class Model(BaseModel):
    """Base of all content: unknown keys are errors, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Telecom(Model):
    """One way to reach somebody, as FHIR's ContactPoint."""

    system: Literal["phone", "fax", "email", "pager", "url", "sms", "other"]
    value: Text


class Contact(Model):
    """Whom to ask about a coverage assertion, as FHIR's ContactDetail."""

    name: Text | None = None
    telecom: list[Telecom] = Field(default=[], description="ways to reach them, the best first")


class ContentSource(Model):
    """Where a list or a rule comes from, and how well it was read."""

    title: Text
    section: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    date: IsoDate | None = None
    confidence: Confidence = Field(description="seen: at its source; seen-2nd: in a summary by others; recalled")
    note: str | None = None
