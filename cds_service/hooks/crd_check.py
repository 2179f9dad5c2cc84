"""What a CRD call is refused for: 400 (R4, payer), 412 (Coverage out of reach), 422 (incomplete orders).

Source: Da Vinci CRD 2.2.1, hooks (hook-13) and foundation (found-32, found-33).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cds_service.determination.routing import PayerDirectory, in_force
from cds_service.errors import Issue, MissingData, NotCrd, RequestError
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.references import Json
from cds_service.facts.sources import is_known, is_resource
from cds_service.hooks.crd_gather import GONE, NOT_SUPPLIED, CrdData, payors
from cds_service.hooks.crd_services import LOOK_UPS
from cds_service.policy.case import Coverage, Fault, Source, SourceState

_CONTAINED = re.compile(r"[A-Za-z]+\.contained\[\d+\]\.resourceType")
_CONSEQUENCE = re.compile(
    r"(?:;[^;]*| and) (?:was|were) left out$|; it (?:is used as it is|was read as a list of one)$| and is not used$"
)
_TOLD = ("is not a resource", "repeats the id of another draft order")
_MODIFIERS = (".modifierExtension", ".implicitRules", "._implicitRules")
# Elements that the guide's profiles demand of every order; R4 itself demands the rest.
REQUIRED: dict[str, tuple[tuple[str, ...], ...]] = {
    "ServiceRequest": (("code",), ("authoredOn",), ("requester",)),
    "DeviceRequest": (("codeCodeableConcept", "codeReference"), ("authoredOn",), ("requester",)),
    "MedicationRequest": (("medicationCodeableConcept", "medicationReference"), ("authoredOn",), ("requester",)),
    "CommunicationRequest": (("payload",), ("authoredOn",), ("requester",)),
    "NutritionOrder": (("dateTime",), ("orderer",)),
    "VisionPrescription": (("dateWritten",), ("prescriber",)),
}


def is_modifier(fault: Fault) -> bool:
    """True for valid R4 whose modifier this service does not understand: answered, not refused."""
    return fault.path.endswith(_MODIFIERS) or ".modifierExtension" in fault.path


def is_told(fault: Fault) -> bool:
    """True for entries of the context that hold no order of their own: a card says so, and the rest is answered."""
    return fault.ref.startswith("context.") and fault.text in _TOLD


def _ignored(fault: Fault) -> bool:
    """True for what no call is refused for: unknown elements, modifiers, entries that a card tells of."""
    return "is not an element of FHIR R4" in fault.text or is_modifier(fault) or is_told(fault)


def _unread_types(faults: Iterable[Fault]) -> frozenset[tuple[str, str]]:
    """Places (ref, path) of contained resources of types that are not read here; they may be valid R4."""
    return frozenset(
        (f.ref, f.path.removesuffix(".resourceType"))
        for f in faults
        if _CONTAINED.fullmatch(f.path) and f.text == "names a type that is not read by this service"
    )


def check_prefetch(prefetch: Mapping[str, object]) -> None:
    """400 for values that are no FHIR resource; what comes under keys that are not read here is nobody's business."""
    read = {key: value for key, value in prefetch.items() if is_known(key) or key.lower() in LOOK_UPS}
    wrong = [key for key, value in read.items() if value is not None and not is_resource(value)]
    if wrong:
        text = "must be a FHIR resource, or null"
        raise RequestError(*(Issue(text, f"prefetch.{key}", "structure") for key in wrong))


def check_orders(builder: CaseBuilder, orders: dict[str, Json], judged: Iterable[str]) -> None:
    """400 for orders that are not FHIR R4, 422 for judged orders without code, authoredOn or requester."""
    named = {*orders}
    unread = _unread_types(builder.faults)
    invalid = [f for f in builder.faults if _of(f, named) and not _ignored(f) and not _within(f, unread)]
    if invalid:
        raise _invalid(invalid)
    missing = [i for ref in judged if ref in orders for i in _incomplete(ref, orders[ref])]
    if missing:
        raise NotCrd(*missing)


def _within(fault: Fault, places: frozenset[tuple[str, str]]) -> bool:
    return (fault.ref, fault.path.removesuffix(".resourceType")) in places


def _of(fault: Fault, named: set[str]) -> bool:
    return fault.ref in named or fault.ref.startswith("context.")


def _incomplete(ref: str, order: Json) -> Iterator[Issue]:
    kind = str(order.get("resourceType"))
    for options in REQUIRED.get(kind, ()):
        if not any(order.get(name) for name in options):
            yield Issue(f"{ref}: {' or '.join(options)} is missing.", f"{kind}.{options[0]}", "required")


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
    unread = _unread_types(data.builder.faults)
    about = [f for f in data.builder.faults if f.ref.startswith("Coverage") and not _within(f, unread)]
    faults = [f for f in about if not _ignored(f)]
    if faults:
        raise _invalid(faults)
    coverage = _the_one(data.builder)
    payer = directory.find(coverage)
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
        return _refused(f"The payer of {coverage.ref} is not known: {doubt}.")
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
    return RequestError(*(Issue(_told(f, _CONSEQUENCE.sub("", f.text)), f.path, "structure") for f in faults))


def _told(fault: Fault, text: str) -> str:
    """Which resource it is, where its path does not say so."""
    if fault.path.startswith("context."):
        return text
    return f"{fault.ref} {text}." if fault.path == fault.ref else f"{fault.ref}: {fault.path} {text}."


def _refused(text: str) -> RequestError:
    return RequestError(Issue(text, "Coverage", "business-rule"))
