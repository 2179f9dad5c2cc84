"""The running service: discovery, every hook and resource type, untouched resources, errors, the guide's examples."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from crd_support import (
    EMPTY_CHART,
    HCPCS,
    ON,
    PATIENT,
    PAYER_ID,
    REQUESTER,
    SUBJECT,
    bundle,
    coverage,
    example,
    faults,
    infos,
    one,
    order,
    patient,
    said,
    sign,
    texts,
    updated,
    values,
)
from support.listener import Listener
from support.service import Service

from cds_service.facts import validity

Json = dict[str, Any]
HOOKS = ("order-sign", "order-select", "order-dispatch", "appointment-book", "encounter-start", "encounter-discharge")


@pytest.fixture
def ehr(listener: Listener) -> Iterator[Listener]:
    listener.reset(patient())
    yield listener
    listener.reset()


def call(service: Service, body: Json) -> Json:
    return service.answer(body, f"{body['hook']}-crd")


def refused(service: Service, body: Json) -> tuple[int, str]:
    response = service.call(body, f"{body['hook']}-crd")
    outcome = response.json()
    assert outcome["resourceType"] == "OperationOutcome"
    return response.status_code, " ".join(i["diagnostics"] for i in outcome["issue"])


def warned(answer: Json) -> list[str]:
    """What a CRD answer says about how the request was written."""
    outcome = answer["extension"]["cds-service.warnings"]
    assert {i["severity"] for i in outcome["issue"]} == {"warning"}
    return [i["diagnostics"] for i in outcome["issue"]]


def plain(info: Json) -> list[Json]:
    """A coverage-information without the id that each answer makes anew."""
    return [part for part in info["extension"] if part["url"] != "coverage-assertion-id"]


# --- discovery --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services(service: Service) -> dict[str, Json]:
    return {s["id"]: s for s in service.get("/cds-services").json()["services"]}


def test_the_six_services_are_offered_once(services: dict[str, Json]) -> None:
    crd = {i: s["hook"] for i, s in services.items() if i.endswith("-crd")}
    assert crd == {f"{h}-crd": h for h in HOOKS}


@pytest.mark.crd("dev-1")
@pytest.mark.parametrize("hook", HOOKS)
def test_versions_are_declared(services: dict[str, Json], hook: str) -> None:
    assert services[f"{hook}-crd"]["extension"]["davinci-crd.version"] == ["2.0", "2.1", "2.2"]


def test_configuration_options(services: dict[str, Json]) -> None:
    response_types = {
        "coverage-info", "unsolicited-determ", "claim", "insurance", "limits", "network", "appropriate-use", "cost",
        "therapy-alternatives-opt", "therapy-alternatives-req", "clinical-reminder", "duplicate-therapy",
        "contraindication", "guideline", "off-guideline",
    }  # fmt: skip
    seen: dict[str, Json] = {}
    for hook in HOOKS:
        options = services[f"{hook}-crd"]["extension"]["davinci-crd.configuration-options"]
        for option in options:
            assert set(option) == {"code", "type", "name", "description", "default"}
            assert option["code"] in response_types | {"not-checked", "max-cards"}
            kind = {"boolean": bool, "integer": int}[option["type"]]
            assert type(option["default"]) is kind
            assert re.fullmatch(r"[a-z-]+", option["code"])
            assert seen.setdefault(option["code"], option) == option
        for name in ("code", "name", "description"):
            assert len({o[name] for o in options}) == len(options)
        assert {"coverage-info", "not-checked"} <= {o["code"] for o in options}
    switches = {"coverage-info", "therapy-alternatives-opt", "guideline", "off-guideline", "contraindication", "claim"}
    assert set(seen) == switches | {"not-checked", "max-cards"}


def test_prefetch_is_a_subset_of_the_standard_one(services: dict[str, Json]) -> None:
    standard = {
        "patient": r"Patient/\{\{context\.patientId\}\}",
        "encounter": r"Encounter/\{\{context\.encounterId\}\}",
        "coverage": r"Coverage\?patient=\{\{context\.patientId\}\}&status=active",
        "devices": r"Device\?_id=\{\{.+\.code\.resolve\(\)\.id\}\}",
        "medications": r"Medication\?_id=\{\{.+\.medication\.resolve\(\)\.id\}\}",
    }
    for hook in HOOKS:
        prefetch = services[f"{hook}-crd"]["prefetch"]
        assert {"patient", "coverage"} <= set(prefetch)
        for key, template in prefetch.items():
            kind = key[0].upper() + key[1:-1]
            pattern = standard.get(key, rf"{kind}\?_id=\{{\{{context\.(dispatchedOrders|appointments)\..+\.id\}}\}}")
            assert re.fullmatch(pattern, template), (hook, key, template)
    assert "serviceRequests" in services["order-dispatch-crd"]["prefetch"]
    assert "encounter" in services["encounter-start-crd"]["prefetch"]


def test_the_advisors_are_as_they_were(services: dict[str, Json]) -> None:
    assert "extension" not in services["order-sign-advisor"]
    assert set(services["order-sign-advisor"]["prefetch"]) >= {"patient", "coverage", "activeOrders"}


# --- resources and hooks ----------------------------------------------------------------------------

OTHERS: dict[str, Json] = {
    "ServiceRequest": order("20939", "one"),
    "DeviceRequest": {
        "resourceType": "DeviceRequest", "id": "one", "status": "draft", "intent": "order", "subject": SUBJECT,
        "codeCodeableConcept": {"coding": [{"system": HCPCS, "code": "E0748"}]}, "authoredOn": ON,
        "requester": REQUESTER,
    },
    "MedicationRequest": {
        "resourceType": "MedicationRequest", "id": "one", "status": "draft", "intent": "order", "subject": SUBJECT,
        "medicationCodeableConcept": {"text": "An ointment"}, "authoredOn": ON, "requester": REQUESTER,
        "dosageInstruction": [{"doseAndRate": [{"doseQuantity": {"value": 1.5, "unit": "g"}}]}],
    },
    "NutritionOrder": {
        "resourceType": "NutritionOrder", "id": "one", "status": "draft", "intent": "order", "patient": SUBJECT,
        "dateTime": ON, "orderer": REQUESTER, "oralDiet": {"instruction": "Soft diet"},
    },
    "VisionPrescription": {
        "resourceType": "VisionPrescription", "id": "one", "status": "draft", "created": ON, "patient": SUBJECT,
        "dateWritten": ON, "prescriber": REQUESTER,
        "lensSpecification": [
            {"product": {"text": "Lens"}, "eye": "right", "sphere": -2.00},
        ],
    },
    "CommunicationRequest": {
        "resourceType": "CommunicationRequest", "id": "one", "status": "draft", "subject": SUBJECT, "authoredOn": ON,
        "requester": REQUESTER, "payload": [{"contentString": "Pathology report"}],
    },
}  # fmt: skip
APPOINTMENT: Json = {
    "resourceType": "Appointment", "id": "one", "status": "proposed", "serviceType": [{"text": "Clinic visit"}],
    "participant": [{"actor": SUBJECT, "status": "accepted"}],
}  # fmt: skip
ENCOUNTER: Json = {
    "resourceType": "Encounter", "id": "enc-1", "status": "in-progress", "subject": SUBJECT,
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
}  # fmt: skip


FAILED: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
UNREAD = "could not be read, by prefetch or from the FHIR server"


def hooked(hook: str, context: Json, version: str = "2.2", **prefetch: Any) -> Json:
    return {
        "hook": hook,
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/crd-surgeon", "patientId": PATIENT, **context},
        "prefetch": {"patient": patient(), "coverage": bundle(coverage()), **EMPTY_CHART, **prefetch},
        "extension": {"davinci-crd.requestedVersion": version},
    }


@pytest.mark.crd("hook-4", "resp-37")
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
@pytest.mark.parametrize("kind", OTHERS)
def test_every_type_of_order_is_returned_whole(service: Service, kind: str, version: str) -> None:
    given = OTHERS[kind]
    answer = call(service, sign(given, version=version))
    (action,) = answer["systemActions"]
    assert set(action) == {"type", "description", "resource"}
    assert action["type"] == "update"
    back = copy.deepcopy(action["resource"])
    (info,) = infos(back)
    assert faults(info, version) == []
    assert validity.accepts(back)
    del back["extension"]
    assert back == given


@pytest.mark.crd("resp-37")
def test_numbers_and_foreign_extensions_come_back_as_they_were(service: Service) -> None:
    marrow = order("20939", extension=[{"url": "http://ehr.example.org/priority", "valueDecimal": 0.10}])
    marrow["quantityQuantity"] = {"value": 1.0}
    text = json.dumps(sign(order("22551"), marrow))
    text = text.replace('"valueDecimal": 0.1', '"valueDecimal": 0.100').replace('"value": 1.0', '"value": 1.00')
    headers = {"Content-Type": "application/json"}
    response = service.request("POST", "/cds-services/order-sign-crd", data=text.encode(), headers=headers)
    assert '"value":1.00}' in response.text
    assert '"valueDecimal":0.100}' in response.text
    back = updated(response.json())["ServiceRequest/o-20939"]
    assert back["extension"][0] == {"url": "http://ehr.example.org/priority", "valueDecimal": 0.1}
    assert len(infos(back)) == 1


@pytest.mark.crd("resp-35")
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_nothing_is_sent_again_when_nothing_changed(service: Service, version: str) -> None:
    orders = (order("22551"), order("20930"), order("20939"), order("71046"))
    first = updated(call(service, sign(*orders, version=version)))
    again = call(service, sign(*first.values(), version=version))
    assert again["systemActions"] == []
    changed = sign(*first.values(), version=version, cover=coverage(period={"end": "2030-01-01"}))
    answer = call(service, changed)
    if version == "2.0":  # it has no expiry date, so nothing new can be said
        assert answer["systemActions"] == []
    else:
        assert one(said(answer, "ServiceRequest/o-20930"), "expiry-date") == "2030-01-01"


@pytest.mark.crd("hook-33")
@pytest.mark.parametrize("kind", OTHERS)
def test_dispatched_orders_are_looked_up(service: Service, ehr: Listener, kind: str) -> None:
    signed = {**OTHERS[kind], "status": "active"}
    context = {"dispatchedOrders": [f"{kind}/one"], "performer": "Organization/lab"}
    key = kind[0].lower() + kind[1:] + "s"
    by_prefetch = call(service, hooked("order-dispatch", context, **{key: bundle(signed)}))
    assert list(updated(by_prefetch)) == [f"{kind}/one"]
    ehr.reset(signed)
    by_query = call(service, {**hooked("order-dispatch", context), "fhirServer": ehr.base})
    assert ehr.paths[0] == f"/fhir/{kind}/one"
    assert all("?patient=" in path for path in ehr.paths[1:])  # what the policies that speak to it read
    assert {k: v for k, v in updated(by_query)[f"{kind}/one"].items() if k != "extension"} == signed


def test_order_dispatch_as_version_1_of_the_hook_names_it(service: Service) -> None:
    body = hooked("order-dispatch", {"order": "ServiceRequest/one"}, serviceRequests=bundle(order("20939", "one")))
    assert list(updated(call(service, body))) == ["ServiceRequest/one"]


def test_dispatched_orders_that_cannot_be_read(service: Service) -> None:
    context = {"dispatchedOrders": ["ServiceRequest/one", "ServiceRequest/gone"]}
    assert refused(service, hooked("order-dispatch", context))[0] == 412
    answer = call(service, hooked("order-dispatch", context, serviceRequests=bundle(order("71046", "one"))))
    assert list(updated(answer)) == ["ServiceRequest/one"]
    (card,) = answer["cards"]
    assert card["summary"] == "1 order could not be read and was not checked"
    assert card["extension"] == {"davinci-crd.associated-resource": [{"reference": "ServiceRequest/gone"}]}


@pytest.mark.parametrize(
    ("dispatched", "wrong"),
    [
        (["Patient/p"], [0]),
        (["Task/t1", "Patient/p"], [0, 1]),
        (["ServiceRequest/one", "https://ehr.example.org/fhir/Encounter/e", "foo/bar"], [1, 2]),
        (["ServiceRequest/one", "urn:uuid:3f0c2c4e-9d0a-4d7c-9a6e-0b7b2d0f5a11"], [1]),
    ],
)
def test_dispatching_what_is_no_order_is_refused(service: Service, dispatched: list[str], wrong: list[int]) -> None:
    prefetch = {"serviceRequests": bundle(order("71046", "one")), "practitioners": bundle(patient())}
    prefetch["practitioners"]["entry"][0]["fullUrl"] = "urn:uuid:3f0c2c4e-9d0a-4d7c-9a6e-0b7b2d0f5a11"
    body = hooked("order-dispatch", {"dispatchedOrders": dispatched}, **prefetch)
    told = " ".join(f"context.dispatchedOrders[{n}] does not refer to an order" for n in wrong)
    assert refused(service, body) == (400, told)


def test_dispatching_what_is_no_order_is_refused_in_version_1_of_the_hook(service: Service) -> None:
    body = hooked("order-dispatch", {"order": "Patient/p"})
    assert refused(service, body) == (400, "context.order does not refer to an order")


def test_an_order_named_by_its_full_url_is_answered(service: Service) -> None:
    urn = "urn:uuid:3f0c2c4e-9d0a-4d7c-9a6e-0b7b2d0f5a11"
    found = bundle(order("71046", "one"))
    found["entry"][0]["fullUrl"] = urn
    body = hooked("order-dispatch", {"dispatchedOrders": [urn]}, serviceRequests=found)
    assert list(updated(call(service, body))) == ["ServiceRequest/one"]


OURS, THEIRS = "https://ehr.example.org/fhir", "https://other.example.org/fhir"


def _elsewhere(hook: str, reference: str, full_url: str | None, server: str | None) -> Json:
    """A call about one order by reference, with ServiceRequest/one in prefetch, and one that is always found."""
    found = bundle(order("20939", "one"), order("71046", "two"))
    if full_url:
        found["entry"][0]["fullUrl"] = full_url
    context: Json = {"dispatchedOrders": [reference, "ServiceRequest/two"]}
    if hook == "appointment-book":
        context = {"appointments": bundle({**APPOINTMENT, "basedOn": [{"reference": reference}]})}
    body = hooked(hook, context, serviceRequests=found)
    return {**body, "fhirServer": server} if server else body


@pytest.mark.parametrize("hook", ["order-dispatch", "appointment-book"])
@pytest.mark.parametrize(
    ("full_url", "server"),
    [(f"{OURS}/ServiceRequest/one", None), (None, OURS), (f"{OURS}/ServiceRequest/one", OURS)],
)
def test_another_servers_order_is_not_mistaken_for_one_of_the_same_id(
    service: Service, hook: str, full_url: str | None, server: str | None
) -> None:
    answer = call(service, _elsewhere(hook, f"{THEIRS}/ServiceRequest/one", full_url, server))
    assert "ServiceRequest/one" not in updated(answer)
    (card,) = answer["cards"]
    assert card["summary"] == "1 order could not be read and was not checked"
    assert card["extension"]["davinci-crd.associated-resource"] == [{"reference": f"{THEIRS}/ServiceRequest/one"}]


@pytest.mark.parametrize("hook", ["order-dispatch", "appointment-book"])
@pytest.mark.parametrize(
    ("reference", "full_url", "server"),
    [
        (f"{OURS}/ServiceRequest/one", f"{OURS}/ServiceRequest/one", None),
        (f"{OURS}/ServiceRequest/one/_history/2", None, "https://EHR.example.org:443/fhir/"),
        (f"{OURS}/ServiceRequest/one", None, None),
        (f"{THEIRS}/ServiceRequest/one", f"{THEIRS}/ServiceRequest/one", OURS),
        ("ServiceRequest/one", f"{THEIRS}/ServiceRequest/one", OURS),
        (f"{OURS}/ServiceRequest/one", "urn:uuid:3f0c2c4e-9d0a-4d7c-9a6e-0b7b2d0f5a11", None),
    ],
    ids=["full url", "client's server", "unknown", "included", "relative", "urn"],
)
def test_an_order_on_the_same_server_or_on_none_that_is_told_is_found(
    service: Service, hook: str, reference: str, full_url: str | None, server: str | None
) -> None:
    answer = call(service, _elsewhere(hook, reference, full_url, server))
    assert "ServiceRequest/one" in updated(answer)
    assert "could not be read" not in json.dumps(answer["cards"])


def test_another_servers_order_is_not_read_from_the_clients_server(service: Service, ehr: Listener) -> None:
    ehr.reset(order("20939", "one"))
    body = hooked("order-dispatch", {"dispatchedOrders": [f"{THEIRS}/ServiceRequest/one"]})
    assert refused(service, {**body, "fhirServer": ehr.base})[0] == 412
    assert ehr.paths == []


@pytest.mark.crd("hook-26")
def test_an_appointment_is_annotated_itself_or_its_order(service: Service) -> None:
    alone = call(service, hooked("appointment-book", {"appointments": bundle(APPOINTMENT, kind="collection")}))
    assert list(updated(alone)) == ["Appointment/one"]
    based = {**APPOINTMENT, "basedOn": [{"reference": "ServiceRequest/sr"}]}
    body = hooked("appointment-book", {"appointments": bundle(based)}, serviceRequests=bundle(order("20939", "sr")))
    assert list(updated(call(service, body))) == ["ServiceRequest/sr"]
    alternate = {
        "url": "http://hl7.org/fhir/StructureDefinition/alternate-reference",
        "valueReference": {"reference": "DeviceRequest/one"},
    }
    other = {**APPOINTMENT, "basedOn": [{"extension": [alternate]}]}
    body = hooked("appointment-book", {"appointments": bundle(other)}, deviceRequests=bundle(OTHERS["DeviceRequest"]))
    assert list(updated(call(service, body))) == ["DeviceRequest/one"]


def _participants(*actors: Json) -> list[Json]:
    return [{"actor": actor, "status": "accepted"} for actor in actors]


@pytest.mark.parametrize("based_on", [[], [{"reference": "ServiceRequest/sr"}]], ids=["alone", "with an order"])
@pytest.mark.parametrize("another", ["Patient/another", "https://ehr.example.org/fhir/Patient/another/_history/2"])
def test_an_appointment_of_another_patient_is_refused(service: Service, another: str, based_on: list[Json]) -> None:
    given = {**APPOINTMENT, "participant": _participants({"reference": another}, REQUESTER)}
    given |= {"basedOn": based_on} if based_on else {}
    body = hooked("appointment-book", {"appointments": bundle(given)}, serviceRequests=bundle(order("20939", "sr")))
    assert refused(service, body) == (400, "Appointment/one belongs to another patient.")


@pytest.mark.parametrize(
    "actors",
    [
        (REQUESTER,),
        ({"display": "Somebody"},),
        ({"reference": "Patient/another"}, SUBJECT),
        ({"reference": "https://ehr.example.org/fhir/Patient/crd-patient-1"},),
    ],
    ids=["none named", "without reference", "among others", "absolute"],
)
def test_an_appointment_that_may_be_the_patients_is_answered(service: Service, actors: tuple[Json, ...]) -> None:
    given = {**APPOINTMENT, "participant": _participants(*actors)}
    assert list(updated(call(service, hooked("appointment-book", {"appointments": bundle(given)})))) == [
        "Appointment/one"
    ]


@pytest.mark.parametrize(
    ("kind", "element", "name"),
    [("MedicationRequest", "medication", "medication"), ("DeviceRequest", "code", "device")],
)
@pytest.mark.parametrize(("status", "codes"), [(500, ["technical"]), (404, []), (None, ["technical"])])
def test_a_medication_or_device_that_cannot_be_read(
    service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch,
    kind: str, element: str, name: str, status: int | None, codes: list[str],
) -> None:  # fmt: skip
    given = {k: v for k, v in OTHERS[kind].items() if k != f"{element}CodeableConcept"}
    given[f"{element}Reference"] = {"reference": f"{name.capitalize()}/b"}
    body = sign(given)
    if status:
        monkeypatch.setattr(ehr, "answer", lambda _path: (status, {"resourceType": "OperationOutcome", "issue": []}))
        body["fhirServer"] = ehr.base
    info = said(call(service, body), f"{kind}/one")
    assert one(info, "covered") == "indeterminate"
    assert texts(info) == f"Coverage: the {name} of the order could not be read."
    assert [c["code"] for r in values(info, "reason") for c in r.get("coding", ())] == codes
    supplied = sign(given, prefetch={"medications": bundle({"resourceType": name.capitalize(), "id": "b"})})
    assert texts(said(call(service, supplied), f"{kind}/one")).endswith(
        "in no code that is read here, so that no policy was checked."
    )


@pytest.mark.parametrize("hook", ["order-sign", "order-select"])
def test_entries_that_hold_no_order_of_their_own_are_told_of(service: Service, hook: str) -> None:
    body = sign(order("22551"), order("20939", "o-22551"), order("20930"), hook=hook)
    if hook == "order-select":
        body["context"]["selections"] = ["ServiceRequest/o-20930"]
    body["context"]["draftOrders"]["entry"].insert(0, {"fullUrl": "urn:uuid:3f0c2c4e-9d0a-4d7c-9a6e-0b7b2d0f5a11"})
    answer = call(service, body)
    expected = (
        ["ServiceRequest/o-20930"] if hook == "order-select" else ["ServiceRequest/o-22551", "ServiceRequest/o-20930"]
    )
    assert list(updated(answer)) == expected
    card = answer["cards"][0]
    assert card["summary"] == "2 orders could not be read and were not checked"
    assert html.unescape(card["detail"]).splitlines() == [
        "**Not checked**",
        "- context.draftOrders.entry[0].resource is not a resource",
        "- context.draftOrders.entry[2].resource.id repeats the id of another draft order",
    ]
    assert card["extension"] == {"davinci-crd.associated-resource": []}


def test_an_order_that_repeats_may_be_the_fusion_that_others_lack(service: Service) -> None:
    """What was not checked may be what a policy looks for: nothing is refused for its absence."""
    body = sign(order("20936"), order("22551", "o-20936"))
    assert one(said(call(service, body), "ServiceRequest/o-20936"), "covered") != "not-covered"
    assert one(said(call(service, sign(order("20936"))), "ServiceRequest/o-20936"), "covered") == "not-covered"


def test_appointments_that_repeat_are_told_of_unless_they_are_the_same(service: Service) -> None:
    for second, summaries in (
        (APPOINTMENT, []),
        ({**APPOINTMENT, "comment": "x"}, ["1 order could not be read and was not checked"]),
    ):
        context = {"appointments": bundle(APPOINTMENT, second, kind="collection")}
        answer = call(service, hooked("appointment-book", context))
        assert list(updated(answer)) == ["Appointment/one"]
        assert [c["summary"] for c in answer["cards"]] == summaries
    based = {**APPOINTMENT, "basedOn": [{"reference": "ServiceRequest/sr"}]}
    context = {"appointments": bundle(based, {**based, "id": "two"}, kind="collection")}
    answer = call(service, hooked("appointment-book", context, serviceRequests=bundle(order("71046", "sr"))))
    assert (list(updated(answer)), answer["cards"]) == (["ServiceRequest/sr"], [])


@pytest.mark.crd("ops-1", "resp-27")
@pytest.mark.parametrize("hook", ["encounter-start", "encounter-discharge"])
def test_encounter_hooks_annotate_the_encounter(service: Service, hook: str) -> None:
    body = hooked(hook, {"encounterId": "enc-1"}, encounter=ENCOUNTER)
    info = said(call(service, body), "Encounter/enc-1")
    assert faults(info, "2.2") == []
    assert values(info, "doc-needed") == []
    body["prefetch"]["coverage"] = bundle(coverage(status="cancelled"))
    assert one(said(call(service, body), "Encounter/enc-1"), "covered") == "not-covered"


@pytest.mark.parametrize("hook", ["encounter-start", "encounter-discharge"])
@pytest.mark.parametrize("way", ["not sent", "null", "error", "another", "gone", "failing"])
def test_an_encounter_out_of_reach(
    service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch, hook: str, way: str
) -> None:
    sent = {"null": None, "error": FAILED, "another": {**ENCOUNTER, "id": "enc-2"}}
    body = hooked(hook, {"encounterId": "enc-1"}, **({"encounter": sent[way]} if way in sent else {}))
    if way == "failing":
        monkeypatch.setattr(ehr, "answer", lambda _path: (500, FAILED))
    if way in ("gone", "failing"):
        body["fhirServer"] = ehr.base
    assert refused(service, body) == (412, f"context.encounterId {UNREAD}")
    if way == "gone":
        ehr.reset(ENCOUNTER)
        assert list(updated(call(service, body))) == ["Encounter/enc-1"]


@pytest.mark.crd("hook-34", "hook-39", "ops-1")
def test_order_select_speaks_of_selected_orders_and_reads_the_others(service: Service) -> None:
    orders = (order("22551"), order("20930"), order("20939"))
    body = sign(*orders, hook="order-select", selections=["ServiceRequest/o-20939"])
    answer = call(service, body)
    assert list(updated(answer)) == ["ServiceRequest/o-20939"]
    assert one(said(answer, "ServiceRequest/o-20939"), "dependency") == {"reference": "ServiceRequest/o-22551"}


def test_settled_and_forbidden_orders_get_no_answer(service: Service) -> None:
    orders = (order("20939", status="revoked"), order("20930", "no", doNotPerform=True))
    assert call(service, sign(*orders)) == {"cards": [], "systemActions": []}


# --- what is ignored --------------------------------------------------------------------------------


def test_unrecognised_parts_are_ignored(service: Service) -> None:
    marrow = order("20939", unknownElement={"a": 1}, extension=[{"url": "http://x.example.org/e", "valueString": "?"}])
    body = sign(
        order("22551"), marrow, version=None, configuration={"no-such-option": 7, "cost": False}, novelty={"x": [1]}
    )
    body["extension"]["com.example.other"] = {"deep": True}
    body["unheardOf"] = 1
    body["prefetch"]["myOwnKey"] = {"resourceType": "Basic", "id": "b"}
    resource = updated(call(service, body))["ServiceRequest/o-20939"]
    assert resource["unknownElement"] == {"a": 1}
    assert one(infos(resource)[0], "covered") == "not-covered"


@pytest.mark.crd("dev-15")
def test_without_any_extension_the_answer_is_in_version_2_0(service: Service) -> None:
    body = sign(order("71046"), version=None)
    assert "extension" not in body
    info = said(call(service, body), "ServiceRequest/o-71046")
    assert one(info, "covered") == "conditional"
    assert faults(info, "2.0") == []


def test_a_version_that_is_not_served(service: Service) -> None:
    status, text = refused(service, sign(order("71046"), version="3.0"))
    assert status == 400
    assert "is not one of 2.0, 2.1, 2.2" in text
    assert (
        one(said(call(service, sign(order("71046"), version="2.2.1")), "ServiceRequest/o-71046"), "covered")
        == "indeterminate"
    )


def test_nothing_beyond_the_profiles_is_needed(service: Service) -> None:
    bare = {
        k: v
        for k, v in order("20939").items()
        if k in ("resourceType", "id", "status", "intent", "code", "subject", "authoredOn", "requester")
    }
    body = sign(order("22551"), bare)
    body["prefetch"] = {"coverage": bundle(coverage())}
    assert one(said(call(service, body), "ServiceRequest/o-20939"), "covered") in ("not-covered", "indeterminate")


# --- errors -----------------------------------------------------------------------------------------


ADVANTAGE = {"coding": [{"system": "https://nahdo.org/sopt", "code": "112"}]}
MEDICAID = {"coding": [{"system": "https://nahdo.org/sopt", "code": "211"}]}
COMMERCIAL = {"type": {"text": "Plan"}, "value": "Aetna Commercial"}


@pytest.mark.crd("hook-9", "hook-13")
@pytest.mark.parametrize(
    ("cover", "text"),
    [
        ([], "There is no Coverage"),
        ([coverage(), coverage("cigna", "cov-2")], "several Coverages"),
        ([coverage("nobody")], "not one of a payer that is served here"),
        ([coverage(type=MEDICAID)], "of Coverage/cov-1 is not known: its type and class lead to no plan of Aetna"),
        ([coverage(type=ADVANTAGE, **{"class": [COMMERCIAL]})], "lead to no plan of Aetna that is known here"),
        ([coverage(type="112")], "Coverage.type is not an object"),
        ([coverage(None)], "has no identifier"),
        ([{k: v for k, v in coverage().items() if k != "payor"}], "Coverage"),
        ([coverage(beneficiary={"reference": "Patient/another"})], "Coverage"),
    ],
    ids=[
        "none",
        "several",
        "not-served",
        "another-line",
        "contradiction",
        "type-unreadable",
        "name-only",
        "invalid",
        "of-another-patient",
    ],
)
def test_coverage_that_is_refused(service: Service, cover: list[Json], text: str) -> None:
    status, told = refused(service, sign(order("20939"), cover=cover or [patient()]) if cover else _uncovered())
    assert status == 400
    assert text in told


def test_the_same_coverage_twice_is_one(service: Service) -> None:
    twice = sign(order("20939"), cover=[coverage(), coverage()])
    again = sign(order("20939"), prefetch={"ownKey": bundle(coverage())})
    for body in (twice, again):
        assert one(said(call(service, body), "ServiceRequest/o-20939"), "coverage") == {"reference": "Coverage/cov-1"}
    for other in (coverage(subscriberId="another"), coverage("cigna"), coverage(own="cov-2")):
        status, told = refused(service, sign(order("20939"), cover=[coverage(), other]))
        assert (status, "several Coverages" in told) == (400, True)


def _uncovered() -> Json:
    body = sign(order("20939"))
    body["prefetch"]["coverage"] = {"resourceType": "Bundle", "type": "searchset", "total": 0}
    return body


def test_coverage_out_of_reach(service: Service, ehr: Listener) -> None:
    body = sign(order("20939"))
    del body["prefetch"]["coverage"]
    status, told = refused(service, body)
    assert (status, "prefetch.coverage is needed" in told) == (412, True)
    body["fhirServer"] = ehr.base
    assert refused(service, body)[0] == 400
    ehr.reset(coverage())
    assert one(said(call(service, body), "ServiceRequest/o-20939"), "coverage") == {"reference": "Coverage/cov-1"}
    assert [p for p in ehr.paths if p.startswith("/fhir/Coverage")] == [
        f"/fhir/Coverage?patient={PATIENT}&status=active"
    ]


NEXT = [{"relation": "next", "url": "https://ehr.example.org/fhir/Coverage?page=2"}]


@pytest.mark.parametrize(
    ("lacks", "text"),
    [
        ({"total": 2}, "results that were counted, but not sent"),
        ({"link": NEXT}, "further pages"),
        ({"total": 2, "link": NEXT}, "further pages"),
    ],
    ids=["counted", "next", "both"],
)
@pytest.mark.parametrize("hook", ["order-sign", "order-select"])
def test_coverage_that_is_not_whole(service: Service, hook: str, lacks: Json, text: str) -> None:
    """What did not come may be the primary coverage."""
    body = sign(order("20939"), hook=hook, **({"selections": ["ServiceRequest/o-20939"]} if "select" in hook else {}))
    body["prefetch"]["coverage"] |= lacks
    assert refused(service, body) == (412, f"prefetch.coverage is needed and is not whole: {text}")


@pytest.mark.crd("found-5")
@pytest.mark.parametrize(
    ("further", "status"),
    [([], 200), ([coverage("cigna", "cov-2")], 400), ([coverage("cigna", "cov-2", status="cancelled")], 200)],
    ids=["no more", "another", "another that is over"],
)
def test_further_pages_of_coverage_are_read(
    service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch, further: list[Json], status: int
) -> None:
    ehr.reset(*further)
    body = {**sign(order("20939")), "fhirServer": ehr.base}
    body["prefetch"]["coverage"]["link"] = [{"relation": "next", "url": f"{ehr.base}/Coverage?page=2"}]
    assert service.call(body, "order-sign-crd").status_code == status
    assert "/fhir/Coverage?page=2" in ehr.paths
    monkeypatch.setattr(ehr, "answer", lambda _path: (500, FAILED))
    assert refused(service, body) == (412, "prefetch.coverage is needed and is not whole: further pages")


MALFORMED = pytest.mark.parametrize(
    "value", [[5], "Coverage/cov-1", False, 5, {}, {"resourceType": 5}], ids=lambda v: json.dumps(v)[:16]
)


@MALFORMED
@pytest.mark.parametrize("key", ["coverage", "Encounter"])
def test_prefetch_that_is_no_resource_is_named(service: Service, key: str, value: Any) -> None:
    body = sign(order("20939"), prefetch={key: value})
    assert refused(service, body) == (400, f"prefetch.{key} must be a FHIR resource, or null")


@pytest.mark.crd("found-34", "resp-43")
@MALFORMED
@pytest.mark.parametrize("key", ["patient", "conditions", "questionnaireResponses", "devices"])
def test_other_prefetch_that_is_no_resource_costs_its_source(service: Service, key: str, value: Any) -> None:
    answer = call(service, sign(order("20939"), order("22551"), prefetch={key: value}))
    covered = one(said(answer, "ServiceRequest/o-20939"), "covered")
    assert covered == "not-covered"  # rests on none of them
    assert warned(answer) == [f"prefetch.{key} must be a FHIR resource, or null"]


@pytest.mark.crd("hook-23", "found-33")
@MALFORMED
def test_what_comes_under_an_unknown_key_is_ignored(service: Service, value: Any) -> None:
    body = sign(order("22551"), order("20939"), prefetch={"mine": value})
    assert one(said(call(service, body), "ServiceRequest/o-20939"), "covered") == "not-covered"


@MALFORMED
def test_advisors_say_that_prefetch_could_not_be_read(service: Service, value: Any) -> None:
    body = sign(order("22551"), prefetch={"conditions": value})
    [card] = service.cards(body, "order-sign-advisor")
    assert "could not be read (not a fhir resource)" in html.unescape(card["detail"]).lower()
    body["prefetch"]["coverage"] = value
    told = service.call(body, "order-sign-advisor")
    assert told.status_code == 412
    assert "prefetch.coverage is needed and could not be obtained: not a FHIR resource" in told.text
    body["context"]["draftOrders"]["entry"].append({"resource": order("20939")})  # a guideline speaks to it
    cards = service.cards(body, "order-sign-advisor")
    assert "The coverage could not be read: no policy of the payer was checked" in [c["summary"] for c in cards]


BY_REFERENCE = coverage(payor=[{"reference": "Organization/acme-payer"}])
PAYOR_UNREAD = "prefetch.coverage names a payor that is needed and could not be read: "


@pytest.mark.crd("resp-43")
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
@pytest.mark.parametrize(("status", "why"), [(500, "HTTP 500"), (403, "refuses access"), (429, "is busy")])
def test_a_payor_that_cannot_be_read_is_a_technical_reason(
    service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch, status: int, why: str, version: str
) -> None:
    """The Coverage is there, so that it can be said of each order; what a guideline says is said as ever."""
    body = {**sign(order("22551"), order("20939"), cover=BY_REFERENCE, version=version), "fhirServer": ehr.base}
    monkeypatch.setattr(ehr, "answer", lambda _path: (status, FAILED))
    answer = call(service, body)
    assert list(updated(answer)) == ["ServiceRequest/o-22551", "ServiceRequest/o-20939"]
    for ref in updated(answer):
        info = said(answer, ref)
        assert faults(info, version) == []
        assert one(info, "covered") == ("indeterminate" if version == "2.2" else "conditional")
        (reason,) = values(info, "reason")
        assert [c["code"] for c in reason.get("coding", ())] == (["technical"] if version == "2.2" else [])
        assert reason["text"].startswith("Coverage: the payor of the coverage could not be read: ")
        assert why in reason["text"]
    assert [c["source"]["label"] for c in answer["cards"]] == ["The insurer"] * len(answer["cards"])


@pytest.mark.crd("found-32")
def test_a_payor_that_does_not_exist_is_refused(service: Service, ehr: Listener) -> None:
    """The query was performed: 412 is for data that nobody could get."""
    body = {**sign(order("20939"), cover=BY_REFERENCE), "fhirServer": ehr.base}
    told = "Coverage.payor refers to an Organization that the FHIR server does not have."
    assert refused(service, body) == (400, told)
    assert "/fhir/Organization/acme-payer" in ehr.paths


def test_a_payor_that_nobody_sent_and_nobody_can_be_asked_for_is_412(service: Service) -> None:
    body = sign(order("20939"), cover=BY_REFERENCE)
    assert refused(service, body) == (412, f"{PAYOR_UNREAD}not supplied")


def test_of_payors_the_one_that_may_come_another_time_decides(
    service: Service, ehr: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = coverage(payor=[{"reference": "Organization/gone"}, {"reference": "Organization/down"}])
    body = {**sign(order("20939"), cover=several), "fhirServer": ehr.base}
    monkeypatch.setattr(ehr, "answer", lambda path: (404 if path.endswith("gone") else 500, FAILED))
    assert one(said(call(service, body), "ServiceRequest/o-20939"), "covered") == "indeterminate"


@pytest.mark.parametrize(
    "references",
    [
        ["Organization/acme-payer"],
        ["https://ehr.example.org/fhir/Organization/acme-payer"],
        ["urn:uuid:7b1f6d1a-96d4-4f4a-8f5e-0d6b7c1c0001"],
        ["Organization/other", "Organization/acme-payer"],
    ],
)
def test_a_payor_that_did_not_come_is_not_said_to_lack_an_identifier(service: Service, references: list[str]) -> None:
    body = sign(order("20939"), cover=coverage(payor=[{"reference": r} for r in references]))
    assert refused(service, body) == (412, f"{PAYOR_UNREAD}not supplied")


@pytest.mark.crd("found-32")
@pytest.mark.parametrize("way", ["sent", "read", "contained", "not contained", "oneself"])
def test_a_payor_without_identifier(service: Service, ehr: Listener, way: str) -> None:
    nameless = {k: v for k, v in acme().items() if k != "identifier"}
    body = {**sign(order("20939"), cover=BY_REFERENCE), "fhirServer": ehr.base}
    if way == "sent":
        body["prefetch"]["coverage"]["entry"].append({"resource": nameless})
    elif way == "read":
        ehr.reset(nameless)
    else:
        inner = {"contained": [nameless], "payor": [{"reference": "#acme-payer"}]}
        parts = {
            "contained": inner,
            "not contained": {"payor": [{"reference": "#x"}]},
            "oneself": {"payor": [SUBJECT]},
        }
        body["prefetch"]["coverage"] = bundle(coverage(**parts[way]))
    status, told = refused(service, body)
    assert (status, "has no identifier" in told) == (400, True)


@pytest.mark.crd("found-34", "conf-12", "resp-43")
@pytest.mark.parametrize("missing", ["code", "authoredOn", "requester", "status", "intent", "subject"])
def test_what_an_order_lacks_costs_no_other_order(service: Service, missing: str) -> None:
    incomplete = {k: v for k, v in order("20939").items() if k != missing}
    answer = call(service, sign(order("22551"), incomplete))
    whole = call(service, sign(order("22551"), order("20939")))
    assert plain(said(answer, "ServiceRequest/o-22551")) == plain(said(whole, "ServiceRequest/o-22551"))
    info = said(answer, "ServiceRequest/o-20939")
    assert faults(info, "2.2") == []
    assert one(info, "covered") == ("indeterminate" if missing == "code" else "not-covered")
    if missing != "requester":  # nothing is read from it
        assert any(missing in text for text in warned(answer))


@pytest.mark.crd("hook-13")
def test_where_no_order_has_a_code_the_call_is_422(service: Service) -> None:
    uncoded = [{k: v for k, v in order(c).items() if k != "code"} for c in ("20939", "22551")]
    status, told = refused(service, sign(*uncoded))
    assert status == 422
    assert told == "ServiceRequest/o-20939: code is missing. ServiceRequest/o-22551: code is missing."


@pytest.mark.parametrize(
    ("kind", "missing", "status"),
    [
        ("DeviceRequest", "codeCodeableConcept", 400),  # R4 itself demands it
        ("DeviceRequest", "requester", 200),
        ("NutritionOrder", "orderer", 200),
        ("CommunicationRequest", "payload", 200),
        ("VisionPrescription", "dateWritten", 200),
        ("VisionPrescription", "prescriber", 200),
    ],
)
def test_an_incomplete_order_of_another_type(service: Service, kind: str, missing: str, status: int) -> None:
    incomplete = {k: v for k, v in OTHERS[kind].items() if k != missing}
    assert service.call(sign(incomplete), "order-sign-crd").status_code == status


UNREADABLE: list[tuple[Json, str]] = [
    ({"authoredOn": "yesterday"}, "authoredOn"),
    ({"status": 7}, "status"),
    ({"occurrenceDateTime": "2026-11-02", "occurrencePeriod": {"start": "2026-11-02"}}, "occurrenceDateTime"),
    ({"reasonCode": [{"coding": [{"code": 5.5}]}]}, "reasonCode"),
]


@pytest.mark.crd("found-34")
@pytest.mark.parametrize(("change", "lost"), UNREADABLE, ids=[name for _, name in UNREADABLE])
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_an_element_that_cannot_be_read_costs_itself_and_is_told(
    service: Service, change: Json, lost: str, version: str
) -> None:
    answer = call(service, sign(order("22551"), order("20939", **change), version=version))
    info = said(answer, "ServiceRequest/o-20939")
    assert faults(info, version) == []
    assert one(info, "covered") == "not-covered"
    assert lost in texts(info)
    assert "could not be read and" in texts(info)
    assert updated(answer)["ServiceRequest/o-20939"].items() >= change.items()
    assert any(f"ServiceRequest/o-20939: ServiceRequest.{lost[:10]}" in text for text in warned(answer))


@pytest.mark.crd("found-34")
def test_an_order_that_cannot_be_named_is_told_of_on_a_card(service: Service) -> None:
    nameless = {k: v for k, v in order("20939").items() if k != "id"}
    answer = call(service, sign(order("22551"), nameless))
    assert list(updated(answer)) == ["ServiceRequest/o-22551"]
    assert any("1 order could not be read" in c["summary"] for c in answer["cards"])
    status, told = refused(service, sign(nameless))
    assert (status, told) == (
        400, "context.draftOrders.entry[0].resource.id is missing, so the order cannot be named"
    )  # fmt: skip


@pytest.mark.crd("found-34", "hook-13")
def test_an_order_whose_code_cannot_be_read_costs_itself(service: Service) -> None:
    wrong = {**order("20939"), "code": {"coding": "20939"}}
    answer = call(service, sign(order("22551"), wrong))
    info = said(answer, "ServiceRequest/o-20939")
    assert (faults(info, "2.2"), one(info, "covered")) == ([], "indeterminate")
    assert "code could not be read" in texts(info)
    status, told = refused(service, sign(wrong))
    assert (status, told) == (400, "ServiceRequest/o-20939: ServiceRequest.code.coding[0] is not an object.")


@pytest.mark.crd("found-34")
def test_an_order_that_does_not_say_whose_it_is_costs_itself(service: Service) -> None:
    unclear = order("20939", subject={"reference": "urn:uuid:7b1f6d1a-96d4-4f4a-8f5e-0d6b7c1c0009"})
    info = said(call(service, sign(order("22551"), unclear)), "ServiceRequest/o-20939")
    assert (faults(info, "2.2"), one(info, "covered")) == ([], "indeterminate")
    assert "does not say clearly whose it is" in texts(info)
    assert refused(service, sign(unclear))[0] == 400


def test_a_refusal_says_what_is_wrong_and_not_that_it_was_left_out(service: Service) -> None:
    for wrong in (
        order("20939", subject={"reference": "Patient/another"}),
        {**order("20939"), "code": {"coding": [{"code": ["x", "y"]}]}},
    ):
        status, told = refused(service, sign(wrong))
        assert status == 400
        assert "ServiceRequest/o-20939" in told
        assert "left out" not in told
        assert "not used" not in told
    status, told = refused(service, sign(order("20939"), cover=coverage(beneficiary={"reference": "Patient/another"})))
    assert (status, told.endswith("Coverage/cov-1 belongs to another patient.")) == (400, True)


@pytest.mark.crd("hook-13")
def test_an_order_of_another_patient_refuses_the_call(service: Service) -> None:
    status, told = refused(service, sign(order("22551"), order("20939", subject={"reference": "Patient/another"})))
    assert (status, told) == (400, "ServiceRequest/o-20939 belongs to another patient.")


def test_an_order_with_a_modifier_is_answered_not_refused(service: Service) -> None:
    strange = order("20939", modifierExtension=[{"url": "http://x.example.org/not", "valueBoolean": True}])
    answer = call(service, sign(order("22551"), strange))
    info = said(answer, "ServiceRequest/o-20939")
    assert faults(info, "2.2") == []
    assert one(info, "covered") == "indeterminate"
    assert "modifier extension" in texts(info)


DEVICE: Json = {"resourceType": "Device", "id": "d", "type": [5]}
POINTING: Json = {k: v for k, v in OTHERS["DeviceRequest"].items() if k != "codeCodeableConcept"} | {
    "codeReference": {"reference": "Device/d"}
}


@pytest.mark.parametrize("way", ["among the orders", "look-up", "read"])
def test_a_broken_device_is_no_fault_of_the_service(service: Service, ehr: Listener, way: str) -> None:
    body = sign(order("20939"), POINTING, *([DEVICE] if way == "among the orders" else []))
    if way == "look-up":
        body["prefetch"]["devices"] = bundle(DEVICE)
    ehr.reset(*([DEVICE] if way == "read" else []))
    answer = call(service, {**body, "fhirServer": ehr.base})
    assert one(said(answer, "ServiceRequest/o-20939"), "covered") == "not-covered"
    assert "DeviceRequest/one" in updated(answer)


@pytest.mark.parametrize("owner", [PATIENT, "another"])
@pytest.mark.parametrize("way", ["among the orders", "look-up"])
def test_a_claim_response_by_the_way_grants_its_own_patient_only(service: Service, way: str, owner: str) -> None:
    response = {
        "resourceType": "ClaimResponse", "id": "pa", "status": "active", "type": {"text": "institutional"},
        "use": "preauthorization", "patient": {"reference": f"Patient/{owner}"}, "created": ON,
        "insurer": {"identifier": {"system": PAYER_ID, "value": "aetna"}}, "outcome": "complete", "preAuthRef": "A-1",
    }  # fmt: skip
    references = [{"reference": "Coverage/cov-1"}, {"reference": "ClaimResponse/pa"}]
    body = sign(order("20939", insurance=references), *([response] if way == "among the orders" else []))
    if way == "look-up":
        body["prefetch"]["organizations"] = bundle(response)
    info = said(call(service, body), "ServiceRequest/o-20939")
    assert ("A-1" in json.dumps(info)) is (owner == PATIENT)


@pytest.mark.crd("hook-10")
@pytest.mark.parametrize(
    ("hook", "context"),
    [
        ("order-dispatch", {}),
        ("appointment-book", {}),
        ("encounter-start", {}),
        ("order-dispatch", {"dispatchedOrders": []}),
    ],
)
def test_contexts_are_checked(service: Service, hook: str, context: Json) -> None:
    assert refused(service, hooked(hook, context))[0] == 400


def test_a_dispatch_of_nothing_is_told_what_may_name_an_order(service: Service) -> None:
    status, told = refused(service, hooked("order-dispatch", {}))
    assert (status, told) == (400, "context must have dispatchedOrders or order")


@pytest.mark.parametrize("kind", ["crd", "advisor"])
def test_what_is_null_was_not_sent(service: Service, kind: str) -> None:
    body = sign(order("22551"), order("20939"))
    without = service.call(body, f"order-sign-{kind}")
    nothing = service.call({**body, "fhirServer": None, "fhirAuthorization": None}, f"order-sign-{kind}")
    assert (without.status_code, nothing.status_code) == (200, 200)
    assert len(nothing.json()["cards"]) == len(without.json()["cards"])


# --- the guide's own examples -----------------------------------------------------------------------


def acme() -> Json:
    identifier = [{"system": PAYER_ID, "value": "aetna"}]
    return {
        "resourceType": "Organization",
        "id": "acme-payer",
        "active": True,
        "name": "Acme Health Plan",
        "identifier": identifier,
    }


@pytest.mark.crd("resp-39")
def test_example_1_is_answered(service: Service, ehr: Listener) -> None:
    body = {**example(1), "fhirServer": ehr.base}
    ehr.reset(acme())
    answer = call(service, body)
    assert "/fhir/Organization/acme-payer" in ehr.paths
    assert list(updated(answer)) == ["ServiceRequest/1357", "ServiceRequest/2468"]
    for entry in body["context"]["draftOrders"]["entry"]:
        back = updated(answer)[f"ServiceRequest/{entry['resource']['id']}"]
        assert [faults(i, "2.2") for i in infos(back)] == [[] for _ in infos(back)]
        assert {k: v for k, v in back.items() if k != "extension"} == entry["resource"]
        assert validity.accepts(back)
    info = said(answer, "ServiceRequest/1357")
    assert [c["code"] for c in values(info, "billingCode")] == ["77061", "77062", "77065", "77066"]


def test_example_2_asks_for_no_coverage_information(service: Service, ehr: Listener) -> None:
    medications = [
        {
            "resourceType": "MedicationRequest", "id": own, "status": "active", "intent": "order", "authoredOn": ON,
            "medicationReference": {"reference": f"Medication/{med}"}, "subject": {"reference": "Patient/123"},
            "requester": REQUESTER,
        }
        for own, med in (("1111", "MED1"), ("2222", "MED2"))
    ]  # fmt: skip
    body = {**example(2), "fhirServer": ehr.base}
    ehr.reset(acme(), *medications)
    assert call(service, body) == {"cards": [], "systemActions": []}
    del body["extension"]["davinci-crd.configuration"]["coverage-info"]
    answer = call(service, body)
    assert list(updated(answer)) == ["MedicationRequest/1111", "MedicationRequest/2222"]
    for resource in updated(answer).values():
        assert faults(infos(resource)[0], "2.0") == []


@pytest.mark.parametrize("number", [3, 4])
def test_examples_without_coverage(service: Service, ehr: Listener, number: int) -> None:
    ehr.reset(patient(id="123"))
    assert refused(service, {**example(number), "fhirServer": ehr.base})[0] == 400
    assert refused(service, example(number))[0] in (400, 412)


@pytest.mark.parametrize("number", [3, 4])
def test_examples_with_a_coverage_added(service: Service, number: int) -> None:
    body = example(number)
    covered = coverage(beneficiary={"reference": "Patient/123"})
    body["prefetch"] = {**(body.get("prefetch") or {}), "coverage": bundle(covered)}
    resources = updated(call(service, body))
    assert list(resources) == [{3: "CommunicationRequest/example", 4: "Appointment/example"}[number]]


# --- privacy ----------------------------------------------------------------------------------------


@pytest.mark.crd("sec-6")
def test_nothing_that_was_fetched_for_one_call_serves_another(service: Service, ehr: Listener) -> None:
    body = {**sign(order("20939")), "fhirServer": ehr.base}
    del body["prefetch"]["coverage"]
    ehr.reset(coverage())
    assert call(service, body)["systemActions"]
    ehr.reset()
    assert refused(service, body)[0] == 400
    assert [p for p in ehr.paths if p.startswith("/fhir/Coverage")] != []


@pytest.mark.crd("found-40")
def test_no_white_space_is_sent(service: Service) -> None:
    response = service.call(sign(order("71046")), "order-sign-crd")
    assert response.text == json.dumps(response.json(), separators=(",", ":"), ensure_ascii=False)
