"""What coverage-information says in each situation, in each version of the guide."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from crd_support import (
    BILLING,
    CODES,
    CPT,
    HCPCS,
    bundle,
    condition,
    coverage,
    faults,
    holds,
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

from cds_service.determination import crd_outcome
from cds_service.hooks.answer import Answer
from cds_service.hooks.crd_ids import family_of, record_of
from cds_service.hooks.crd_members import DemoMembers
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.case import Code

Json = dict[str, Any]
Ask = Callable[..., Answer]
VERSIONS = ("2.0", "2.1", "2.2")
FUSION = (order("22551"), order("22845"))
NECK = (*FUSION, order("20930"), order("20939"))


def ref(code: str) -> str:
    return f"ServiceRequest/o-{code}"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_order_is_annotated_as_the_version_demands(ask: Ask, version: str) -> None:
    orders = (*NECK, order("71046", "o-nothing-speaks"))
    answer = ask(sign(*orders, version=version)).response
    assert list(updated(answer)) == [f"ServiceRequest/{o['id']}" for o in orders]
    for resource in updated(answer).values():
        (info,) = infos(resource)
        assert faults(info, version) == []
        assert one(info, "coverage") == {"reference": "Coverage/cov-1"}


@pytest.mark.crd("resp-30")
def test_not_supported_is_not_covered_with_reason_policy_and_code(ask: Ask) -> None:
    info = said(ask(sign(*NECK)).response, ref("20939"))
    assert one(info, "covered") == "not-covered"
    assert values(info, "pa-needed") == []
    assert one(info, "billingCode") == {"system": CPT, "code": "20939"}
    assert texts(info) == (
        "Coverage: Aetna lists bone marrow aspirate as an adjunct to fusion among uses without sufficient evidence."
    )
    detail = one(info, "detail")
    assert detail["category"] == "cat-other"
    assert detail["code"]["coding"][0] == {
        "system": "http://terminology.hl7.org/CodeSystem/crd-coverage-detail",
        "code": "policy-link",
        "display": "Policy Link",
    }
    assert detail["value"] == "https://www.aetna.com/cpb/medical/data/400_499/0411.html"
    assert detail["qualification"].startswith("Aetna CPB 0411, version ")
    assert one(info, "dependency") == {"reference": ref("22551")}


@pytest.mark.parametrize(
    ("version", "authorization", "info_needed"),
    [("2.2", "indeterminate", []), ("2.1", "conditional", ["OTH"]), ("2.0", "conditional", ["OTH"])],
)
def test_supported_with_unknown_authorization(
    ask: Ask, version: str, authorization: str, info_needed: list[str]
) -> None:
    info = said(ask(sign(*NECK, version=version)).response, ref("20930"))
    assert one(info, "covered") == "covered"
    assert one(info, "pa-needed") == authorization
    assert values(info, "info-needed") == info_needed
    assert texts(info) == "Prior authorization: the policy does not say whether it is needed."


@pytest.mark.parametrize(("rule", "code"), [("required", "auth-needed"), ("not-required", "no-auth")])
def test_supported_takes_the_rules_prior_authorization(rule: str, code: str) -> None:
    row = crd_outcome.prior_authorization(crd_outcome.TABLE["supported"], rule)
    assert (row.covered, row.pa_needed) == ("covered", code)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("row", crd_outcome.TABLE.values(), ids=lambda r: r.id)
@pytest.mark.parametrize("rule", ["required", "not-required", "unknown"])
def test_every_row_uses_codes_of_its_version(version: crd_outcome.Version, row: crd_outcome.Row, rule: str) -> None:
    spoken = crd_outcome.in_version(crd_outcome.prior_authorization(row, rule), version)
    assert spoken.covered in CODES[version]["covered"]
    assert spoken.pa_needed is None or spoken.pa_needed in CODES[version]["pa-needed"]
    assert set(spoken.info_needed) <= CODES[version]["info-needed"]
    assert (spoken.pa_needed is None) == (spoken.covered == "not-covered")
    assert bool(spoken.info_needed) == ("conditional" in (spoken.covered, spoken.pa_needed))


@pytest.mark.crd("hook-16")
@pytest.mark.parametrize(
    ("version", "code", "info_needed"),
    [("2.2", "indeterminate", []), ("2.1", "conditional", ["OTH"]), ("2.0", "conditional", ["OTH"])],
)
def test_an_order_that_no_policy_addresses(ask: Ask, version: str, code: str, info_needed: list[str]) -> None:
    info = said(ask(sign(order("71046"), version=version)).response, ref("71046"))
    assert (one(info, "covered"), one(info, "pa-needed")) == (code, code)
    assert values(info, "info-needed") == info_needed
    assert texts(info) == "Coverage: no policy known to this service speaks to this order."


@pytest.mark.crd("resp-38", "resp-42")
def test_needed_information_is_asked_for_by_questionnaire(ask: Ask) -> None:
    info = said(ask(sign(*LUMBAR, cover=coverage("cigna"))).response, ref("20939"))
    assert faults(info, "2.2") == []
    assert one(info, "covered") == "conditional"
    assert one(info, "info-needed") == "OTH"
    assert one(info, "doc-needed") == "clinical"
    assert one(info, "doc-purpose") in ("withpa", "retain-doc")
    canonical = values(info, "questionnaire")[0]
    assert re.fullmatch(
        r"https://payer\.example\.org/Questionnaire/evicore/bone-graft-substitutes/marrow-aspirate\.[a-z0-9-]+\|.+",
        canonical,
    )
    assert "Coverage: more information is needed." in texts(info)


LUMBAR = (order("22612"), order("20937"), order("20939"))


def test_a_secondary_hook_never_asks_for_documentation(ask: Ask) -> None:
    body = sign(*LUMBAR, cover=coverage("cigna"), hook="order-select", selections=[ref("20939")])
    answer = ask(body).response
    assert list(updated(answer)) == [ref("20939")]
    info = said(answer, ref("20939"))
    assert one(info, "covered") == "conditional"
    assert one(info, "info-needed") == "OTH"
    for part in ("doc-needed", "doc-purpose", "questionnaire"):
        assert values(info, part) == []
    assert faults(info, "2.2") == []


# --- coverage and member ----------------------------------------------------------------------------


@pytest.mark.crd("resp-45")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "change",
    [{"status": "cancelled"}, {"period": {"end": "2026-10-01"}}, {"period": {"start": "2027-01-01"}}],
    ids=["cancelled", "ended", "not-begun"],
)
def test_own_coverage_that_is_not_active(ask: Ask, version: str, change: Json) -> None:
    info = said(ask(sign(*NECK, cover=coverage(**change), version=version)).response, ref("20930"))
    assert faults(info, version) == []
    assert one(info, "covered") == "not-covered"
    (reason,) = values(info, "reason")
    assert reason["text"] == "Coverage: the coverage is not in force on the day of the order."
    codes = [c["code"] for c in reason.get("coding", [])]
    assert codes == (["no-active-coverage"] if version == "2.2" else [])


def test_an_order_beyond_the_end_of_coverage_waits_for_the_next_contract(ask: Ask) -> None:
    late = order("20930", occurrenceDateTime="2098-02-01")
    info = said(ask(sign(order("22551"), late, cover=coverage(period={"end": "2097-12-31"}))).response, ref("20930"))
    assert (one(info, "covered"), one(info, "info-needed")) == ("conditional", "contract-window")
    assert faults(info, "2.2") == []


@pytest.mark.crd("resp-43", "resp-44", "resp-45")
@pytest.mark.parametrize(
    ("number", "covered", "code"),
    [
        ("DEMO-NOT-FOUND", "not-covered", "no-member-found"),
        ("DEMO-NOT-ACTIVE", "not-covered", "no-active-coverage"),
        ("DEMO-SEVERAL", "not-covered", "coverage-not-found"),
        ("DEMO-UNAVAILABLE", "indeterminate", "technical"),
    ],
)
def test_member_look_up(ask: Ask, number: str, covered: str, code: str) -> None:
    identifier = [{"system": "http://example.org/member", "value": number}]
    info = said(ask(sign(*NECK, cover=coverage(identifier=identifier))).response, ref("20930"))
    assert faults(info, "2.2") == []
    assert one(info, "covered") == covered
    (reason,) = values(info, "reason")
    assert [c["code"] for c in reason["coding"]] == [code]
    by_subscriber = ask(sign(*NECK, cover=coverage(subscriberId=number))).response
    assert one(said(by_subscriber, ref("20930")), "covered") == covered


def test_members_of_the_demo_are_found() -> None:
    from cds_service.hooks.crd_members import MemberQuery

    assert DemoMembers().find(MemberQuery("aetna", (("x", "88800933501"),))) == "found"


@pytest.mark.crd("resp-43")
@pytest.mark.parametrize(
    ("version", "code"), [("2.2", "indeterminate"), ("2.1", "conditional"), ("2.0", "conditional")]
)
def test_data_that_cannot_be_read_is_technical(ask: Ask, version: str, code: str) -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}
    marrow = order("20939", note=[{"text": "Muschler technique"}])
    whole = sign(*LUMBAR[:2], marrow, cover=coverage("cigna"), version=version)
    assert one(said(ask(whole).response, ref("20939")), "covered") == "covered"
    whole["prefetch"]["conditions"] = outcome
    info = said(ask(whole).response, ref("20939"))
    assert faults(info, version) == []
    assert (one(info, "covered"), one(info, "pa-needed")) == (code, code)
    (reason,) = values(info, "reason")
    assert reason["text"].endswith(" could not be read: conditions (the client reported an error).")
    assert [c["code"] for c in reason.get("coding", ())] == (["technical"] if version == "2.2" else [])
    assert values(info, "questionnaire") == []


@pytest.mark.parametrize(
    ("failed", "named"),
    [
        (("conditions",), "conditions"),
        (("observations",), "observations"),
        (("questionnaireResponses",), "completed questionnaires"),
        (("conditions", "observations", "questionnaireResponses"),
         "completed questionnaires, conditions and observations"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_nothing_is_asked_for_while_a_source_that_may_tell_it_cannot_be_read(
    ask: Ask, failed: tuple[str, ...], named: str
) -> None:
    before = ask(sign(*NECK)).response
    assert one(said(before, ref("22551")), "covered") == "conditional"
    assert values(said(before, ref("22551")), "questionnaire")
    spoilt = ask(sign(*NECK, prefetch=dict.fromkeys(failed, FAILED))).response
    info = said(spoilt, ref("22551"))
    assert faults(info, "2.2") == []
    assert (one(info, "covered"), one(info, "pa-needed")) == ("indeterminate", "indeterminate")
    for part in ("doc-needed", "doc-purpose", "info-needed", "questionnaire"):
        assert values(info, part) == []
    (reason,) = values(info, "reason")
    assert [c["code"] for c in reason["coding"]] == ["technical"]
    cause = "(the client reported an error)"
    assert reason["text"] == f"Coverage: data that the policy needs could not be read: {named} {cause}."
    for settled in map(ref, ("20930", "20939")):  # what does not hang on it is said as ever
        assert one(said(spoilt, settled), "covered") == one(said(before, settled), "covered")


def test_a_graft_waits_for_active_orders_that_cannot_be_read(ask: Ask) -> None:
    assert one(said(ask(sign(order("20930"))).response, ref("20930")), "covered") == "not-covered"
    info = said(ask(sign(order("20930"), prefetch={"activeOrders": FAILED})).response, ref("20930"))
    assert one(info, "covered") == "indeterminate"
    assert "could not be read: active orders (the client reported an error)." in texts(info)


@pytest.mark.crd("found-34")
def test_what_nobody_supplied_can_be_asked_for(ask: Ask) -> None:
    """No prefetch and no access: the chart will not be read another time either, a form may be filled."""
    body = sign(*NECK)
    body["prefetch"] = {"coverage": body["prefetch"]["coverage"]}
    info = said(ask(body).response, ref("22551"))
    assert (one(info, "covered"), one(info, "doc-needed")) == ("conditional", "clinical")


# --- authority --------------------------------------------------------------------------------------


EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


@pytest.mark.parametrize(
    ("conditions", "covered"),
    [
        ({**EMPTY, "total": 1, "entry": [{"fullUrl": "https://ehr.example.org/fhir/Condition/1"}]}, "indeterminate"),
        ({**EMPTY, "total": 12}, "indeterminate"),
        ({**EMPTY, "entry": "none"}, "indeterminate"),
        ({**EMPTY, "entry": [{"resource": condition("Z00.0")}, {"resource": FAILED}]}, "conditional"),
    ],
    ids=["no resource", "counted, not sent", "not a list", "an error beside"],
)
@pytest.mark.parametrize(("payer", "code"), [("medicare", "E0748"), ("aetna", "20974")])
def test_absence_is_not_concluded_from_prefetch_that_is_not_whole(
    ask: Ask, payer: str, code: str, conditions: Json, covered: str
) -> None:
    orders = (order("22612"), order(code, system=HCPCS if code[0] == "E" else CPT))
    read = ask(sign(*orders, cover=coverage(payer), prefetch={"conditions": EMPTY}))
    assert one(said(read.response, ref(code)), "covered") == "not-covered"
    spoilt = ask(sign(*orders, cover=coverage(payer), prefetch={"conditions": conditions}))
    assert one(said(spoilt.response, ref(code)), "covered") == covered


@pytest.mark.crd("found-9", "hook-13")
@pytest.mark.parametrize("version", VERSIONS)
def test_outside_demo_nothing_is_asserted_for_a_payer_that_is_not_declared(
    ask: Ask, deployment: Callable[..., Runtime], version: str
) -> None:
    body = sign(*NECK, version=version)
    answer = ask(body, deployment(unreviewed_policies="show", payers="cigna")).response
    open_ = "indeterminate" if version == "2.2" else "conditional"
    for code in ("20930", "20939"):
        info = said(answer, ref(code))
        assert faults(info, version) == []
        assert (one(info, "covered"), one(info, "pa-needed")) == (open_, open_)
        assert "does not assert coverage for this payer" in texts(info)


@pytest.mark.crd("found-9")
def test_outside_demo_nothing_is_asserted_from_a_policy_under_review(
    ask: Ask, deployment: Callable[..., Runtime]
) -> None:
    answer = ask(sign(*NECK), deployment(unreviewed_policies="show", payers="aetna")).response
    info = said(answer, ref("20939"))
    assert one(info, "covered") == "indeterminate"
    assert "under review" in texts(info)
    hidden = said(ask(sign(*NECK), deployment(payers="aetna")).response, ref("20939"))
    assert texts(hidden) == "Coverage: no policy known to this service speaks to this order."


def test_an_approved_policy_of_a_declared_payer_binds(
    ask: Ask, deployment: Callable[..., Runtime], demo: Runtime
) -> None:
    approved = replace(deployment(payers="aetna"), book=_approved(demo))
    answer = ask(sign(*NECK), approved).response
    assert one(said(answer, ref("20939")), "covered") == "not-covered"
    assert one(said(answer, ref("20930")), "covered") == "covered"


ADVANTAGE = {"coding": [{"system": "https://nahdo.org/sopt", "code": "112"}]}


@pytest.mark.parametrize(
    ("declared", "covered"),
    [("aetna", "indeterminate"), ("aetna,aetna-medicare-advantage", "not-covered")],
)
def test_what_is_asserted_of_a_plan_is_what_its_own_policies_say_if_it_is_declared_itself(
    ask: Ask, deployment: Callable[..., Runtime], demo: Runtime, declared: str, covered: str
) -> None:
    """Aetna's bulletin supports a stimulator for a slip of grade II; Medicare does not, for a single level."""
    slip = {"conditions": bundle(condition("M43.16"))}
    orders = (order("22612"), order("E0748", system=HCPCS))
    approved = replace(deployment(payers=declared), book=_approved(demo))
    commercial = said(ask(sign(*orders, prefetch=slip), approved).response, ref("E0748"))
    assert one(commercial, "covered") == "conditional"
    answer = ask(sign(*orders, prefetch=slip, cover=coverage(type=ADVANTAGE)), approved)
    assert one(said(answer.response, ref("E0748")), "covered") == covered
    assert {d.payer for o in answer.decision.orders for d in o.primary} == {"aetna-medicare-advantage"}


