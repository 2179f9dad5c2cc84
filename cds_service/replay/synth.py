"""Synthetic charts of spine patients, messy as charts are; nobody in them is real. The same seed, the same charts.

Every patient comes from the seed and the patient's own number alone, so a larger set begins with the smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from cds_service.replay import synth_coding as coding

Json = dict[str, Any]
FIRST_DAY, DAYS = date(2025, 1, 1), 730
PAYERS = (
    ("aetna", "Aetna"), ("cigna", "Cigna"), ("unitedhealthcare", "UnitedHealthcare"), ("humana", "Humana"),
    ("anthem", "Anthem"), ("bcbs-alabama", "Blue Cross and Blue Shield of Alabama"),
    ("bcbs-north-dakota", "Blue Cross Blue Shield of North Dakota"), ("premera", "Premera Blue Cross"),
    ("medicare", "Medicare"),
)  # fmt: skip
_SHARE = (30, 15, 15, 10, 10, 4, 3, 5, 8)
_FAMILY = ("Quillfeather", "Oakenshaw", "Brindlewick", "Marlowe-Test", "Fennimore", "Tarrowby", "Ashgrove", "Pellinore")
_GIVEN = ("Rosalind", "Ambrose", "Ottilie", "Barnaby", "Clementine", "Ignatius", "Philippa", "Thaddeus")


@dataclass(frozen=True)
class Plan:
    """One kind of operation or work-up: what is ordered, for which diagnoses, where."""

    name: str
    share: int
    orders: tuple[tuple[str, str], ...]
    diagnoses: tuple[tuple[str, str], ...]
    sites: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()  # further level, ordered once per further level
    grafts: bool = False
    implants: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


_CERVICAL = (
    ("M50.321", "Cervical disc degeneration C4-C5"), ("M50.322", "Cervical disc degeneration C5-C6"),
    ("M50.222", "Cervical disc displacement C5-C6"), ("M47.12", "Cervical spondylosis with myelopathy"),
    ("M48.02", "Cervical stenosis"), ("M54.2", "Neck pain"), ("M43.12", "Cervical spondylolisthesis"),
)  # fmt: skip
_LUMBAR = (
    ("M43.16", "Lumbar spondylolisthesis"), ("M48.061", "Lumbar stenosis"), ("M51.360", "Lumbar disc degeneration"),
    ("M51.26", "Lumbar disc displacement"), ("M54.50", "Low back pain"), ("M96.1", "Postlaminectomy syndrome"),
    ("M43.17", "Lumbosacral spondylolisthesis"),
)  # fmt: skip
_DEFORMITY = (("M41.26", "Idiopathic scoliosis, lumbar"), ("M41.24", "Idiopathic scoliosis, thoracic"),
              ("M40.294", "Kyphosis, thoracic"))  # fmt: skip
GRAFTS = (
    ("20930", "Donor bone, small pieces"), ("20931", "Donor bone, structural"), ("20936", "Local autograft"),
    ("20937", "Autograft, crest, small pieces"), ("20939", "Bone marrow aspirate for graft"),
)  # fmt: skip
_GRAFT_SHARE = (30, 15, 25, 8, 22)
PLANS = (
    Plan("acdf", 30, (("22551", "Anterior cervical fusion, first disc space"),), _CERVICAL, ("C4-C5", "C5-C6", "C4-C6"),
         more=(("22552", "Anterior cervical fusion, further disc space"),), grafts=True,
         implants=(("22845", "Anterior plate"), ("22853", "Interbody device"))),
    Plan("plf", 14, (("22612", "Posterolateral lumbar fusion"),), _LUMBAR, ("L4-L5", "L3-L5"), grafts=True,
         more=(("22614", "Posterior fusion, further level"),), implants=(("22842", "Posterior rods and screws"),)),
    Plan("tlif", 16, (("22633", "Combined lumbar fusion"), ("63047", "Lumbar decompression")), _LUMBAR,
         ("L4-L5", "L5-S1"), more=(("22634", "Combined lumbar fusion, further level"),), grafts=True,
         implants=(("22853", "Interbody device"), ("22842", "Posterior rods and screws"))),
    Plan("alif", 8, (("22558", "Anterior lumbar fusion"),), _LUMBAR, ("L5-S1",), grafts=True,
         more=(("22585", "Anterior fusion, further disc space"),), implants=(("22853", "Interbody device"),)),
    Plan("deformity", 4, (("22802", "Posterior fusion for deformity"),), _DEFORMITY, grafts=True,
         implants=(("22843", "Posterior rods and screws"),)),
    Plan("laminotomy", 8, (("63030", "Lumbar laminotomy"),), _LUMBAR, ("L4-L5", "L5-S1")),
    Plan("imaging", 14, (("72148", "MRI of the lumbar spine"),), _LUMBAR, notes=("No red flags.", "Pain for 3 weeks.")),
    Plan("stimulator", 6, (("E0748", "Bone growth stimulator, spine"),), _LUMBAR),
)  # fmt: skip
_OTHERS = (
    ("80053", "Metabolic panel"),
    ("85025", "Blood count"),
    ("93000", "Electrocardiogram"),
    ("71046", "Chest film"),
)
_PRODUCTS = ("Demineralized bone matrix", "Cancellous chips", "Infuse BMP", "Cellular allograft", "")
_HISTORY = (("63030", "Lumbar laminotomy"), ("22551", "Anterior cervical fusion"), ("22612", "Lumbar fusion"),
            ("97110", "Therapeutic exercise"), ("62323", "Lumbar epidural injection"))  # fmt: skip


@dataclass
class _Maker:
    """One patient in the making."""

    rng: Random
    patient: str
    signed: date
    resources: list[Json] = field(default_factory=list)

    def add(self, kind: str, **elements: Any) -> Json:
        number = sum(r["resourceType"] == kind for r in self.resources) + 1
        made = {"resourceType": kind, "id": f"{self.patient}-{kind[:4].lower()}{number}", **elements}
        self.resources.append(made)
        return made

    @property
    def subject(self) -> Json:
        return {"reference": f"Patient/{self.patient}"}

    def before(self, most: int, least: int = 0) -> str:
        return (self.signed - timedelta(days=self.rng.randint(least, most))).isoformat()


def chart(seed: int, number: int) -> list[Json]:
    """The resources of one patient, with at least one order."""
    rng = Random(f"{seed}/{number}")  # noqa: S311 - charts, not secrets
    signed = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
    maker = _Maker(rng, f"synth-{seed}-{number:07}", signed)
    plan = rng.choices(PLANS, [p.share for p in PLANS])[0]
    _patient(maker)
    _coverages(maker)
    encounter = maker.add("Encounter", status="finished", subject=maker.subject,
                          **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
                          period={"start": signed.isoformat(), "end": signed.isoformat()})  # fmt: skip
    conditions = _conditions(maker, plan)
    _orders(maker, plan, encounter, conditions)
    _history(maker)
    _observations(maker)
    return maker.resources


def payers() -> list[Json]:
    """The payers' Organizations, which the charts of all patients refer to."""
    system = "http://example.org/payer-id"
    return [{"resourceType": "Organization", "id": f"payer-{i}", "identifier": [{"system": system, "value": i}],
             "active": True, "name": name} for i, name in PAYERS]  # fmt: skip


