"""How a client speaks CDS Hooks where it does not do all that the specification allows: traits, never vendors.

A named dialect is a row of this table and nothing else: no code asks for its name. What every client may do (long ids
of unsigned orders, feedback in other forms) is simply read and needs no trait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cds_service.policy.case import Code

# Members of a response that a client may not take, by their names in CDS Hooks.
Omittable = Literal["systemActions", "links", "overrideReasons", "suggestions"]


@dataclass(frozen=True, slots=True)
class SiteCode:
    """A code of the site by which a `create` action finds what to order."""

    system: str
    code: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """Traits of a client; the defaults are what CDS Hooks 2.0 says.

    `token_lifetime` and `clock_skew` are seconds; None: the deployment's setting. `create_system`, where it is not
    empty, is the code system of the site that a `create` needs: `order_codes` says which code stands for which.
    """

    token_lifetime: int | None = None
    clock_skew: int | None = None
    selection_behavior: Literal["at-most-one", "any"] = "at-most-one"
    single_action: bool = False
    create_system: str = ""
    order_codes: Mapping[Code, SiteCode] = field(default_factory=dict)
    topic_code: Literal["type", "alphanumeric"] = "type"
    omit: frozenset[Omittable] = frozenset()


STANDARD = Dialect()
# Source: Epic's CDS Hooks tutorial, February 2024: JWT tokens, card and suggestion attributes, codesets for create.
DIALECTS: Mapping[str, Dialect] = {
    "default": STANDARD,
    "epic": Dialect(
        token_lifetime=900,
        clock_skew=60,
        selection_behavior="any",
        single_action=True,
        create_system="urn:com.epic.cdshooks.action.code.system.preference-list-item",
        topic_code="alphanumeric",
    ),
}


def dialect_of(name: str, traits: Mapping[str, Any]) -> Dialect:
    """A named dialect with traits of one client in their place."""
    return replace(DIALECTS[name], **traits)
