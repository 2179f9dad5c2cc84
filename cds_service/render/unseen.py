"""The one card of what was not looked at: short, grouped by kind, at most one a call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cds_service.determination.decision import NotLookedAt
from cds_service.policy.not_looked_at import Unseen
from cds_service.render.markdown import escape, joined
from cds_service.render.parts import DISCLAIMER, Context, RenderedCard, card_of, finding_key
from cds_service.render.wording import SUMMARY_LIMIT

# How a line begins that is about policies; others begin with the reference of what they are about.
_LEADS = {
    Unseen.COVERAGE_UNREAD: "The policies of the payer",
    Unseen.PLAN_UNCLEAR: "The policies of the payer of ",
    Unseen.NOT_FIRST: "The policies of the payer of ",
}
_OF_COVERAGE = (*_LEADS, Unseen.PAYER_UNKNOWN, Unseen.NOT_IN_FORCE)
_MOST = 10  # references of one group; the rest are counted
_LONGEST = 80  # of a payer's name
_MARKS = re.compile(r"[^\w .,'-]|[.](?=\S)|_")  # neither markup nor an address


def not_checked(count: int, *, read: bool = False) -> str:
    """How a card says that orders were not checked; `read`: not for want of reading them."""
    was = "were" if count > 1 else "was"
    return f"{count} order{'s' if count > 1 else ''} {was if read else f'could not be read and {was}'} not checked"


def card(found: Sequence[NotLookedAt], context: Context, *, read: bool = False) -> list[RenderedCard]:
    """The card, none where everything was looked at. `read`: some of the orders were read, and are somebody else's."""
    if not found:
        return []
    summary = _summary(found, read=read)
    detail = "\n".join(["**Not checked**", *lines(found), "", DISCLAIMER])
    made = card_of(context, summary, detail, "info", {"label": "CDS service"})
    refs = tuple(n.ref for n in found if n.kind not in _OF_COVERAGE)
    key = finding_key(context.patient_ref, "unreadable", *(f"{n.kind}|{n.ref}|{n.about}" for n in found))
    return [RenderedCard(made, "unreadable", key, refs)]


def lines(found: Iterable[NotLookedAt]) -> list[str]:
    """One line for each thing that is said, with the orders that it is said of."""
    groups: dict[tuple[Unseen | None, str], list[str]] = {}
    for n in found:
        groups.setdefault((n.kind, n.text), []).append(n.ref)
    return [f"- {_line(kind, text, refs)}" for (kind, text), refs in groups.items()]


def _line(kind: Unseen | None, text: str, refs: list[str]) -> str:
    if kind is Unseen.PAYER_UNKNOWN:
        return escape(text)
    lead = _LEADS.get(kind, "") if kind else ""
    return f"{lead}{'' if kind is Unseen.COVERAGE_UNREAD else _listed(refs)}: {escape(text)}"


def _listed(refs: list[str]) -> str:
    more = f" and {len(refs) - _MOST} more" if len(refs) > _MOST else ""
    return ", ".join(map(escape, refs[:_MOST])) + more


def _summary(found: Sequence[NotLookedAt], *, read: bool) -> str:
    kinds = {n.kind for n in found}
    orders = sum(n.kind not in _OF_COVERAGE for n in found)
    parts = [not_checked(orders, read=read)] if orders else []
    if Unseen.COVERAGE_UNREAD in kinds:
        parts.append("the coverage could not be read: no policy of the payer was checked")
    if Unseen.PLAN_UNCLEAR in kinds:
        parts.append("the plan of the coverage is not clear: no policy of its payer was checked")
    if Unseen.PAYER_UNKNOWN in kinds:
        parts.append(f"no policy of {_payers(found)} is known here")
    if Unseen.NOT_FIRST in kinds:
        parts.append("no policy was checked for a coverage that does not pay first")
    if Unseen.NOT_IN_FORCE in kinds:
        parts.append("no coverage is in force on the day of the order")
    text = "; ".join(parts)
    if len(text) >= SUMMARY_LIMIT:
        text = f"{not_checked(orders, read=read)}, nor was a coverage" if orders else "A coverage was not checked"
    return text[0].upper() + text[1:]


def _payers(found: Iterable[NotLookedAt]) -> str:
    """Names of payers as plain text: a summary is none of the places where Markdown is read."""
    names = dict.fromkeys(_plain(n.about) for n in found if n.kind is Unseen.PAYER_UNKNOWN)
    return joined([name or "the payer" for name in names], "or")


def _plain(name: str) -> str:
    return " ".join(_MARKS.sub(" ", name.replace("&", " and ")).split())[:_LONGEST]
