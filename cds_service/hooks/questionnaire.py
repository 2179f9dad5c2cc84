"""`Questionnaire/$questionnaire-package`: which forms an order needs, prefilled from the case that the call carries.

Source: Da Vinci DTR, dtr-qpackage-input-parameters and -output-parameters. Only what the call itself carries is
used to prefill: nothing read under another user's token comes back here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime

from cds_service.determination.answered import answered
from cds_service.determination.decide import decide
from cds_service.errors import Issue, NotFound, RequestError
from cds_service.facts.builder import CaseBuilder
from cds_service.facts.orders import ORDER_TYPES
from cds_service.facts.references import Json
from cds_service.facts.sources import SPECS, read_value
from cds_service.hooks.dtr_request import Asked, patient_of
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.logic import Outcome
from cds_service.policy.not_looked_at import Unseen
from cds_service.policy.safe_names import safe_name
from cds_service.render.questionnaire import RuleForm, find, open_forms, questionnaire, response

BUNDLE_PROFILE = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/DTR-QPackageBundle"
_UNSERVED = "Coverage.payor.identifier is not one of a payer that is served here."
_NO_ORDER = "A resource that came as 'order' is of no type that is read here as an order."
_NAMELESS = (
    "The payer is not known: Coverage.payor has no identifier, and no Organization with one came as 'referenced'."
)
_ANSWERED_BY = {spec.kind: spec.name for spec in reversed(SPECS)}


def package(wanted: Asked, runtime: Runtime, caller: Caller, remembered: Callable[[str], Sequence[str] | None]) -> Json:
    """The output Parameters: a package Bundle for each form (and order), and why there is none or not every one.

    `remembered` gives the canonicals that the assertion named by `context` asked for, None for one it does not know.
    Raises NotFound when questionnaires were named and none is known, RequestError when what orders need is asked
    without their Coverage.
    """
    case = _Case(wanted, runtime, caller)
    names = wanted.canonicals
    told = remembered(wanted.context or "") if not names and not wanted.orders else ()
    names = names or list(told or ())
    unknown = [n for n in names if case.form(n) is None]
    if names and len(unknown) == len(names):
        raise NotFound("There is no such Questionnaire.")
    pairs = list(case.named(n for n in names if n not in unknown) if names else case.needed())
    fresh = [(f, o) for f, o in pairs if not _unchanged(f, wanted.changed_since)]
    bundles = [{"name": "PackageBundle", "resource": case.bundle(f, o)} for f, o in fresh]
    notes = [_note("warning", "not-found", f"There is no Questionnaire {n}") for n in unknown]
    if told is None:
        notes.append(_note("warning", "not-found", "The context is no assertion of this service to this client."))
    elif wanted.orders and not names:
        notes += [_note("warning", "incomplete", text) for text in case.unknown()]
    if not bundles and not notes:
        notes.append(_note("information", "informational", _nothing(pairs, case)))
    outcome = {"resourceType": "OperationOutcome", "issue": notes}
    extra = [{"name": "OperationOutcome", "resource": outcome}] if notes else []
    return {"resourceType": "Parameters", "parameter": [*bundles, *extra]}


def _nothing(pairs: Sequence[object], case: _Case) -> str:
    """Why nothing is sent, where nothing that was sent is in the way."""
    if pairs:
        return "No questionnaire that is needed has changed since then."
    if any(d.outcome == "needs-information" and d.authorization is None for d in case.decision.orders):
        return "No questionnaire asks for the information that is missing."
    return "No questionnaire is needed."


def _note(severity: str, code: str, text: str) -> Json:
    return {"severity": severity, "code": code, "details": {"text": text}}


def _unchanged(form: RuleForm, since: date | None) -> bool:
    return since is not None and form.version.last_confirmed_on < since


class _Case:
    """What the call carries, as a case, decided under the coverage that it carries."""

    def __init__(self, wanted: Asked, runtime: Runtime, caller: Caller) -> None:
        self.runtime, self.now, self.asked_orders = runtime, runtime.now(), wanted.orders
        self.base, self.rulebook = runtime.settings.base_url, runtime.book.rulebook
        self.builder = CaseBuilder(patient_of(wanted), self.now.date(), None, caller.local_codes, self.now)
        for resource in wanted.referenced:
            self.builder.index.add(resource)
        self.builder.draft_orders({"entry": [{"resource": o} for o in wanted.orders]}, "Parameters.parameter")
        self._supply(wanted)
        self.directory = runtime.book.identifiers
        self.case = self.builder.build()
        self._refuse(wanted)
        self.decision = decide(self.case, self.rulebook, runtime.terms_of_payer())
        self._answered: dict[str, dict[str, dict[str, Outcome]]] = {}
        self.coverages = [c.ref for c in self.case.coverages]

    def _refuse(self, wanted: Asked) -> None:
        """400 for orders and Coverage that cannot be used, and for orders whose forms are wanted without Coverage."""
        names = {*self.builder.orders_unusable, *self.case.source("coverage").unusable}
        faults = [f for f in self.builder.faults if (f.fatal and f.ref in names) or f.why is Unseen.NO_ID]
        faults = [f for f in faults if f.why is not Unseen.OTHER_TYPE]
        if faults:
            raise RequestError(
                *(
                    Issue(
                        f"{safe_name(f.ref)}: {f.text}", safe_name(f.path) if f.path == f.ref else f.path, "structure"
                    )
                    for f in faults
                )
            )
        if wanted.orders and not wanted.canonicals and not self.case.coverages:
            raise RequestError(Issue("has no Coverage, which says whose forms", "Parameters.parameter", "required"))

    def unknown(self) -> list[str]:
        """Why forms that orders need may be missing: payers and codes that the call does not tell."""
        found: dict[str, None] = {}
        for coverage in self.case.coverages:
            if doubt := self.directory.doubt(coverage):
                found[f"The payer of {safe_name(coverage.ref)} is not known: {doubt}."] = None
            elif self.directory.find(coverage) is None:
                found[_UNSERVED if coverage.payor_identifiers else _NAMELESS] = None
        if any(o.get("resourceType") not in tuple(ORDER_TYPES) for o in self.asked_orders):
            found[_NO_ORDER] = None
        for ref, (resource, _, _) in self.builder.drafts:
            named = (resource or {}).get("codeReference") or (resource or {}).get("medicationReference")
            if named and self.builder.index.resolve(named, within=resource) is None:
                found[f"What {safe_name(ref)} takes its code from did not come as 'referenced'."] = None
        return list(found)

    def _supply(self, wanted: Asked) -> None:
        groups: dict[str, list[Json]] = {"coverage": wanted.coverages}
        for resource in wanted.referenced:
            name = _ANSWERED_BY.get(str(resource.get("resourceType")))
            if name is not None:
                groups.setdefault(name, []).append(resource)
        for name, resources in groups.items():
            entries = [{"resource": r} for r in resources]
            self.builder.supply(name, read_value({"resourceType": "Bundle", "entry": entries}))

    def form(self, canonical: str) -> RuleForm | None:
        """The form that a canonical of ours names."""
        url, _, version = canonical.partition("|")
        prefix = f"{self.base}/Questionnaire/"
        parts = url.removeprefix(prefix).split("/") if url.startswith(prefix) else []
        return find(self.rulebook.folders, "/".join(parts[:2]), parts[2], version or None) if len(parts) == 3 else None

    def named(self, canonicals: Iterable[str]) -> Iterator[tuple[RuleForm, str | None]]:
        """Forms asked for by name, for each order they speak to; else without an order."""
        for form in {f.canonical(self.base): f for c in canonicals if (f := self.form(c))}.values():
            yield from ((form, ref) for ref in self._settled(form) or [None])

    def needed(self) -> Iterator[tuple[RuleForm, str | None]]:
        """Forms that would settle the orders."""
        for decided in self.decision.orders:
            if decided.authorization is None and decided.outcome == "needs-information":
                for said in decided.primary:
                    yield from ((form, decided.order.ref) for form in open_forms(said, self.rulebook.folders))

    def _settled(self, form: RuleForm) -> dict[str, dict[str, Outcome]]:
        """By the orders that a form's item judges, what the case settles of the questions."""
        name = f"{form.policy.id}@{form.version.version}/{form.item_id}"
        if name not in self._answered:
            vocabulary = self.rulebook.vocabulary
            self._answered[name] = answered(self.case, vocabulary, form.policy, form.version, form.item_id)
        return self._answered[name]

    def bundle(self, form: RuleForm, order: str | None) -> Json:
        """One package: the Questionnaire, and a draft response with what the case settles."""
        draft = response(
            form,
            self.base,
            self._settled(form).get(order or "", {}),
            self.builder.patient_ref,
            self._context(order),
            _stamp(self.now),
        )
        entries = [
            {"fullUrl": f"{self.base}/Questionnaire/{form.id}", "resource": questionnaire(form, self.base)},
            {"fullUrl": f"urn:uuid:{self.runtime.new_id()}", "resource": draft},
        ]
        return {
            "resourceType": "Bundle",
            "meta": {"profile": [BUNDLE_PROFILE]},
            "type": "collection",
            "timestamp": _stamp(self.now),
            "entry": entries,
        }

    def _context(self, order: str | None) -> list[str]:
        return [*([order] if order else []), *self.coverages]


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