def _approved(demo: Runtime) -> Any:
    """The bundled policies as if a reviewer had approved each."""
    rulebook = demo.book.rulebook
    versions = []
    for compiled in rulebook.versions:
        review = compiled.version.review.model_copy(update={"status": "approved"})
        version = compiled.version.model_copy(update={"review": review})
        versions.append(replace(compiled, version=version))
    return replace(demo.book, rulebook=replace(rulebook, versions=tuple(versions)))


# --- authorised orders ------------------------------------------------------------------------------

GRANTED = {
    "resourceType": "ClaimResponse", "id": "pa-1", "status": "active", "use": "preauthorization", "outcome": "complete",
    "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/claim-type", "code": "professional"}]},
    "patient": {"reference": "Patient/crd-patient-1"}, "created": "2026-10-01",
    "insurer": {"display": "Aetna"}, "preAuthRef": "PA-77",
    "preAuthPeriod": {"start": "2026-10-01", "end": "2099-01-31"},
}  # fmt: skip


@pytest.mark.crd("conf-13")
@pytest.mark.parametrize("version", VERSIONS)
def test_an_authorised_order_is_satisfied_with_its_number(ask: Ask, version: str) -> None:
    marrow = order("20939", insurance=[{"reference": "ClaimResponse/pa-1"}, {"reference": "Coverage/cov-1"}])
    body = sign(*FUSION, marrow, version=version, prefetch={"authorizations": GRANTED})
    info = said(ask(body).response, ref("20939"))
    assert faults(info, version) == []
    assert (one(info, "covered"), one(info, "pa-needed")) == ("covered", "satisfied")
    assert one(info, "satisfied-pa-id") == "PA-77"
    assert values(info, "expiry-date") == (["2099-01-31"] if version != "2.0" else [])