def charts(patients: int, seed: int) -> Iterator[list[Json]]:
    """Charts of `patients` patients, one by one."""
    return (chart(seed, number) for number in range(1, patients + 1))


def _patient(maker: _Maker) -> None:
    rng = maker.rng
    born = (maker.signed - timedelta(days=rng.randint(19 * 365, 84 * 365))).isoformat()
    name = {"use": "official", "family": rng.choice(_FAMILY), "given": [rng.choice(_GIVEN)]}
    made = {"resourceType": "Patient", "id": maker.patient, "name": [name], "birthDate": coding.date_of(rng, born)}
    if rng.random() < 0.95:
        made["gender"] = rng.choice(("female", "male"))
    maker.resources.append(made)


def _coverages(maker: _Maker) -> None:
    """Mostly one; sometimes none, several, or one that has run out."""
    rng = maker.rng
    count = rng.choices((0, 1, 2, 3), (4, 76, 17, 3))[0]
    for order in range(1, count + 1):
        payer, name = rng.choices(PAYERS, _SHARE)[0]
        payor: Json = {"reference": f"Organization/payer-{payer}"}
        if rng.random() < 0.3:
            payor["display"] = name.upper() if rng.random() < 0.3 else name
        made = maker.add("Coverage", status="active", beneficiary=maker.subject, payor=[payor])
        if count > 1 or rng.random() < 0.5:
            made["order"] = order
        if rng.random() < 0.08:
            made["period"] = {"start": maker.before(1500, 800), "end": maker.before(700, 1)}
        elif rng.random() < 0.4:
            made["period"] = {"start": coding.date_of(rng, maker.before(900, 30))}


def _conditions(maker: _Maker, plan: Plan) -> list[Json]:
    rng = maker.rng
    found = []
    for code, label in rng.sample(plan.diagnoses, rng.randint(1, 3)):
        found.append(_condition(maker, code, label))
    for code, label in (("E11.9", "Type 2 diabetes"), ("F17.210", "Nicotine dependence"), ("M81.0", "Osteoporosis")):
        if rng.random() < 0.15:
            _condition(maker, code, label)
    return found


