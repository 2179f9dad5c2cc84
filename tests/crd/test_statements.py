"""One statement of the guide a test: each fails when that statement, and as far as possible no other, is broken.

What breaks them is in mutations.yaml; `benchmarks/crd_mutations.py` tries it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from crd_support import (
    CPT,
    HERE,
    INVARIANTS,
    REQUESTER,
    SUBJECT,
    bundle,
    condition,
    coverage,
    faults,
    holds,
    infos,
    one,
    order,
    said,
    sign,
    texts,
    updated,
    values,
)
from test_inferno import HOOKS, body, in_focus
from test_service import OTHERS
from test_words import PAIN, PAYERS, requests_of, section

from cds_service.facts import validity
from cds_service.hooks.answer import Answer
from cds_service.hooks.crd_services import CRD_SERVICES, PREFETCH
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.case import Code

Json = dict[str, Any]
Ask = Callable[..., Answer]
NO_GRAFT = (order("22551"), order("20939"))
BMP = order("20930", note=[{"text": "Use rhBMP-2"}])
LUMBAR = (order("22612"), order("20937"), order("20939"))
BASE = "https://payer.example.org"


def card(ask: Ask, topic: str, *orders: Json, **parts: Any) -> Json:
    """The first card of a topic."""
    found: Json = next(
        c for c in ask(sign(*orders, **parts)).response["cards"] if c["source"]["topic"]["code"] == topic
    )
    return found


def every_card(ask: Ask) -> Iterator[Json]:
    """Cards of all types."""
    twins = (order("22551"), order("22845", "one"), order("22845", "two"))
    repeated = (order("22551"), order("20939"), order("20930", "o-22551"))
    for payer in ("aetna", "medicare"):
        for orders in (NO_GRAFT, (order("22551"), BMP), twins, repeated, (order("72148"),)):
            yield from ask(sign(*orders, cover=coverage(payer), prefetch={"conditions": PAIN})).response["cards"]


# --- data -------------------------------------------------------------------------------------------


@pytest.mark.crd("conf-4")
def test_the_period_of_the_coverage_bears_on_the_answer(ask: Ask) -> None:
    ended = coverage(period={"end": "2020-01-01"})
    assert (
        one(said(ask(sign(*NO_GRAFT, BMP, cover=ended)).response, "ServiceRequest/o-22551"), "covered") == "not-covered"
    )
    assert one(said(ask(sign(*NO_GRAFT, BMP)).response, "ServiceRequest/o-22551"), "covered") == "conditional"


def only_coverage(*orders: Json) -> Json:
    made = sign(*orders)
    made["prefetch"] = {"coverage": bundle(coverage())}
    return made


@pytest.mark.crd("conf-7")
def test_no_resource_but_the_coverage_is_needed(ask: Ask) -> None:
    assert one(said(ask(only_coverage(*NO_GRAFT)).response, "ServiceRequest/o-20939"), "covered") == "not-covered"


@pytest.mark.crd("conf-8")
@pytest.mark.parametrize("kind", OTHERS)
def test_no_element_of_an_order_but_the_mandatory_is_needed(ask: Ask, kind: str) -> None:
    assert list(updated(ask(sign(OTHERS[kind])).response)) == [f"{kind}/one"]
    assert one(said(ask(sign(*NO_GRAFT)).response, "ServiceRequest/o-20939"), "covered") == "not-covered"


@pytest.mark.crd("conf-12")
def test_a_coverage_without_its_optional_elements_is_no_error(ask: Ask) -> None:
    bare = coverage()
    assert set(bare) == {"resourceType", "id", "status", "beneficiary", "payor"}
    assert list(updated(ask(sign(order("20939"), cover=bare)).response)) == ["ServiceRequest/o-20939"]


@pytest.mark.crd("hook-22")
@pytest.mark.parametrize("kind", OTHERS)
def test_without_anything_else_every_type_of_order_gets_a_valid_assertion(ask: Ask, kind: str) -> None:
    (info,) = infos(updated(ask(only_coverage(OTHERS[kind])).response)[f"{kind}/one"])
    assert faults(info, "2.2") == []


@pytest.mark.crd("conf-9")
def test_guidelines_read_no_more_than_coverage_information_may(ask: Ask) -> None:
    """The card on imaging follows from the order and the Conditions of the prefetch alone."""
    recent = condition("M54.50") | {"onsetDateTime": "2026-10-25"}
    made = only_coverage(order("72148"))
    made["prefetch"]["conditions"] = bundle(recent)
    (found,) = ask(made).response["cards"]
    assert found["source"]["topic"]["code"] == "off-guideline"


@pytest.mark.crd("found-24")
def test_what_prefetch_brings_is_read(ask: Ask) -> None:
    tumour = {"conditions": bundle(condition("C41.2"))}
    covered = [
        one(said(ask(sign(*LUMBAR, cover=coverage("cigna"), prefetch=p)).response, "ServiceRequest/o-20939"), "covered")
        for p in ({}, tumour)
    ]
    assert covered == ["conditional", "not-covered"]


@pytest.mark.crd("found-29")
@pytest.mark.parametrize("hook", HOOKS)
def test_prefetch_is_written_as_in_the_standard(hook: str) -> None:
    standard = yaml.safe_load((HERE / "standard_prefetch.yaml").read_text(encoding="utf-8"))
    assert dict(PREFETCH[hook]) == standard[hook]


@pytest.mark.crd("found-26", "found-27", "found-28")
@pytest.mark.parametrize("hook", HOOKS)
def test_prefetch_asks_for_what_every_call_needs_and_no_more(hook: str) -> None:
    """Not for the chart: which parts of it are read depends on the policies that speak to the orders."""
    assert {"patient", "coverage"} <= set(PREFETCH[hook])
    assert not {"conditions", "procedures", "observations", "activeOrders"} & set(PREFETCH[hook])


@pytest.mark.crd("found-33")
def test_elements_that_fhir_does_not_have_are_ignored(ask: Ask) -> None:
    strange = order("20939", unknownElement={"a": 1})
    assert one(said(ask(sign(order("22551"), strange)).response, "ServiceRequest/o-20939"), "covered") == "not-covered"


@pytest.mark.crd("hook-23")
@pytest.mark.parametrize("hook", HOOKS)
def test_context_that_the_hook_does_not_have_is_ignored(ask: Ask, hook: str) -> None:
    given = body(hook)
    given["context"]["novelty"] = {"x": [1]}
    assert list(updated(ask(given).response)) == list(in_focus(given))


@pytest.mark.crd("dev-17")
def test_options_that_are_not_offered_are_ignored(ask: Ask) -> None:
    options = {"unsolicited-determ": False, "no-such-option": 7}
    plain, given = (ask(sign(*NO_GRAFT, configuration=c)).response for c in (None, options))
    assert (list(updated(given)), len(given["cards"])) == (list(updated(plain)), len(plain["cards"]))


@pytest.mark.crd("found-10")
@pytest.mark.parametrize(
    ("system", "code"), [(CPT, "20939"), ("urn:oid:2.16.840.1.113883.6.12", "20939"), (CPT, "20939-59")]
)
def test_spellings_of_a_code_get_the_same_answer(ask: Ask, system: str, code: str) -> None:
    given = order(code, "o-one", system)
    assert one(said(ask(sign(order("22551"), given)).response, "ServiceRequest/o-one"), "covered") == "not-covered"


# --- discovery --------------------------------------------------------------------------------------


@pytest.mark.crd("dev-2")
def test_the_versions_declared_are_those_served(ask: Ask) -> None:
    for service in CRD_SERVICES:
        assert service.extension is not None
        assert service.extension["davinci-crd.version"] == ["2.0", "2.1", "2.2"]
    for version in ("2.0", "2.1", "2.2"):
        (info,) = infos(updated(ask(sign(order("71046"), version=version)).response)["ServiceRequest/o-71046"])
        assert faults(info, version) == []


@pytest.fixture(scope="module")
def options() -> dict[str, list[Json]]:
    found = {s.hook: s.extension for s in CRD_SERVICES}
    return {h: e["davinci-crd.configuration-options"] for h, e in found.items() if e}


@pytest.mark.crd("dev-4")
def test_options_have_all_their_parts(options: dict[str, list[Json]]) -> None:
    kinds = {"boolean": bool, "integer": int}
    for option in (o for every in options.values() for o in every):
        assert set(option) == {"code", "type", "name", "description", "default"}
        assert type(option["default"]) is kinds[option["type"]]


@pytest.mark.crd("dev-7")
def test_codes_of_options_are_the_guides(options: dict[str, list[Json]]) -> None:
    guide = {"coverage-info", "therapy-alternatives-opt", "guideline", "off-guideline", "contraindication", "claim"}
    codes = {o["code"] for every in options.values() for o in every}
    assert codes == guide | {"not-checked", "max-cards"}  # the guide has no code for these two
    assert all(re.fullmatch(r"[a-z-]+", c) for c in codes)


@pytest.mark.crd("dev-8")
def test_options_of_a_service_are_unique(options: dict[str, list[Json]]) -> None:
    for every in options.values():
        for name in ("code", "name", "description"):
            assert len({o[name] for o in every}) == len(every)


@pytest.mark.crd("dev-9")
def test_options_are_the_same_across_hooks(options: dict[str, list[Json]]) -> None:
    seen: dict[str, Json] = {}
    for option in (o for every in options.values() for o in every):
        assert seen.setdefault(option["code"], option) == option


@pytest.mark.crd("dev-10")
@pytest.mark.parametrize("hook", HOOKS)
def test_clients_may_choose_at_every_hook(options: dict[str, list[Json]], hook: str) -> None:
    assert {"coverage-info", "not-checked", "max-cards"} <= {o["code"] for o in options[hook]}


@pytest.mark.crd("dev-5")
def test_every_topic_of_a_card_can_be_switched_off(ask: Ask, options: dict[str, list[Json]]) -> None:
    found = {c["source"]["topic"]["code"] for c in every_card(ask)}
    assert len(found) == 6
    assert found <= {o["code"] for o in options["order-sign"] if o["type"] == "boolean"}
    for topic in found:
        twins = (order("22845", "one"), order("22845", "two"))
        for orders in (NO_GRAFT, (order("22551"), BMP, *twins), (order("72148"),)):
            made = sign(*orders, configuration={topic: False}, prefetch={"conditions": PAIN})
            assert topic not in {c["source"]["topic"]["code"] for c in ask(made).response["cards"]}


@pytest.mark.crd("found-15")
def test_one_service_a_hook_answers_for_all_payers(ask: Ask, demo: Runtime) -> None:
    crd = [s for s in demo.services.values() if s.group == "crd"]
    assert sorted(s.hook for s in crd) == sorted(HOOKS)
    for payer in PAYERS:
        assert list(updated(ask(sign(order("20939"), cover=coverage(payer))).response)) == ["ServiceRequest/o-20939"]


# --- coverage information ---------------------------------------------------------------------------


@pytest.mark.crd("covinfo-2")
@pytest.mark.parametrize("payer", PAYERS)
def test_every_reason_says_which_aspect_it_is_about(ask: Ask, demo: Runtime, payer: str) -> None:
    for orders in requests_of(demo):
        for resource in updated(ask(sign(*orders, cover=coverage(payer))).response).values():
            found = [r["text"].partition(": ")[0] for info in infos(resource) for r in values(info, "reason")]
            assert set(found) <= {"Coverage", "Prior authorization"}
            assert len(set(found)) == len(found)


@pytest.mark.crd("hook-30")
def test_at_dispatch_only_dispatched_orders_are_spoken_of_and_the_chart_is_considered(ask: Ask) -> None:
    given = body("order-dispatch", activeOrders=None)
    given["context"]["dispatchedOrders"] = ["ServiceRequest/o-20930"]
    alone = ask(given).response
    assert list(updated(alone)) == ["ServiceRequest/o-20930"]
    fusion = order("22551", "fusion", status="active")
    beside = ask(body("order-dispatch", activeOrders=bundle(fusion)) | {"context": given["context"]}).response
    assert list(updated(beside)) == ["ServiceRequest/o-20930"]
    covered = [one(said(a, "ServiceRequest/o-20930"), "covered") for a in (alone, beside)]
    assert covered == ["not-covered", "covered"]


@pytest.mark.crd("impl-5")
def test_the_code_that_an_answer_assumes_is_told(ask: Ask) -> None:
    """A local code is taken for CPT by the client's table; nothing is assumed of network or place."""
    local = Code("http://ehr.example.org/codes", "LOCAL")
    caller = Caller("tester", local_codes={local: Code("cpt", "20939")})
    info = said(
        ask(sign(order("22551"), order("LOCAL", "o-one", local.system)), caller=caller).response, "ServiceRequest/o-one"
    )
    assert one(info, "billingCode") == {"system": CPT, "code": "20939"}
    assert not re.search("network|facility|place of", texts(info))