def test_an_authorisation_that_the_order_carries_is_not_sent_back(ask: Ask) -> None:
    marrow = order("20939")
    carried = ask(sign(*FUSION, order("20939", insurance=[{"reference": "ClaimResponse/pa-1"}]),
                       prefetch={"authorizations": GRANTED})).response  # fmt: skip
    marrow["extension"] = infos(updated(carried)[ref("20939")])
    again = ask(sign(*FUSION, marrow)).response
    assert ref("20939") not in updated(again)


def test_an_authorisation_under_another_coverage_counts_for_nothing(ask: Ask) -> None:
    carried = ask(sign(*FUSION, order("20939", insurance=[{"reference": "ClaimResponse/pa-1"}]),
                       prefetch={"authorizations": GRANTED}, cover=coverage(own="other"))).response  # fmt: skip
    marrow = order("20939", extension=infos(updated(carried)[ref("20939")]))
    resource = updated(ask(sign(*FUSION, marrow)).response)[ref("20939")]
    foreign, mine = infos(resource)
    assert foreign == marrow["extension"][0]
    assert one(mine, "covered") == "not-covered"


# --- expiry, ids, repetitions -----------------------------------------------------------------------


@pytest.mark.parametrize(("version", "expected"), [("2.2", ["2098-12-31"]), ("2.1", ["2098-12-31"]), ("2.0", [])])
def test_expiry_follows_the_coverage(ask: Ask, version: str, expected: list[str]) -> None:
    body = sign(*NECK, cover=coverage(period={"start": "2020-01-01", "end": "2098-12-31"}), version=version)
    assert values(said(ask(body).response, ref("20930")), "expiry-date") == expected


