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

from cds_service.determination.decision import Determination
from cds_service.policy.content import PolicyFolder
from cds_service.policy.logic import MET, UNKNOWN, Outcome
from cds_service.policy.model import Criterion, Item, Policy, Rule, Version, criterion_ids
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

    policy: Policy
    version: Version
    item_id: str
    item: Item
    rule: Rule

    @property
    def name(self) -> str:
        """`marrow-aspirate.adjunct-to-fusion`: item and rule, since rules are named within their item."""
        return f"{self.item_id}.{self.rule.id}"

    @property
    def criteria(self) -> dict[str, Criterion]:
        """Askable criteria in the order the rule reads them."""
        every = self.version.criteria
        return {i: every[i] for i in criterion_ids(self.rule.when) if every[i].ask is not None}

    @property
    def id(self) -> str:
        """A FHIR id: readable where it fits in 64 characters, else a hash."""
        text = f"{self.policy.id}.{self.name}.{self.version.version}"
        plain = re.sub(r"[^A-Za-z0-9.-]", "-", text)
        return plain if len(plain) <= 64 else hashlib.sha256(text.encode()).hexdigest()[:40]

    def url(self, base: str) -> str:
        """Canonical URL without version."""
        return f"{base}/Questionnaire/{self.policy.id}/{self.name}"

    def canonical(self, base: str) -> str:
        """Canonical URL with version."""
        return f"{self.url(base)}|{self.version.version}"


def forms(folders: Mapping[str, PolicyFolder]) -> Iterator[RuleForm]:
    """Every rule of the policies that has something to ask, in order of the policies' names."""
    for name in sorted(folders):
        yield from _forms(folders[name].policy)


def _forms(policy: Policy) -> Iterator[RuleForm]:
    for version in policy.versions:
        for item_id, item in version.orders.items():
            for rule in item.rules:
                form = RuleForm(policy, version, item_id, item, rule)
                if form.criteria:
                    yield form


def find(folders: Mapping[str, PolicyFolder], policy: str, name: str, version: str | None) -> RuleForm | None:
    """One form by policy, `<item>.<rule>` and version; without version, that of the policy's last version."""
    every = _forms(folders[policy].policy) if policy in folders else ()
    wanted = [f for f in every if f.name == name and version in (None, f.version.version)]
    return wanted[-1] if wanted else None


def open_forms(said: Determination, folders: Mapping[str, PolicyFolder]) -> list[RuleForm]:
    """Forms that would settle what is said: for each open rule, unless the forms before it ask all of that already."""
    if said.policy is None or said.item is None:
        return []
    folder = folders[said.policy]
    version = folder.version(said.version)
    item = version.orders[said.item]
    rules = {rule.id: rule for rule in item.rules}
    asked: set[str] = set()
    found = []
    for trace in said.rules:
        if trace.op == "rule" and trace.outcome is UNKNOWN:
            form = RuleForm(folder.policy, version, said.item, item, rules[trace.id])
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
    version, policy = form.version, form.policy
    return {
        "resourceType": "Questionnaire",
        "id": form.id,
        "meta": {"profile": [PROFILE]},
        "url": form.url(base),
        "version": version.version,
        "name": "".join(w.capitalize() for w in re.split(r"[^A-Za-z0-9]+", f"{policy.id} {form.name}") if w),
        "title": f"{policy.short_title}: {form.item.label}",
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
