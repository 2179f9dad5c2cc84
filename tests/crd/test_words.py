"""What CRD answers say in words: nothing is asked for at secondary hooks, and every card says which orders it is about.

Swept over all bundled policies, and over generated sets of orders.
"""

from __future__ import annotations

import html
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crd_support import (
    CPT,
    HCPCS,
    PATIENT,
    REQUESTER,
    SUBJECT,
    bundle,
    condition,
    coverage,
    faults,
    infos,
    one,
    order,
    patient,
    sign,
    updated,
    values,
)

from cds_service.facts.codes import URI
from cds_service.hooks.answer import Answer
from cds_service.hooks.runtime import Runtime

Json = dict[str, Any]
Ask = Callable[..., Answer]
PAYERS = (
    "aetna", "cigna", "unitedhealthcare", "humana", "anthem", "bcbs-alabama", "bcbs-north-dakota", "premera",
    "medicare",
)  # fmt: skip
PAIN = bundle(condition("M54.50"), condition("M48.02", "dx-2"))
CHARTS: dict[str, Json | None] = {"empty": {}, "ill": {"conditions": PAIN}, "nothing sent": None}


def requests_of(demo: Runtime) -> Iterator[tuple[Json, ...]]:
    """Orders that bundled policies speak to: beside a fusion of the neck or the back, and alone."""
    book = demo.book.rulebook
    names = {i.item.value_set for v in book.versions for i in v.items}
    codes = {c for n in names for c in sorted(book.vocabulary.sets[n].codes)[:1] if c.system in ("cpt", "hcpcs")}
    for code in sorted(codes):
        own = order(code.code, "o-one", URI[code.system])
        yield (own,)
        yield order("22551"), own


def body_of(orders: tuple[Json, ...], payer: str, chart: Json | None, **parts: Any) -> Json:
    made = sign(*orders, cover=coverage(payer), prefetch=chart or {}, **parts)
    if chart is None:
        made["prefetch"] = {"coverage": made["prefetch"]["coverage"]}
    return made


def words(response: Json) -> Iterator[str]:
    """Every text of an answer that a person may read."""
    for action in response.get("systemActions", ()):
        yield action["description"]
        for info in infos(action["resource"]):
            yield from (r["text"] for r in values(info, "reason"))
            yield from (str(d.get(k, "")) for d in values(info, "detail") for k in ("value", "qualification"))
    for card in response["cards"]:
        yield card["summary"]
        yield html.unescape(card["detail"])


def assert_nothing_is_asked(response: Json, asked: set[str]) -> None:
    for action in response.get("systemActions", ()):
        for info in infos(action["resource"]):
            for part in ("doc-needed", "doc-purpose", "questionnaire"):
                assert values(info, part) == []
    for text in words(response):
        assert "?" not in text.replace("search.aspx?", "").replace("lcd.aspx?", "").replace("ncd.aspx?", ""), text
        assert "information is needed" not in text
        assert "Not known whether" not in text
        assert not [q for q in asked if q in text], text


@pytest.fixture(scope="module")
def questions(demo: Runtime) -> set[str]:
    """What any criterion of any policy asks."""
    every = [c for v in demo.book.rulebook.versions for c in v.version.criteria.values()]
    return {c.ask.question for c in every if c.ask}


@pytest.mark.crd("hook-19")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("payer", PAYERS)
def test_order_select_asks_for_nothing(
    ask: Ask, demo: Runtime, questions: set[str], payer: str, chart: str, version: str
) -> None:
    undecided = 0
    for orders in requests_of(demo):
        chosen = [f"ServiceRequest/{o['id']}" for o in orders]
        body = body_of(orders, payer, CHARTS[chart], version=version, hook="order-select", selections=chosen)
        response = ask(body).response
        assert_nothing_is_asked(response, questions)
        assert [faults(i, version) for r in updated(response).values() for i in infos(r)] == [[]] * len(chosen)
        undecided += any("decided when the order is signed" in t for t in words(response))
    signed = sum(
        any("information is needed" in t for t in words(ask(body_of(o, payer, CHARTS[chart])).response))
        for o in itertools.islice(requests_of(demo), 40)
    )
    assert undecided or not signed