def test_assertion_ids_are_apart_and_lead_back_to_the_record(ask: Ask) -> None:
    done = ask(sign(*NECK))
    ids = [one(infos(r)[0], "coverage-assertion-id") for r in updated(done.response).values()]
    assert len(set(ids)) == len(NECK)
    assert {record_of(i) for i in ids} == {done.record_id}
    assert [family_of(i) for i in ids] == ids


def test_a_new_assertion_on_the_same_order_stays_in_its_family(ask: Ask) -> None:
    first = ask(sign(*NECK))
    before = infos(updated(first.response)[ref("20930")])
    body = sign(*FUSION, order("20939"), order("20930", extension=before), cover=coverage(status="cancelled"))
    second = ask(body)
    info = said(second.response, ref("20930"))
    made = one(info, "coverage-assertion-id")
    assert record_of(made) == second.record_id != first.record_id
    assert family_of(made) == one(before[0], "coverage-assertion-id")
    assert one(info, "covered") == "not-covered"


def test_ids_of_others_found_no_family() -> None:
    assert family_of("12345ABC") is None
    assert family_of("x" * 5000) is None
    assert record_of("../../etc") is None


@pytest.mark.crd("billopt-3", "covinfo-1", "resp-33")
@pytest.mark.parametrize("version", VERSIONS)
def test_billing_options_split_the_answer(ask: Ask, version: str) -> None:
    options = [
        {"url": BILLING, "valueCodeableConcept": {"coding": [{"system": CPT, "code": c}]}}
        for c in ("20930", "20936", "20939")
    ]
    concept = {"coding": [{"system": "http://ehr.example.org/codes", "code": "GRAFT"}], "extension": options}
    graft = order("x", "o-graft") | {"code": concept}
    resource = updated(ask(sign(*FUSION, graft, version=version)).response)["ServiceRequest/o-graft"]
    found = infos(resource)
    by_codes = {tuple(c["code"] for c in values(i, "billingCode")): one(i, "covered") for i in found}
    assert by_codes == {("20930",): "covered", ("20936",): "covered", ("20939",): "not-covered"} or by_codes == {
        ("20930", "20936"): "covered",
        ("20939",): "not-covered",
    }
    billed = [c["code"] for i in found for c in values(i, "billingCode")]
    assert sorted(billed) == ["20930", "20936", "20939"]
    assert len({one(i, "coverage-assertion-id") for i in found}) == 1
    assert [faults(i, version) for i in found] == [[] for _ in found]


