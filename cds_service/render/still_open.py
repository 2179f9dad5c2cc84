"""What an explanation says of orders that wait for information: what is missing, never a rule's sentence as a fact."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.determination.decision import Determination
from cds_service.policy.trace import Missing
from cds_service.render.parts import RenderedCard, governing
from cds_service.render.public import public_state

NOT_SETTLED = {
    "clinician": ["The policy's rules do not settle this case yet. What is open is listed below."],
    "patient": ["The health plan's policy cannot be applied yet: some information is not there."],
}
_DISAGREE = "It is not known which of the patient's coverages pays first."


def waiting(rendered: RenderedCard) -> list[Determination]:
    """What governs the orders that a card says wait for information; none for any other card."""
    return [governing(d) for d in rendered.waiting]


def still_open(rendered: RenderedCard, criteria: Iterable[str]) -> dict[str, list[str]]:
    """Lines for each reader: what is missing; then, for clinicians, how the criteria stand."""
    missing = list(dict.fromkeys(m for said in waiting(rendered) for m in said.missing))
    asked, told = [open_line(m, public_state(m.state)) for m in missing], [_told(m) for m in missing]
    return {
        "clinician": [*(asked or [_DISAGREE]), *criteria],
        "patient": list(dict.fromkeys(told)) or [_DISAGREE],
    }


def open_line(missing: Missing, state: str) -> str:
    """What is missing: the question, or that a statement may not hold; then what was found."""
    return f"{_told(missing)} {state[:1].upper()}{state[1:]}."


def _told(missing: Missing) -> str:
    if missing.text.endswith("?"):
        return missing.text
    return f"Not known whether this holds: {missing.text.rstrip('.')}."