@pytest.mark.crd("resp-32")
def test_assertions_about_different_coverages_have_different_ids(ask: Ask) -> None:
    first = infos(updated(ask(sign(*NO_GRAFT, cover=coverage(own="other"))).response)["ServiceRequest/o-20939"])
    carrying = order("20939", extension=first)
    both = infos(updated(ask(sign(order("22551"), carrying)).response)["ServiceRequest/o-20939"])
    assert [one(i, "coverage")["reference"] for i in both] == ["Coverage/other", "Coverage/cov-1"]
    ids = [one(i, "coverage-assertion-id") for i in both]
    assert ids[0] not in ids[1]


@pytest.mark.crd("resp-29")
def test_each_order_in_scope_gets_one_action(ask: Ask) -> None:
    orders = (*NO_GRAFT, order("71046"), order("72148"))
    actions = ask(sign(*orders)).response["systemActions"]
    assert [a["resource"]["id"] for a in actions] == [o["id"] for o in orders]


@pytest.mark.crd("resp-47")
@pytest.mark.parametrize("kind", OTHERS)
def test_orders_come_back_as_valid_as_they_came(ask: Ask, kind: str) -> None:
    back = updated(ask(sign(OTHERS[kind])).response)[f"{kind}/one"]
    assert validity.problems(back) == []
    assert set(OTHERS[kind]) <= set(back)