@pytest.mark.crd("billopt-3")
def test_billing_options_that_agree_make_one_assertion(ask: Ask) -> None:
    options = [
        {"url": BILLING, "valueCodeableConcept": {"coding": [{"system": CPT, "code": c}]}} for c in ("71045", "71046")
    ]
    image = order("x", "o-image") | {"code": {"text": "Chest film", "extension": options}}
    info = said(ask(sign(image)).response, "ServiceRequest/o-image")
    assert [c["code"] for c in values(info, "billingCode")] == ["71045", "71046"]


SPELLINGS = [
    (HCPCS, "E0748"),
    ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "E0748"),
    ("urn:oid:2.16.840.1.113883.6.285", "E0748"),
    ("urn:oid:2.16.840.1.113883.6.12", "20939"),
    (CPT, "20939-59"),
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids="|".join)
def test_billing_codes_come_back_as_the_client_writes_them(ask: Ask, spelling: tuple[str, str]) -> None:
    system, code = spelling
    given = order(code, "o-one", system)
    assert one(said(ask(sign(given)).response, "ServiceRequest/o-one"), "billingCode") == _coding(spelling)
    option = {"url": BILLING, "valueCodeableConcept": {"coding": [_coding(spelling)]}}
    concept = {"coding": [{"system": "http://ehr.example.org/codes", "code": "LOCAL"}], "extension": [option]}
    info = said(ask(sign(order("x", "o-one") | {"code": concept})).response, "ServiceRequest/o-one")
    assert one(info, "billingCode") == _coding(spelling)


