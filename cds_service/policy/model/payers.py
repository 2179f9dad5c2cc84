"""Payers with the identifiers and names that route a coverage to their policies."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from cds_service.policy.model.terms import Contact, Id, Model, Text

_PUNCTUATION = re.compile(r"[^\w\s]", re.UNICODE)


def plain(name: str) -> str:
    """A payer's name without case, punctuation and surplus space; `&` reads as `and`."""
    return " ".join(_PUNCTUATION.sub(" ", name.replace("&", " and ").casefold()).split())


LineOfBusiness = Literal["commercial", "medicare", "medicare-advantage", "medicaid", "other"]


class PayerIdentifier(Model):
    """A business identifier of a payer."""

    system: Text
    value: Text


class Payer(Model):
    """One payer and line of business."""

    id: Id
    label: Text
    line_of_business: LineOfBusiness = Field(default="commercial", description="other: tied to none of the lines")
    identifiers: list[PayerIdentifier] = []
    names: list[Text] = Field(default=[], description="exact names; case and punctuation do not matter")
    follows: list[Id] = Field(default=[], description="payers whose policies apply as well")
    contact: Contact | None = Field(
        default=None, description="whom to ask about an assertion of its coverage; not its general line"
    )
    parent: Id | None = Field(
        default=None, description="payer that a coverage may name instead, and tell this line by its type or class"
    )
    one_of_several: bool = Field(
        default=False, description="its parent has more payers of this line: the line alone does not lead to it"
    )


class LineNames(Model):
    """Words by which the type or a class of a coverage states a line of business, whoever the payer."""

    means: list[LineOfBusiness] = Field(min_length=1, description="several: one of them, left open which")
    names: list[Text] = Field(description="exact words; case and punctuation do not matter")


class Payers(Model):
    """The registry of payers, `cards/payers.yaml`."""

    format: Literal[1]
    payers: list[Payer]
    lines: list[LineNames] = []
