"""Facts in one line of text, as the language reference shows them: `also 22551; problem M48.02 since 2026-04`."""

from __future__ import annotations

import shlex
from calendar import monthrange
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from cds_service.policy.case import (
    Answer,
    Case,
    Code,
    Condition,
    Medication,
    Observation,
    Order,
    Patient,
    Period,
    Procedure,
    Source,
    SourceState,
)
from cds_service.policy.content import read
from cds_service.policy.criteria import Found, Test
from cds_service.policy.model import Criterion
from cds_service.policy.operators.reads import SOURCES
from cds_service.policy.source import Document
from cds_service.policy.view import Facts, Seat, View
from cds_service.policy.vocabulary import compile_vocabulary

DAY = date(2026, 6, 1)

PROCEDURES = """
format: 1
source: {title: Spec, confidence: recalled}
procedures:
  - {system: cpt, code: "22551", label: Anterior cervical fusion, role: fusion, region: [cervical], approach: [anterior, interbody], family: anterior, per: interspace}
  - {system: cpt, code: "22552", label: Its additional level, role: fusion, region: [cervical], approach: [anterior, interbody], family: anterior, per: interspace, add_on: true, requires: ["22551"]}
  - {system: cpt, code: "22600", label: Posterior cervical fusion, role: fusion, region: [cervical], approach: [posterior], family: posterior, per: interspace}
  - {system: cpt, code: "22612", label: Posterolateral lumbar fusion, role: fusion, region: [lumbar], approach: [posterolateral], family: posterior, per: interspace}
  - {system: cpt, code: "22614", label: Posterior additional level, role: fusion, approach: [posterior], family: posterior, per: interspace, add_on: true, requires: ["22600", "22612"]}
  - {system: cpt, code: "22800", label: Fusion of 2 to 6 segments, role: fusion, approach: [posterior], per: operation, segments: [2, 6]}
  - {system: cpt, code: "63047", label: Lumbar laminectomy, role: decompression, region: [lumbar], approach: [posterior]}
  - {system: cpt, code: "20930", label: Donor bone, role: graft, add_on: true, requires: ["22551", "22600", "22612"]}
  - {system: cpt, code: "20939", label: Marrow aspirate, role: graft, add_on: true, requires: ["22551", "22600", "22612"]}
"""  # noqa: E501
SETS = {
    "stenosis": 'prefixes: [{system: icd-10-cm, prefix: "M48.02", label: Cervical, region: [cervical]},'
    ' {system: icd-10-cm, prefix: "M48.06", label: Lumbar, region: [lumbar]},'
    ' {system: icd-10-cm, prefix: "M48.00", label: Site not said}]',
    "fusion": 'codes: [{system: cpt, code: "22551", label: Anterior}, {system: cpt, code: "22600", label: Posterior},'
    ' {system: cpt, code: "22612", label: Lumbar}]',
    "marrow": 'codes: [{system: cpt, code: "20939", label: Marrow}]',
    "bmp": "terms: [rhBMP-2, bone morphogenetic protein]",
    "hba1c": 'codes: [{system: loinc, code: "4548-4", label: HbA1c}]',
    "methotrexate": 'codes: [{system: rxnorm, code: "105585", label: Methotrexate}]',
    "intolerance": 'codes: [{system: snomed, code: "59037007", label: Intolerance}]',
    "zoster-vaccine": 'codes: [{system: cpt, code: "90750", label: Zoster vaccine},'
    ' {system: cvx, code: "187", label: Zoster vaccine}]',
    "therapy": 'codes: [{system: cpt, code: "97110", label: Exercise}, {system: cpt, code: "97140", label: Manual}]',
    "spo2": 'codes: [{system: loinc, code: "59408-5", label: Oxygen saturation}]',
    "smoking-status": 'codes: [{system: loinc, code: "72166-2", label: Smoking status}]',
    "smoker": 'codes: [{system: snomed, code: "77176002", label: Smoker}]',
}  # fmt: skip