@pytest.mark.crd("resp-48")
@pytest.mark.parametrize("hook", HOOKS)
def test_the_annotation_is_an_update_without_anybodys_doing(ask: Ask, hook: str) -> None:
    assert {a["type"] for a in ask(body(hook)).response["systemActions"]} == {"update"}


@pytest.mark.crd("resp-14")
def test_coverage_information_is_what_the_update_brings(ask: Ask) -> None:
    (action,) = ask(sign(order("71046"))).response["systemActions"]
    (info,) = infos(action["resource"])
    assert one(info, "coverage") == {"reference": "Coverage/cov-1"}


@pytest.mark.crd("resp-52")
def test_actions_follow_the_model_of_coverage_information(ask: Ask) -> None:
    for action in ask(sign(*NO_GRAFT, order("71046"))).response["systemActions"]:
        assert set(action) == {"type", "description", "resource"}
        assert holds(INVARIANTS["response"]["crd-respci1"], action["resource"])


@pytest.mark.crd("resp-28")
@pytest.mark.parametrize("hook", HOOKS)
def test_coverage_information_comes_at_every_hook_unless_it_is_switched_off(ask: Ask, hook: str) -> None:
    assert updated(ask(body(hook)).response)
    off = body(hook)
    off["extension"]["davinci-crd.configuration"] = {"coverage-info": False}
    assert ask(off).response.get("systemActions", []) == []


