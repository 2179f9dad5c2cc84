"""One SDC Questionnaire per policy version and rule, from the rule's askable criteria: linkId = criterion id.

The canonical holds `/<policy id>/`, by which the engine knows an answer as one to this policy's question, and the
version, so that what was asked stays what it was. Nothing here is about a patient: a Questionnaire can be cached.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cds_service.policy.compile import CompiledItem, CompiledVersion
from cds_service.policy.evaluate import Verdict
from cds_service.policy.logic import MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, Rule, criterion_ids
from cds_service.policy.rulebook import Rulebook
from cds_service.policy.trace import Trace

Json = dict[str, Any]
PROFILE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire"
ITEM_CONTROL = "http://hl7.org/fhir/StructureDefinition/questionnaire-itemControl"
CONTROLS = "http://hl7.org/fhir/questionnaire-item-control"
CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"
RESPONSE_PROFILE = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-questionnaireresponse"
ORIGIN = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/information-origin"
NOTE = (
    "Decision support, not a coverage decision. Answer what you know; what stays open is not taken as absent. "
    "Answers settle the policy's criteria the next time the order is checked."
)


@dataclass(frozen=True)
class RuleForm:
    """The questions of one rule of one policy version."""

    version: CompiledVersion
    item: CompiledItem
    rule: Rule

    @property
    def name(self) -> str:
        """`marrow-aspirate.adjunct-to-fusion`: item and rule, since rules are named within their item."""
        return f"{self.item.id}.{self.rule.id}"

    @property
    def criteria(self) -> dict[str, Criterion]:
        """Askable criteria in the order the rule reads them."""
        every = self.version.version.criteria
        return {i: every[i] for i in criterion_ids(self.rule.when) if every[i].ask is not None}

    @property
    def id(self) -> str:
        """A FHIR id: readable where it fits in 64 characters, else a hash."""
        text = f"{self.version.policy.id}.{self.name}.{self.version.version.version}"
        plain = re.sub(r"[^A-Za-z0-9.-]", "-", text)
        return plain if len(plain) <= 64 else hashlib.sha256(text.encode()).hexdigest()[:40]

    def url(self, base: str) -> str:
        """Canonical URL without version."""
        return f"{base}/Questionnaire/{self.version.policy.id}/{self.name}"

    def canonical(self, base: str) -> str:
        """Canonical URL with version."""
        return f"{self.url(base)}|{self.version.version.version}"


def forms(versions: Iterable[CompiledVersion]) -> Iterator[RuleForm]:
    """Every rule that has something to ask."""
    for version in versions:
        for item in version.items:
            for compiled in item.rules:
                form = RuleForm(version, item, compiled.rule)
                if form.criteria:
                    yield form


def find(rulebook: Rulebook, policy: str, name: str, version: str | None) -> RuleForm | None:
    """One form by policy, `<item>.<rule>` and version; without version, that of the policy's last version."""
    wanted = [
        f
        for f in forms(v for v in rulebook.versions if v.policy.id == policy)
        if f.name == name and version in (None, f.version.version.version)
    ]
    return wanted[-1] if wanted else None


def open_forms(verdict: Verdict) -> list[RuleForm]:
    """Forms that would settle a verdict: for each open rule, unless the forms before it ask all of that already."""
    rules = {c.rule.id: c.rule for c in verdict.item.rules}
    asked: set[str] = set()
    found = []
    for trace in verdict.trace.children:
        if trace.op == "rule" and trace.outcome is UNKNOWN:
            form = RuleForm(verdict.version, verdict.item, rules[trace.id])
            unsettled = set(_unsettled(trace)) & set(form.criteria)
            if unsettled - asked:
                asked |= set(form.criteria)
                found.append(form)
    return found


def _unsettled(trace: Trace) -> Iterator[str]:
    if trace.outcome is UNKNOWN:
        if not trace.children:
            yield trace.id
        for child in trace.children:
            yield from _unsettled(child)


def questionnaire(form: RuleForm, base: str) -> Json:
    """The form as an SDC Questionnaire (FHIR R4): boolean items, help beside them."""
    version, policy = form.version.version, form.version.policy
    return {
        "resourceType": "Questionnaire",
        "id": form.id,
        "meta": {"profile": [PROFILE]},
        "url": form.url(base),
        "version": version.version,
        "name": "".join(w.capitalize() for w in re.split(r"[^A-Za-z0-9]+", f"{policy.id} {form.name}") if w),
        "title": f"{policy.short_title}: {form.item.item.label}",
        "status": "active",
        "experimental": False,
        "subjectType": ["Patient"],
        "date": version.last_confirmed_on.isoformat(),
        "publisher": policy.publisher,
        "description": f"What the policy needs to know that codes do not tell. {policy.notice.capitalize()}.",
        "item": [{"linkId": "_note", "text": NOTE, "type": "display"}, *_items(form)],
    }


def _items(form: RuleForm) -> Iterator[Json]:
    for link, criterion in form.criteria.items():
        assert criterion.ask is not None
        item: Json = {"linkId": link, "text": criterion.ask.question, "type": "boolean", "required": False}
        if criterion.ask.help:
            item["item"] = [_help(link, criterion.ask.help)]
        yield item


def _help(link: str, text: str) -> Json:
    control = {"coding": [{"system": CONTROLS, "code": "help", "display": "Help-Button"}]}
    extension = [{"url": ITEM_CONTROL, "valueCodeableConcept": control}]
    return {"linkId": f"{link}._help", "text": text, "type": "display", "extension": extension}


def response(
    form: RuleForm, base: str, settled: Mapping[str, Outcome], subject: str, context: Iterable[str], authored: str
) -> Json:
    """A draft QuestionnaireResponse with what the case settles already; `context`: the order and the coverage."""
    items = [_answered(form, link, settled[link]) for link in form.criteria if link in settled]
    body: Json = {
        "resourceType": "QuestionnaireResponse",
        "meta": {"profile": [RESPONSE_PROFILE]},
        "extension": [{"url": CONTEXT, "valueReference": {"reference": ref}} for ref in context],
        "questionnaire": form.canonical(base),
        "status": "in-progress",
        "subject": {"reference": subject},
        "authored": authored,
    }
    return {**body, "item": items} if items else body


def _answered(form: RuleForm, link: str, outcome: Outcome) -> Json:
    ask = form.criteria[link].ask
    assert ask is not None
    origin = {"url": ORIGIN, "extension": [{"url": "source", "valueCode": "auto"}]}
    answer = {"valueBoolean": outcome is MET, "extension": [origin]}
    return {"linkId": link, "text": ask.question, "answer": [answer]}
