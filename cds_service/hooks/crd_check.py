"""What a CRD call is refused for: 400 (CDS Hooks, payer, another's order), 412 (Coverage out of reach), 422 (no code).

A deviation costs the element that deviates, and an order that cannot be judged costs itself: the call is refused for
orders only where none is left to answer about. Source: Da Vinci CRD 2.2.1, hooks (hook-13) and foundation (found-32 to
found-34); docs/crd-conformance.md says how their texts were weighed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cds_service.determination.routing import PayerDirectory, in_force
from cds_service.errors import Issue, MissingData, NotCrd, RequestError, once
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Json
from cds_service.facts.sources import is_fhir, is_known
from cds_service.hooks.crd_gather import GONE, NOT_SUPPLIED, CrdData, payors
from cds_service.hooks.crd_services import LOOK_UPS
from cds_service.policy.case import Coverage, Fault, Harm, Source, SourceState
from cds_service.policy.not_looked_at import NO_ORDER
from cds_service.policy.safe_names import safe_name
from cds_service.render.markdown import joined

_CONSEQUENCE = re.compile(r"(?:;[^;]*| and) (?:was|were) left out$| and is not used$")
_MODIFIERS = (".modifierExtension", ".implicitRules", "._implicitRules")
# The element that says what is ordered, where the type has one; the guide's profiles demand it.
_CODED: dict[str, tuple[str, ...]] = {
    "ServiceRequest": ("code",),
    "DeviceRequest": ("codeCodeableConcept", "codeReference"),
    "MedicationRequest": ("medicationCodeableConcept", "medicationReference"),
}
# FHIR R4 itself demands these of an order; of a ServiceRequest only the guide does.
_CODED_BY_R4 = frozenset(("DeviceRequest", "MedicationRequest"))
# Elements of a Coverage that say whose it is, which plan it is of, and whether it is in force.
_DECIDING = frozenset(("beneficiary", "class", "payor", "period", "status", "type"))
# Elements of an order that its answer does not rest on.
_BESIDE = frozenset(("contained", "extension", "id", "language", "meta", "text"))
_DATED = frozenset((*_CODED, "CommunicationRequest"))
_NO_RESOURCE = "must be a FHIR resource, or null"
MOST_WARNINGS = 20


def is_modifier(fault: Fault) -> bool:
    """True for valid R4 whose modifier this service does not understand: answered, not refused."""
    return fault.path.endswith(_MODIFIERS) or ".modifierExtension" in fault.path


def is_told(fault: Fault) -> bool:
    """True for entries of the context that hold no order of their own: a card says so, and the rest is answered."""
    return fault.fatal and fault.why in NO_ORDER


def check_prefetch(prefetch: Mapping[str, object]) -> tuple[str, ...]:
    """Keys of what is read here and is no FHIR resource. RequestError (400) where it is what the answer is about."""
    read = {key: value for key, value in prefetch.items() if is_known(key) or key.lower() in LOOK_UPS}
    wrong = [key for key, value in read.items() if value is not None and not is_fhir(value)]
    if needed := [key for key in wrong if key.lower() in ("coverage", "encounter")]:
        raise RequestError(*(Issue(_NO_RESOURCE, f"prefetch.{key}", "structure") for key in needed))
    return tuple(wrong)


def check_orders(builder: CaseBuilder, orders: Mapping[str, Json], judged: Iterable[str]) -> dict[str, str]:
    """Orders that are told of without being judged, each with the situation (docs/crd-outcomes.md) it is in.

    RequestError (400) for an order of another patient, and where not one of the `judged` orders can be judged; NotCrd
    (422) where that is for want of codes only.
    """
    if foreign := [f for f in builder.faults if f.ref in builder.orders_of_others and f.ref == f.path]:
        raise _invalid(foreign)
    usable = dict(builder.drafts)
    lacking: dict[str, str] = {}
    answered = False
    for ref in judged:
        if ref in builder.settled or orders.get(ref, {}).get("resourceType") not in ORDER_TYPES:
            continue
        reading = usable.get(ref)
        if reading is None:
            lacking[ref] = "technical"
        elif not _says_what(reading.resource or {}):
            lacking[ref] = "no-code"
        else:
            answered = True
    modified = any(is_modifier(f) for f in builder.faults if f.ref in lacking)
    if lacking and not answered and not modified:
        _refuse_orders(builder, orders, lacking)
    return lacking


def _says_what(order: Json) -> bool:
    names = _CODED.get(str(order.get("resourceType")), ())
    return not names or any(order.get(name) for name in names)


def _refuse_orders(builder: CaseBuilder, orders: Mapping[str, Json], lacking: Mapping[str, str]) -> None:
    """Refuse a call of which no order can be judged; what is wrong with each is named once."""
    lost = [f for f in builder.faults if (f.ref in lacking or is_told(f)) and f.harm is Harm.LOST]
    named = {f.ref for f in lost}
    uncoded = [ref for ref, why in lacking.items() if why == "no-code" and ref not in named]
    missing = [_missing(ref, str(orders[ref].get("resourceType"))) for ref in uncoded]
    if lost or any(orders[ref].get("resourceType") in _CODED_BY_R4 for ref in uncoded):
        raise RequestError(*_invalid(lost).issues, *missing)
    raise NotCrd(*missing)


def _missing(ref: str, kind: str) -> Issue:
    options = _CODED[kind]
    return Issue(f"{safe_name(ref)}: {' or '.join(options)} is missing.", f"{kind}.{options[0]}", "required")


def shortcomings(builder: CaseBuilder, ref: str) -> tuple[str, ...]:
    """What could not be read of an order, as far as its answer may rest on it, each as a sentence."""
    whole = [f"Order: {f.text}." for f in builder.faults if f.ref == f.path == ref and f.fatal and f.why is None]
    lost = next((sorted(r.faulty - _BESIDE) for known, r in builder.drafts if known == ref), [])
    was = "was" if len(lost) == 1 else "were"
    return (*whole, f"Order: {joined(lost)} could not be read and {was} not used.") if lost else tuple(whole)


def warnings(builder: CaseBuilder, orders: Collection[str], coverage: str, unread: Iterable[str]) -> tuple[Issue, ...]:
    """What was read in spite of how it is written, or was not there: in prefetch, orders and the Coverage."""
    found = [Issue(_NO_RESOURCE, f"prefetch.{key}", "structure", "warning") for key in unread]
    found += [
        Issue(_told(f, f.text), f.path, "structure", "warning")
        for f in builder.faults
        if (f.ref in orders or f.ref == coverage) and not is_modifier(f)
    ]
    for ref, (resource, _, _) in builder.drafts:
        if ref in orders and resource is not None:
            found += _absent(ref, resource)
    return once(found)[:MOST_WARNINGS]


def _absent(ref: str, order: Json) -> Iterator[Issue]:
    """What the guide demands of an order, R4 does not, and the answer to an order would rest on."""
    kind = order["resourceType"]
    if not _says_what(order) and kind not in _CODED_BY_R4:
        yield replace(_missing(ref, kind), severity="warning")
    if kind in _DATED and not order.get("authoredOn"):
        text = f"{safe_name(ref)}: {kind}.authoredOn is missing; the day of the call was taken."
        yield Issue(text, f"{kind}.authoredOn", "required", "warning")


@dataclass(frozen=True, slots=True)
class Paying:
    """The one coverage of a call and its payer; `payer` is None where the payor could not be read, and `unread` why."""

    coverage: Coverage
    payer: str | None
    unread: str = ""


def check_coverage(data: CrdData, source: Source, directory: PayerDirectory) -> Paying:
    """The one coverage of the call and its payer. MissingData (412) or RequestError (400).

    What was not sent, what failed and what does not exist are told apart. Without a Coverage nothing can be asserted,
    so that one out of reach is 412, as is a payor that was not sent and that nobody could be asked for; one that could
    not be read is told of (resp-43), one that does not exist refused.
    """
    if source.state is SourceState.UNAVAILABLE:
        text = f"is needed and could not be obtained: {source.detail}"
        raise MissingData(Issue(text, "prefetch.coverage", "incomplete"))
    if source.unsent:  # another coverage may be the primary one
        text = f"is needed and is not whole: {', '.join(source.unsent)}"
        raise MissingData(Issue(text, "prefetch.coverage", "incomplete"))
    faults = [f for f in data.builder.faults if _is_of_coverage(f)]
    if any(f.fatal for f in faults):
        raise _invalid(faults)
    coverage = _the_one(data.builder)
    payer = directory.find(coverage)
    lost = [f for f in faults if f.ref == coverage.ref]
    if lost and (payer is None or any(_element(f) != "payor" for f in lost)):
        raise _invalid(lost)
    if payer is not None:
        return Paying(coverage, payer)
    lacking = _payors_lacking(data, coverage)
    if lacking.failed:
        return Paying(coverage, None, lacking.failed[0])
    if lacking.unsent:
        text = f"names a payor that is needed and could not be read: {NOT_SUPPLIED}"
        raise MissingData(Issue(text, "prefetch.coverage", "incomplete"))
    if lacking.gone:
        raise _refused("Coverage.payor refers to an Organization that the FHIR server does not have.")
    raise _unknown_payer(coverage, directory)


def _is_of_coverage(fault: Fault) -> bool:
    """Is something lost of a Coverage that its use depends on?"""
    lost = fault.ref.startswith("Coverage") and fault.harm is Harm.LOST and not is_modifier(fault)
    return lost and (fault.fatal or _element(fault) in _DECIDING)


def _element(fault: Fault) -> str:
    """The top-level element that a fault is in."""
    return fault.path.split(".", 2)[1].split("[", 1)[0] if "." in fault.path else ""


def _the_one(builder: CaseBuilder) -> Coverage:
    found = [c for c in builder.coverages() if c.status != "entered-in-error"]
    if not found:
        raise _refused("There is no Coverage of this patient. Send the one that is likely primary.")
    if len(found) > 1:
        found = [c for c in found if in_force(c, builder.received)]
    if len(found) != 1:
        raise _refused("There are several Coverages. Send only the one that is likely primary.")
    if not found[0].ref.startswith("Coverage/"):
        raise _refused("Coverage.id is missing, so nothing can be asserted about the coverage.")
    return found[0]


def _unknown_payer(coverage: Coverage, directory: PayerDirectory) -> RequestError:
    if doubt := directory.doubt(coverage):
        return _refused(f"The payer of {safe_name(coverage.ref)} is not known: {doubt}.")
    if coverage.payor_identifiers:
        return _refused("Coverage.payor.identifier is not one of a payer that is served here.")
    return _refused("Coverage.payor has no identifier, itself or in the Organization that it refers to.")


@dataclass(slots=True)
class _Lacking:
    """Payors that are known by reference only and were not obtained: why reading failed; not sent; not existing."""

    failed: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def _payors_lacking(data: CrdData, coverage: Coverage) -> _Lacking:
    """Not those that came and cannot be used."""
    index, lacking = data.builder.index, _Lacking()
    came = {f.ref for f in data.builder.faults}
    for ref in payors([index.resolve(coverage.ref) or {}]):
        if index.resolve(ref) is not None or ref in came or not (ref.startswith("Organization/") or "/" not in ref):
            continue
        if data.status.get(ref) in GONE:
            lacking.gone.append(ref)
        elif data.details.get(ref, NOT_SUPPLIED) == NOT_SUPPLIED:
            lacking.unsent.append(ref)
        else:
            lacking.failed.append(data.details[ref])
    return lacking


def _invalid(faults: Iterable[Fault]) -> RequestError:
    """Faults as the reason of a refusal: nothing was left out, as where a call is answered in spite of them."""
    return RequestError(*(Issue(_told(f, _CONSEQUENCE.sub("", f.text)), _path(f), "structure") for f in faults))


def _path(fault: Fault) -> str:
    return safe_name(fault.path) if fault.path == fault.ref else fault.path


def _told(fault: Fault, text: str) -> str:
    """Which resource it is, where its path does not say so."""
    if fault.path.startswith("context."):
        return text
    ref = safe_name(fault.ref)
    return f"{ref} {text}." if fault.path == fault.ref else f"{ref}: {fault.path} {text}."


def _refused(text: str) -> RequestError:
    return RequestError(Issue(text, "Coverage", "business-rule"))