@pytest.mark.crd("resp-51")
def test_the_operation_that_a_graft_belongs_to_is_inferred(ask: Ask) -> None:
    info = said(ask(sign(*NO_GRAFT)).response, "ServiceRequest/o-20939")
    assert one(info, "dependency") == {"reference": "ServiceRequest/o-22551"}


# --- cards ------------------------------------------------------------------------------------------


@pytest.mark.crd("dev-25")
def test_cards_carry_their_orders(ask: Ask) -> None:
    found = card(ask, "therapy-alternatives-opt", *NO_GRAFT)
    assert found["extension"]["davinci-crd.associated-resource"] == [{"reference": "ServiceRequest/o-20939"}]


@pytest.mark.crd("resp-2")
def test_most_cards_are_information(ask: Ask) -> None:
    found = [c["indicator"] for c in every_card(ask)]
    assert found.count("info") > len(found) * 2 / 3


@pytest.mark.crd("resp-4")
@pytest.mark.parametrize(("payer", "label"), [("aetna", "Aetna"), ("cigna", "Cigna"), ("medicare", "Medicare")])
def test_cards_are_labelled_with_the_insurer(ask: Ask, payer: str, label: str) -> None:
    cards = ask(sign(*NO_GRAFT, cover=coverage(payer))).response["cards"]
    assert cards
    assert {c["source"]["label"] for c in cards} == {label}