def _coding(spelling: tuple[str, str]) -> Json:
    return {"system": spelling[0], "code": spelling[1]}


def test_of_codings_that_mean_the_same_the_first_comes_back(ask: Ask) -> None:
    given = order("20939") | {"code": {"coding": [_coding(s) for s in (*SPELLINGS[3:], *SPELLINGS[:3])]}}
    assert values(said(ask(sign(given)).response, ref("20939")), "billingCode") == [
        _coding(SPELLINGS[3]),
        _coding(SPELLINGS[0]),
    ]


def test_the_code_of_a_device_comes_back_as_the_device_has_it(ask: Ask) -> None:
    device = {"resourceType": "Device", "id": "d", "type": {"coding": [_coding(SPELLINGS[1])]}}
    given = {k: v for k, v in order("x", "o-one").items() if k != "code"}
    given |= {"resourceType": "DeviceRequest", "codeReference": {"reference": "Device/d"}}
    info = said(ask(sign(given, prefetch={"devices": bundle(device)})).response, "DeviceRequest/o-one")
    assert one(info, "billingCode") == _coding(SPELLINGS[1])


def test_a_code_that_the_client_does_not_write_has_its_own_system(ask: Ask) -> None:
    local = Code("http://ehr.example.org/codes", "LOCAL")
    caller = Caller("tester", local_codes={local: Code("cpt", "20939")})
    given = order("LOCAL", "o-one", local.system)
    info = said(ask(sign(given), caller=caller).response, "ServiceRequest/o-one")
    assert one(info, "billingCode") == {"system": CPT, "code": "20939"}


