"""Payers with the identifiers and names that route a coverage to their policies."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from cds_service.policy.model.terms import Id, Model, Text

_PUNCTUATION = re.compile(r"[^\w\s]", re.UNICODE)


def plain(name: str) -> str:
    """A payer's name without case, punctuation and surplus space; `&` reads as `and`."""
    return " ".join(_PUNCTUATION.sub(" ", name.replace("&", " and ").casefold()).split())


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