@pytest.mark.crd("resp-5")
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_topics_are_of_the_guides_value_set(ask: Ask, version: str) -> None:
    old, new = (
        "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp",
        "http://terminology.hl7.org/CodeSystem/cdshooks-card-type",
    )
    found = card(ask, "therapy-alternatives-opt", *NO_GRAFT, version=version)
    assert found["source"]["topic"] == {
        "system": new if version == "2.2" else old,
        "code": "therapy-alternatives-opt",
        "display": "Optional Therapy Alternatives",
    }


@pytest.mark.crd("resp-6")
def test_the_summary_says_what_to_do(ask: Ask) -> None:
    summary = card(ask, "therapy-alternatives-opt", *NO_GRAFT)["summary"]
    assert summary.startswith("Covered instead of bone marrow aspirate (20939): ")
    assert "(20930)" in summary


@pytest.mark.crd("resp-7")
def test_the_detail_does_not_repeat_the_summary(ask: Ask) -> None:
    for found in every_card(ask):
        assert found["summary"] not in html.unescape(found["detail"])


@pytest.mark.crd("resp-8")
def test_the_detail_begins_with_why_and_ends_with_where_it_is_from(ask: Ask) -> None:
    paragraphs = card(ask, "guideline", *NO_GRAFT, cover=coverage("medicare"))["detail"].split("\n\n")
    assert paragraphs[0].startswith("**Why:** ")
    assert paragraphs[1].startswith("**About")
    assert paragraphs[-2].startswith("Policy: ")
    assert paragraphs[-1] == "Decision support, not a coverage decision."


@pytest.mark.crd("resp-9")
def test_beside_a_link_the_detail_says_what_is_found_there(ask: Ask) -> None:
    for found in every_card(ask):
        if found.get("links"):
            assert re.search(r"Policy: .+, version .+", html.unescape(found["detail"]))
            assert all(link["label"] for link in found["links"])


@pytest.mark.crd("resp-13")
def test_every_card_follows_the_base_model(ask: Ask) -> None:
    for found in every_card(ask):
        assert {"uuid", "summary", "indicator", "source", "extension"} <= set(found)
        assert {"label", "topic"} <= set(found["source"])


@pytest.mark.crd("resp-17")
def test_links_of_references_lead_to_documents_alone(ask: Ask, demo: Runtime) -> None:
    """No portal: what is linked is a policy's address, a source's, or the explanation of this service."""
    known = {v.policy.url for v in demo.book.rulebook.versions}
    known |= {s.url for v in demo.book.rulebook.versions for s in v.version.sources.values()}
    found = [link["url"] for c in every_card(ask) for link in c.get("links", ())]
    assert found
    assert all(url in known or url.startswith(f"{BASE}/explanations/") for url in found)


@pytest.mark.crd("resp-23")
def test_instructions_lead_nowhere(ask: Ask) -> None:
    found = [c for c in every_card(ask) if "links" not in c and "suggestions" not in c]
    assert found
    assert not [c for c in found if "http" in html.unescape(c["detail"]) or "](" in c["detail"]]


@pytest.mark.crd("resp-18")
@pytest.mark.parametrize("payer", ["medicare", "aetna"])
def test_references_have_a_link(ask: Ask, payer: str) -> None:
    for orders in (NO_GRAFT, (order("72148"),)):
        for found in ask(sign(*orders, cover=coverage(payer), prefetch={"conditions": PAIN})).response["cards"]:
            if found["source"]["topic"]["code"] in ("guideline", "off-guideline", "contraindication"):
                assert found["links"]


