"""Value sets and the catalogue of procedures."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cds_service.policy.model.terms import Approach, CodeText, Confidence, ContentSource, Id, Model, Region, Role, Text

SeventhCharacter = Annotated[str, Field(pattern="^[A-Z]$")]


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
    without_seventh: list[SeventhCharacter] = Field(
        default=[],
        description="complete codes (seven characters) that end so are no members, included ones neither; "
        "ICD-10-CM: D, G, K and P are later care of an injury or fracture, S is a sequela",
    )


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