def _files() -> dict[str, str]:
    files = {"procedures.yaml": PROCEDURES}
    for name, body in SETS.items():
        head = f"format: 1\nid: {name}\ntitle: {name}\nsource: {{title: Spec, confidence: recalled}}\n"
        files[f"value_sets/{name}.yaml"] = head + body + "\n"
    return files


CONTENT = read(_files())
VOCABULARY = compile_vocabulary(CONTENT.value_sets, CONTENT.procedures)


def period(text: str) -> Period | None:
    """A day, month or year as the days it may mean; `undated` is None."""
    if text == "undated":
        return None
    text = text.split("T", maxsplit=1)[0]
    parts = [int(p) for p in text.split("-")]
    if len(parts) == 3:
        return Period(date(*parts), date(*parts))
    if len(parts) == 2:
        year, month = parts
        return Period(date(year, month, 1), date(year, month, monthrange(year, month)[1]))
    return Period(date(parts[0], 1, 1), date(parts[0], 12, 31))


@dataclass
class Line:
    """What one line of facts says."""

    orders: list[Order] = field(default_factory=list)
    judged: Order | None = None
    conditions: list[Condition] = field(default_factory=list)
    procedures: list[Procedure] = field(default_factory=list)
    services: list[Procedure] = field(default_factory=list)
    medications: list[Medication] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    patient: Patient | None = field(default_factory=lambda: Patient("Patient/p", Period(DAY, DAY)))
    sources: dict[str, Source] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)


def _order(words: list[str], line: Line, ref: str, draft: bool) -> Order:
    order = Order(ref, (Code("cpt", words[0]),), draft=draft)
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if word.startswith("x"):
            order = replace(order, units=None if word == "x?" else int(word[1:]))
        elif word == "encounter":
            order = replace(order, encounter=rest.pop(0))
        elif word == "requisition":
            order = replace(order, requisition=rest.pop(0))
        elif word == "at":
            order = replace(order, body_site_texts=(rest.pop(0),))
        elif word == "says":
            order = replace(order, texts=(rest.pop(0),))
        elif word == "modifier":
            order = replace(order, modifiers=(rest.pop(0),))
        elif word == "reason":
            order = replace(order, reason_codes=(Code("icd-10-cm", rest.pop(0)),))
        elif word == "reason-unreadable":
            order = replace(order, reasons_faulty=True)
        elif word == "note-unreadable":
            order = replace(order, faulty=frozenset({"note"}))
        elif word == "found":
            line.outcomes[ref] = rest.pop(0)
        else:
            raise ValueError(word)
    return order


def _dated(words: list[str], key: str) -> Period | None:
    return period(words[words.index(key) + 1]) if key in words else None


def _codes(system: str, word: str) -> tuple[Code, ...]:
    """The code of a fact; none where it is recorded in words alone."""
    return () if word == "in-words" else (Code(system, word),)


def _condition(words: list[str], number: int) -> Condition:
    active = {"inactive": False, "status-unclear": None}
    confirmed = {"ruled-out": False, "provisional": None}
    return Condition(
        f"Condition/c{number}",
        _codes("icd-10-cm", words[0]),
        next((active[w] for w in words if w in active), True),
        next((confirmed[w] for w in words if w in confirmed), True),
        _dated(words, "since"),
    )


def _medication(words: list[str], number: int) -> Medication:
    start, end = _dated(words, "from"), _dated(words, "to")
    taken = Period(start.start if start else None, end.end if end else None) if start or end else None
    active = {"stopped": False, "status-unclear": None}
    reasons = (Code("snomed", words[words.index("because") + 1]),) if "because" in words else ()
    return Medication(
        f"MedicationRequest/d{number}",
        _codes("rxnorm", words[0]),
        next((active[w] for w in words if w in active), True),
        taken,
        reasons,
    )