@pytest.mark.crd("resp-19")
def test_links_are_absolute(ask: Ask) -> None:
    assert {link["type"] for c in every_card(ask) for link in c.get("links", ())} == {"absolute"}


@pytest.mark.crd("resp-20")
def test_a_reference_says_what_the_guideline_says(ask: Ask) -> None:
    recent = {"conditions": bundle(condition("M54.50") | {"onsetDateTime": "2026-10-25"})}
    found = card(ask, "off-guideline", order("72148"), prefetch=recent)
    assert found["detail"].startswith("**Why:** No imaging for low back pain in the first six weeks unless a red flag")


@pytest.mark.crd("resp-21")
def test_links_are_deep(ask: Ask, demo: Runtime) -> None:
    from cds_service.policy.lint import is_deep

    urls = {v.policy.url for v in demo.book.rulebook.versions if v.policy.url}
    urls |= {s.url for v in demo.book.rulebook.versions for s in v.version.sources.values() if s.url}
    urls |= {link["url"] for c in every_card(ask) for link in c.get("links", ())}
    assert [u for u in urls if not is_deep(u)] == []
    for shallow in ("https://www.example.org", "https://example.org/", "https://example.org/search.aspx"):
        assert not is_deep(shallow)


@pytest.mark.crd("resp-22")
def test_references_follow_their_model(ask: Ask) -> None:
    for topic in ("guideline", "contraindication"):
        orders = NO_GRAFT if topic == "guideline" else (order("22551"), BMP)
        found = card(ask, topic, *orders, cover=coverage("medicare" if topic == "guideline" else "aetna"))
        assert found["links"]
        assert "suggestions" not in found
        assert all({"label", "url", "type"} == set(link) for link in found["links"])


@pytest.mark.crd("resp-24")
def test_instructions_follow_their_model(ask: Ask) -> None:
    found = card(ask, "not-checked", order("22551"), order("20939"), order("20930", "o-22551"))
    assert not {"links", "suggestions", "selectionBehavior"} & set(found)


@pytest.mark.crd("resp-56")
def test_alternate_requests_follow_their_model(ask: Ask) -> None:
    found = card(ask, "therapy-alternatives-opt", *NO_GRAFT)
    assert found["suggestions"]
    assert "links" not in found
    for suggestion in found["suggestions"]:
        assert holds(INVARIANTS["response"]["crd-respar-1"], suggestion)


@pytest.mark.crd("resp-3")
def test_suggestions_have_ids_of_their_own(ask: Ask) -> None:
    found = [s["uuid"] for s in card(ask, "therapy-alternatives-opt", *NO_GRAFT)["suggestions"]]
    assert len(set(found)) == len(found) > 1


@pytest.mark.crd("resp-53", "resp-54")
def test_an_alternative_is_one_deletion_and_one_creation(ask: Ask) -> None:
    """Another code is another order: nothing said of the first holds for it."""
    for suggestion in card(ask, "therapy-alternatives-opt", *NO_GRAFT)["suggestions"]:
        assert [a["type"] for a in suggestion["actions"]] == ["delete", "create"]


@pytest.mark.crd("resp-55")
def test_proposed_orders_have_all_that_the_profile_demands(ask: Ask) -> None:
    for suggestion in card(ask, "therapy-alternatives-opt", *NO_GRAFT)["suggestions"]:
        created = suggestion["actions"][1]["resource"]
        assert {"status", "intent", "code", "subject", "authoredOn", "requester"} <= set(created)
        assert created["requester"] == REQUESTER
        assert created["subject"] == SUBJECT
        assert validity.problems(created) == []


@pytest.mark.crd("resp-25")
def test_no_card_passes_for_coverage_information(ask: Ask) -> None:
    assert "coverage-info" not in {c["source"]["topic"]["code"] for c in every_card(ask)}
    asked = ask(sign(*LUMBAR, cover=coverage("cigna"))).response
    assert not any("information is needed" in c["summary"] for c in asked["cards"])


@pytest.mark.crd("dev-24")
def test_a_card_about_one_of_several_orders_names_it(ask: Ask) -> None:
    found = card(ask, "contraindication", order("22551"), order("72148"), BMP)
    assert section(found["detail"]) == "**About:** Bone morphogenetic protein (20930)"