def _condition(maker: _Maker, code: str, label: str) -> Json:
    rng = maker.rng
    made = maker.add("Condition", code=coding.diagnosis(rng, code, label), subject=maker.subject)
    system = "http://terminology.hl7.org/CodeSystem/condition-"
    if rng.random() < 0.85:
        status = "active" if rng.random() < 0.92 else "resolved"
        made["clinicalStatus"] = {"coding": [{"system": f"{system}clinical", "code": status}]}
    if rng.random() < 0.8:
        said = rng.choices(("confirmed", "provisional", "entered-in-error"), (92, 6, 2))[0]
        made["verificationStatus"] = {"coding": [{"system": f"{system}ver-status", "code": said}]}
        if said == "entered-in-error":
            made.pop("clinicalStatus", None)
    if rng.random() < 0.6:
        made["onsetDateTime"] = coding.date_of(rng, maker.before(2000, 5))
    recorded = maker.before(400) if rng.random() < 0.93 else (maker.signed + timedelta(days=30)).isoformat()
    made["recordedDate"] = recorded
    return made


def _orders(maker: _Maker, plan: Plan, encounter: Json, conditions: list[Json]) -> None:
    rng = maker.rng
    codes = list(plan.orders)
    levels = rng.choices((0, 1, 2), (60, 32, 8))[0]
    codes += plan.more * levels
    codes += [i for i in plan.implants if rng.random() < 0.85]
    if plan.grafts:
        codes += _grafts(rng)
    codes += [o for o in _OTHERS if rng.random() < 0.15]
    shared: Json = {"encounter": {"reference": f"Encounter/{encounter['id']}"}} if rng.random() < 0.95 else {}
    if rng.random() < 0.96:
        signed = maker.signed.isoformat()
        shared["authoredOn"] = coding.moment(rng, signed) if rng.random() < 0.95 else coding.date_of(rng, signed)
    if rng.random() < 0.9:
        shared["requester"] = {"reference": f"Practitioner/surgeon-{rng.randrange(40)}"}
    if plan.sites and rng.random() < 0.7:
        shared["bodySite"] = [{"text": rng.choice(plan.sites)}]
    if rng.random() < 0.7:
        shared["reasonReference"] = [{"reference": f"Condition/{conditions[0]['id']}"}]
    for code, label in codes:
        _order(maker, plan, code, label, shared)


def _grafts(rng: Random) -> list[tuple[str, str]]:
    drawn = rng.choices(GRAFTS, _GRAFT_SHARE, k=rng.choices((0, 1, 2), (8, 52, 40))[0])
    return list(dict.fromkeys(drawn))


def _order(maker: _Maker, plan: Plan, code: str, label: str, shared: Json) -> None:
    rng = maker.rng
    concept = coding.local_only(rng, code, label) if rng.random() < 0.02 else coding.procedure(rng, code, label)
    made = maker.add("ServiceRequest", intent="order", subject=maker.subject, code=concept, **shared)
    status = rng.choices(("completed", "active", "revoked", None), (80, 12, 4, 4))[0]
    if status is not None:
        made["status"] = status
    if code == "20930" and (product := rng.choice(_PRODUCTS)) and rng.random() < 0.6:
        made["note"] = [{"text": product}]
    elif plan.notes and rng.random() < 0.4:
        made["note"] = [{"text": rng.choice(plan.notes)}]
    if "bodySite" not in shared and rng.random() < 0.1:
        concept.setdefault("text", label)


def _history(maker: _Maker) -> None:
    rng = maker.rng
    for _ in range(rng.choices((0, 1, 2, 3), (35, 35, 20, 10))[0]):
        code, label = rng.choice(_HISTORY)
        made = maker.add("Procedure", status="completed", subject=maker.subject,
                         code=coding.procedure(rng, code, label))  # fmt: skip
        if rng.random() < 0.9:
            done = maker.before(2500, 10) if rng.random() < 0.9 else (maker.signed + timedelta(days=21)).isoformat()
            made["performedDateTime"] = coding.date_of(rng, done)


_RESULTS = (
    ("4548-4", "Haemoglobin A1c", "%", 4.8, 10.5), ("39156-5", "Body mass index", "kg/m2", 18.0, 46.0),
    ("10365-5", "Cotinine", "ng/mL", 0.0, 300.0),
)  # fmt: skip


def _observations(maker: _Maker) -> None:
    rng = maker.rng
    for code, label, unit, low, high in _RESULTS:
        if rng.random() < 0.35:
            value = {"value": round(rng.uniform(low, high), 1), "unit": unit,
                     "system": "http://unitsofmeasure.org", "code": unit}  # fmt: skip
            status = rng.choices(("final", "preliminary"), (95, 5))[0]
            maker.add("Observation", status=status, code=coding.result(code, label), subject=maker.subject,
                      effectiveDateTime=coding.date_of(rng, maker.before(300)), valueQuantity=value)  # fmt: skip