@pytest.mark.crd("billopt-2")
def test_no_billing_option_is_needed(ask: Ask) -> None:
    assert one(said(ask(sign(*NECK)).response, ref("20939")), "covered") == "not-covered"


def test_the_invariants_can_fail() -> None:
    wrong = {
        "url": "x",
        "extension": [{"url": "covered", "valueCode": "not-covered"}, {"url": "pa-needed", "valueCode": "satisfied"}],
    }
    assert {"crd-ci-q2", "crd-ci-q5"} <= set(faults(wrong, "2.2"))
    assert not holds("extension.where(url='covered').value = 'covered'", wrong)


def test_conditions_count_for_an_order(ask: Ask) -> None:
    tumour = condition("C41.2")
    info = said(
        ask(sign(*LUMBAR, cover=coverage("cigna"), prefetch={"conditions": bundle_of(tumour)})).response, ref("20939")
    )
    assert one(info, "covered") == "not-covered"


def bundle_of(*resources: Json) -> Json:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources]}


@pytest.mark.crd("conf-2")
@pytest.mark.parametrize("us_core", ["3.1.1", "6.1.0", "7.0.0"])
def test_charts_of_each_us_core_version_say_the_same(ask: Ask, us_core: str) -> None:
    """What differs between the versions (profiles, categories, sex, reasons) changes nothing that is read."""
    base = "http://hl7.org/fhir/us/core/StructureDefinition"
    tumour = {**condition("C41.2"), "meta": {"profile": [f"{base}/us-core-condition|{us_core}"]}}
    if us_core != "3.1.1":
        tumour["meta"] = {"profile": [f"{base}/us-core-condition-problems-health-concerns|{us_core}"]}
        category = "http://terminology.hl7.org/CodeSystem/condition-category"
        tumour["category"] = [{"coding": [{"system": category, "code": "problem-list-item"}]}]
    person = patient(meta={"profile": [f"{base}/us-core-patient|{us_core}"]})
    person["extension"] = [{"url": f"{base}/us-core-sex", "valueCode": "248152002"}]
    prefetch = {"conditions": bundle_of(tumour), "patient": person}
    info = said(ask(sign(*LUMBAR, cover=coverage("cigna"), prefetch=prefetch)).response, ref("20939"))
    assert one(info, "covered") == "not-covered"