@pytest.mark.crd("hook-19")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("hook", ["encounter-start", "encounter-discharge"])
@pytest.mark.parametrize("payer", PAYERS)
def test_encounters_ask_for_nothing(ask: Ask, questions: set[str], payer: str, hook: str, version: str) -> None:
    for code in ("22551", "20939", "72148"):
        kind = {"coding": [{"system": CPT, "code": code}]}
        body = encounter(hook, payer, version, type=[kind])
        response = ask(body).response
        assert_nothing_is_asked(response, questions)
        (info,) = infos(updated(response)["Encounter/enc-1"])
        assert faults(info, version) == []
        assert not any("order" in r["text"] for r in values(info, "reason") if "when its orders" not in r["text"])


def encounter(hook: str, payer: str, version: str, **elements: Any) -> Json:
    made = {
        "resourceType": "Encounter", "id": "enc-1", "status": "in-progress", "subject": SUBJECT,
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}, **elements,
    }  # fmt: skip
    return {
        "hook": hook,
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/crd-surgeon", "patientId": PATIENT, "encounterId": "enc-1"},
        "prefetch": {"patient": patient(), "coverage": bundle(coverage(payer)), "encounter": made},
        "extension": {"davinci-crd.requestedVersion": version},
    }


# --- reasons ----------------------------------------------------------------------------------------

MOST = 420  # characters of a reason: two questions, a statement and how much more is open


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("payer", PAYERS)
def test_reasons_are_short_and_presuppose_nothing(ask: Ask, demo: Runtime, payer: str, chart: str) -> None:
    for orders in requests_of(demo):
        for resource in updated(ask(body_of(orders, payer, CHARTS[chart])).response).values():
            for reason in values(infos(resource)[0], "reason"):
                assert len(reason["text"]) <= MOST, reason["text"]
                if chart == "nothing sent":
                    assert "is recorded" not in reason["text"], reason["text"]
                    assert "the tumour" not in reason["text"], reason["text"]


def test_what_was_not_read_is_named_instead_of_questions_about_it(ask: Ask) -> None:
    (info,) = infos(updated(ask(body_of((order("22551"),), "aetna", None)).response)["ServiceRequest/o-22551"])
    (reason,) = values(info, "reason")
    assert reason["text"] == "Coverage: more information is needed. Not read: conditions and observations."


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
@pytest.mark.parametrize("hook", ["order-sign", "order-select"])
def test_other_information_has_a_detail_that_explains_it(ask: Ask, hook: str, version: str) -> None:
    """The guide: if info-needed is OTH, a detail tells the nature of what is needed."""
    orders = (order("22612"), order("20937"), order("20939"), order("71046"))
    chosen = {"selections": [f"ServiceRequest/{o['id']}" for o in orders]} if hook == "order-select" else {}
    found = 0
    for resource in updated(
        ask(sign(*orders, cover=coverage("cigna"), version=version, hook=hook, **chosen)).response
    ).values():
        (info,) = infos(resource)
        explained = [d["value"] for d in values(info, "detail") if d["code"]["text"] == "Information needed"]
        assert bool(explained) == ("OTH" in values(info, "info-needed"))
        assert all(len(text) > 20 for text in explained)
        found += bool(explained)
    assert found