def _observation(words: list[str], number: int) -> Observation:
    code, value = words[:2]
    seen: dict[str, Any] = {"effective": period("2026-05-01")}
    if "on" in words:
        seen["effective"] = _dated(words, "on")
        written = words[words.index("on") + 1]
        seen["at"] = datetime.fromisoformat(f"{written}+00:00") if "T" in written else None
    if value in ("yes", "no"):
        seen["flag"] = value == "yes"
    elif value.startswith("coded:"):
        seen["coded"] = (Code("snomed", value.removeprefix("coded:")),)
    elif value != "none":
        seen["comparator"] = value.rstrip("0123456789.") or None
        seen["quantity"] = float(value.lstrip("<>="))
        seen["unit"] = words[2] if len(words) > 2 and words[2] not in ("on", "preliminary") else None
    return Observation(f"Observation/o{number}", _codes("loinc", code), final="preliminary" not in words, **seen)


def parse(text: str, judged: str) -> tuple[Case, Order, dict[str, str]]:
    """The case of a line, the judged order (code `judged` unless the line says `judge ...`), companions' outcomes."""
    line = Line()
    for number, part in enumerate(p for p in text.split("; ") if p.strip() not in ("", "nothing else")):
        word, *words = shlex.split(part)
        if word in ("also", "active", "booking"):
            kind = "Appointment" if word == "booking" else "ServiceRequest"
            line.orders.append(_order(words, line, f"{kind}/n{number}", word != "active"))
        elif word == "active-drug":
            line.orders.append(Order(f"MedicationRequest/n{number}", (Code("rxnorm", words[0]),), draft=False))
        elif word == "judge":
            booking = words[0] == "booking"
            kind = "Appointment" if booking else "ServiceRequest"
            line.judged = _order(words[1:] if booking else words, line, f"{kind}/judged", True)
        elif word == "problem":
            line.conditions.append(_condition(words, number))
        elif word == "history":
            done = {"not-done": False, "status-unclear": None}
            known = next((done[w] for w in words if w in done), True)
            codes = _codes("cpt", words[0])
            line.procedures.append(Procedure(f"Procedure/p{number}", codes, _dated(words, "on"), done=known))
        elif word == "given":
            kind, code = words[0].split(":")
            system = "cvx" if kind == "Immunization" else "cpt"
            ref = f"{kind}/g{number}"
            line.services.append(Procedure(ref, (Code(system, code),), _dated(words, "on")))
        elif word == "drug":
            line.medications.append(_medication(words, number))
        elif word == "sex":
            line.patient = replace(line.patient or Patient("Patient/p"), sex=words[0])
        elif word == "result":
            line.observations.append(_observation(words, number))
        elif word == "born":
            line.patient = Patient("Patient/p", period(words[0]))
        elif word == "answer":
            line.answers.append(
                Answer(
                    f"QuestionnaireResponse/q{number}",
                    "/spec/",
                    words[1] if len(words) > 1 else "it",
                    words[0] == "yes",
                )
            )
        elif word == "unread":
            line.sources[words[0]] = Source(SourceState.UNAVAILABLE, "not supplied")
            line.patient = None if words[0] == "patient" else line.patient
        elif word == "faulty":
            line.sources[words[0]] = Source(SourceState.READ, "", (f"{words[0]}/broken",))
        else:
            raise ValueError(word)
    judging = line.judged or Order("ServiceRequest/judged", (Code("cpt", judged),))
    case = Case(
        orders=(judging, *line.orders),
        conditions=tuple(line.conditions),
        procedures=tuple(line.procedures),
        services=tuple(line.services),
        medications=tuple(line.medications),
        observations=tuple(line.observations),
        answers=tuple(line.answers),
        patient=line.patient,
        sources={s: line.sources.get(s, Source(SourceState.READ)) for s in SOURCES},
        received=DAY,
        as_of=DAY,
    )
    return case, judging, line.outcomes


def criterion_of(text: str) -> Criterion:
    """A criterion as an author writes it."""
    return Criterion.model_validate({"text": "It is so.", **Document("spec", text).data})


def found(criterion: str, facts: str, judged: str) -> Found:
    """What a criterion finds on a line of facts."""
    case, order, outcomes = parse(facts, judged)
    view = View(Seat(Facts(case, VOCABULARY), order, DAY), judge=lambda o: outcomes.get(o.ref))
    return Test("it", criterion_of(criterion), "spec")(view)
