"""Why something that a request carries was not looked at: the kinds there are, and how each is said to people."""

from __future__ import annotations

from enum import StrEnum


class Unseen(StrEnum):
    """Kinds of orders and coverages that no determination is made of. What each is about, `said` tells."""

    NO_RESOURCE = "no-resource"
    OTHER_TYPE = "other-type"
    NO_ID = "no-id"
    SAME_ID = "same-id"
    TOO_MANY = "too-many"
    PRODUCT = "product"
    FAULTY_PRODUCT = "faulty-product"
    FAULTY_CODE = "faulty-code"
    NO_CODE = "no-code"
    NOT_A_CODE = "not-a-code"
    NO_SYSTEM = "no-system"
    IN_WORDS = "in-words"
    COVERAGE_UNREAD = "coverage-unread"
    PLAN_UNCLEAR = "plan-unclear"
    PAYER_UNKNOWN = "payer-unknown"
    NOT_FIRST = "not-first"
    NOT_IN_FORCE = "not-in-force"


_SAID = {
    Unseen.NO_RESOURCE: "is not a resource",
    Unseen.OTHER_TYPE: "is a {}, which is not read",
    Unseen.NO_ID: "is missing, so the order cannot be named",
    Unseen.SAME_ID: "repeats the id of another draft order",
    Unseen.TOO_MANY: "only {} orders are checked in one call",
    Unseen.PRODUCT: "{} could not be read",
    Unseen.FAULTY_PRODUCT: "takes its code from a resource that cannot be read",
    Unseen.FAULTY_CODE: "has a code that could not be read",
    Unseen.NO_CODE: "says neither by a code nor in words what is ordered",
    Unseen.NOT_A_CODE: "has a text in place of a CPT or HCPCS code",
    Unseen.NO_SYSTEM: "names a code, but no code system that is known here; it may be {}",
    Unseen.IN_WORDS: "has no code that is read; by its words it may be: {}",
    Unseen.COVERAGE_UNREAD: "{}",
    Unseen.PLAN_UNCLEAR: "{}",
    Unseen.NOT_FIRST: "{}",
    Unseen.PAYER_UNKNOWN: "No policy of {} is known here",
    Unseen.NOT_IN_FORCE: "is not in force on the day of the order",
}
# Of an order: what it asks for is not known, though the order itself could be read.
UNCODED = frozenset({Unseen.FAULTY_CODE, Unseen.NO_CODE, Unseen.NOT_A_CODE, Unseen.NO_SYSTEM, Unseen.IN_WORDS})
# Of an entry among the orders: it holds no order of its own that is read.
NO_ORDER = frozenset({Unseen.NO_RESOURCE, Unseen.OTHER_TYPE, Unseen.NO_ID, Unseen.SAME_ID})


def said(kind: Unseen, about: str = "") -> str:
    """A kind in words. `about`: the type, the code it may be, the payer, why a coverage leads to nobody."""
    return _SAID[kind].format(about)