@pytest.mark.parametrize(("kind", "word"), [("Appointment", "appointment"), ("ServiceRequest", "order")])
def test_things_are_called_what_they_are(ask: Ask, kind: str, word: str) -> None:
    visit = {
        "resourceType": "Appointment", "id": "a", "status": "proposed", "serviceType": [{"text": "Visit"}],
        "participant": [{"actor": SUBJECT, "status": "accepted"}],
    }  # fmt: skip
    body = sign(order("71046", "a"))
    if kind == "Appointment":
        body |= {"hook": "appointment-book"}
        body["context"] = {"userId": "Practitioner/p", "patientId": PATIENT, "appointments": bundle(visit)}
    (action,) = ask(body).response["systemActions"]
    assert action["description"].endswith(f"to the {word}")
    (reason,) = values(infos(action["resource"])[0], "reason")
    assert reason["text"] == f"Coverage: no policy known to this service speaks to this {word}."


# --- which orders a card is about -------------------------------------------------------------------

BMP = [{"text": "Use rhBMP-2"}]
POOL: tuple[Callable[[str], Json], ...] = (
    *(lambda own, c=c: order(c, own) for c in ("22551", "22552", "22845", "20930", "20931", "20936", "20939", "72148",
                                               "22612", "22853", "63081", "71046", "38220", "0232T")),
    lambda own: order("20930", own, note=BMP),
    lambda own: order("E0748", own, HCPCS),
    lambda own: {**device(own), "codeCodeableConcept": {"coding": [{"system": HCPCS, "code": "E0748"}]}},
    lambda own: {**device(own), "codeCodeableConcept": {"text": "rhBMP-2 (Infuse)"}},
    lambda own: {**order("x", own), "code": {"text": "Infuse bone graft, rhBMP-2"}},
    lambda own: {**order("x", own), "code": {"coding": [{"system": "http://ehr.example.org/c", "code": "L-77"}]}},
    lambda own: medication(own),
)  # fmt: skip


def device(own: str) -> Json:
    base = {"resourceType": "DeviceRequest", "id": own, "status": "draft", "intent": "order"}
    return {**base, "subject": SUBJECT, "authoredOn": "2026-11-02", "requester": REQUESTER}


def medication(own: str) -> Json:
    coded = {"medicationCodeableConcept": {"text": "rhBMP-2, 4.2 mg"}}
    return {**device(own), "resourceType": "MedicationRequest", **coded}


def sets(seed: int) -> Iterator[tuple[Json, ...]]:
    """Sets of two to six orders, twins among them."""
    chance = random.Random(seed)
    for _ in range(15):
        makers = chance.choices(POOL, k=chance.randint(2, 5))
        makers += chance.choices(makers, k=chance.randint(0, 2))
        chance.shuffle(makers)
        yield tuple(make(f"id-{n}") for n, make in enumerate(makers))


def codes_of(resource: Json) -> set[str]:
    names = ("code", "codeCodeableConcept", "medicationCodeableConcept")
    return {c["code"] for n in names for c in (resource.get(n) or {}).get("coding", ())}


@pytest.mark.crd("dev-24")
@pytest.mark.parametrize("service", ["crd", "advisor"])
@pytest.mark.parametrize("payer", ["aetna", "cigna", "humana", "medicare"])
@pytest.mark.parametrize("seed", range(3))
def test_every_card_says_in_words_which_orders_it_is_about(
    ask_any: Callable[[Json, str], Answer], payer: str, seed: int, service: str
) -> None:
    kinds = set()
    for orders in sets(seed):
        body = sign(*orders, cover=coverage(payer), prefetch={"conditions": PAIN})
        by_ref = {f"{o['resourceType']}/{o['id']}": o for o in orders}
        done = ask_any(body, f"order-sign-{service}")
        for rendered in done.rendered:
            if rendered.kind == "unreadable":
                continue
            kinds.add(rendered.kind)
            detail = html.unescape(rendered.card["detail"])
            about = section(detail)
            assert about, detail
            assert not [ref for ref in by_ref if ref in detail or f"({by_ref[ref]['id']})" in detail], detail
            refs = [ref for ref in rendered.orders if ref in by_ref]
            public = [c for ref in refs for c in codes_of(by_ref[ref]) if c != "L-77"]
            assert all(f"({c})" in about or f"({c}," in about for c in public), (about, refs)
            others = set(by_ref) - set(refs)
            twins = [r for r in others if any(codes_of(by_ref[r]) == codes_of(by_ref[x]) != set() for x in refs)]
            if twins and service == "crd" and rendered.kind == "coding":
                assert " of the " in about or not [x for x in refs if codes_of(by_ref[x]) == codes_of(by_ref[twins[0]])]
    assert len(kinds) >= 2


GRANTED = {
    "resourceType": "ClaimResponse", "id": "pa-1", "status": "active", "use": "preauthorization", "outcome": "complete",
    "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "professional"}]},
    "patient": SUBJECT, "created": "2026-10-01", "insurer": {"display": "Aetna"}, "preAuthRef": "PA-77",
    "preAuthPeriod": {"start": "2026-10-01", "end": "2099-01-31"},
}  # fmt: skip


def section(detail: str) -> str:
    """The paragraph that names the orders."""
    return next((p for p in detail.split("\n\n") if p.startswith("**About")), "")


@pytest.mark.crd("dev-24")
def test_of_orders_of_one_name_it_is_told_how_many_are_meant(ask: Ask) -> None:
    orders = (order("22551"), order("20930", "plain"), order("72148"), order("72148", "again"), order("20931"))
    cards = ask(sign(*orders, prefetch={"conditions": PAIN})).response["cards"]
    (imaging,) = [c for c in cards if c["source"]["topic"]["code"] == "guideline"]
    assert section(imaging["detail"]) == "**About:** Imaging of the lumbar spine (72148), ordered 2 times"
    two = (order("22551"), order("20930", "plain"), order("20930", "bmp", note=[{"text": "rhBMP-2"}]), order("20939"))
    lines = [section(c["detail"]) for c in ask(sign(*two)).response["cards"] if "bmp" in str(c["extension"])]
    assert lines
    assert all("Bone morphogenetic protein (20930)" in line for line in lines)
    same = (order("72148"), order("22551"), order("72148", "later", insurance=[{"reference": "ClaimResponse/pa-1"}]))
    cards = ask(sign(*same, prefetch={"conditions": PAIN, "authorizations": GRANTED})).response["cards"]
    (imaging,) = [c for c in cards if c["source"]["topic"]["code"] == "guideline"]
    assert section(imaging["detail"]) == "**About:** Imaging of the lumbar spine (72148), 1 of the 2 ordered"


def test_twins_of_a_coding_question_are_all_named(ask: Ask) -> None:
    orders = (order("22551"), order("22845", "one"), order("22845", "two"), order("22845", "three"))
    (card,) = [c for c in ask(sign(*orders)).response["cards"] if c["source"]["topic"]["code"] == "claim"]
    references = {r["reference"] for r in card["extension"]["davinci-crd.associated-resource"]}
    assert {"ServiceRequest/one", "ServiceRequest/two", "ServiceRequest/three"} <= references
    assert "(22845), ordered 3 times" in section(card["detail"])
    assert "ServiceRequest" not in html.unescape(card["detail"])


def test_a_safety_warning_names_all_the_orders_it_is_about(ask: Ask) -> None:
    orders = (
        order("22551"),
        order("20930", "a", note=BMP),
        order("20930", "b"),
        order("20931", "c", note=BMP),
        order("72148"),
    )
    card = ask(sign(*orders)).response["cards"][0]
    assert card["source"]["topic"]["code"] == "contraindication"
    references = [r["reference"] for r in card["extension"]["davinci-crd.associated-resource"]]
    assert references == ["ServiceRequest/a", "ServiceRequest/c"]
    about = section(card["detail"])
    assert "(20930)" in about
    assert "(20931)" in about
    assert one(infos(updated(ask(sign(*orders)).response)["ServiceRequest/b"])[0], "covered") == "covered"
