"""Every story of `fhir_fixtures/`: sound FHIR, prefetch as our templates fill it, the expected answer, fixed point."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from fhir.resources.R4B import get_fhir_model_class
from support.paths import ROOT, STORIES
from support.service import Service
from support.stories import EHR, SEED, Story, applied, determined, outline, stories, story, warned_codes, without_ids

from cds_service.cli import cli

Json = dict[str, Any]
ALL = stories()
WITH_DRAFTS = [s for s in ALL if "draftOrders" in s.request["context"]]
WANTED = {
    "cervical-fusion-authorised", "cervical-fusion", "lumbar-fusion-hydroxyapatite", "lumbar-fusion-aetna",
    "laminotomy-no-fusion", "ungoverned", "marrow-only-graft", "conditions-entered-in-error", "no-coverage",
    "unsigned-orders", "low-back-imaging", "cpap-mild-apnea", "home-oxygen", "zoster-second-dose",
    "infliximab-biosimilar-first",
}  # fmt: skip


@pytest.fixture(scope="module")
def offered(service: Service) -> dict[str, Json]:
    return {s["id"]: s for s in service.get("/cds-services").json()["services"]}


@pytest.fixture(params=ALL, ids=lambda s: s.name)
def told(request: pytest.FixtureRequest) -> Story:
    found: Story = request.param
    return found


def test_all_stories_are_there_and_told_in_the_readme() -> None:
    readme = (STORIES / "README.md").read_text(encoding="utf-8")
    assert {s.name for s in ALL} >= WANTED
    for each in ALL:
        assert f"`{each.name}`" in readme
        assert {"service"} <= each.expected.keys()
    assert len({s.request["hookInstance"] for s in ALL}) == len(ALL)


def _drafts(request: Json) -> list[Json]:
    return [e["resource"] for e in request["context"].get("draftOrders", {}).get("entry", ())]


@pytest.mark.parametrize("each", ALL, ids=lambda s: s.name)
def test_every_resource_is_valid_r4(each: Story) -> None:
    request = each.request
    for resource in [*each.chart(), *_drafts(request), *request["prefetch"].values()]:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    if "draftOrders" in request["context"]:
        get_fhir_model_class("Bundle").model_validate(request["context"]["draftOrders"])


@pytest.mark.parametrize("each", ALL, ids=lambda s: s.name)
def test_every_reference_leads_somewhere(each: Story) -> None:
    known = {f"{r['resourceType']}/{r['id']}" for r in [*each.chart(), *_drafts(each.request)]}
    used = set(re.findall(r'"reference": "([^"]+)"', json.dumps([*each.chart(), each.request])))
    assert used <= known


def test_ids_are_not_used_twice_across_stories() -> None:
    """The demo FHIR server shows all charts at once. Only what is the same everywhere may be repeated."""
    seen: dict[str, Json] = {}
    owners: dict[str, str] = {}
    for each in ALL:
        for resource in [*each.chart(), *_drafts(each.request)]:
            ref = f"{resource['resourceType']}/{resource['id']}"
            if resource["resourceType"] in ("Practitioner", "Organization"):
                assert seen.setdefault(ref, resource) == resource
            else:
                assert owners.setdefault(ref, each.name) == each.name, ref
    patients = [r for r in owners if r.startswith("Patient/")]
    assert len(patients) == len(ALL)


# --- prefetch -------------------------------------------------------------------------------------------


def test_prefetch_is_what_the_templates_give_on_the_demo_fhir_server(
    service: Service, told: Story, offered: dict[str, Json]
) -> None:
    request = told.request
    templates = offered[told.service]["prefetch"]
    assert request["prefetch"].keys() == templates.keys()
    for key, template in templates.items():
        query = template.replace("{{context.patientId}}", request["context"]["patientId"])
        answer = service.get(f"/fhir/{query}", headers={"Accept": "application/json+fhir"})
        assert answer.status_code == 200
        got = json.loads(answer.text.replace(f"{service.base}/fhir", EHR))
        got.pop("link", None)
        assert got == request["prefetch"][key], f"{key}: refresh with `python -m support.stories`"


def test_without_prefetch_the_service_reads_the_same_chart(service: Service, told: Story) -> None:
    request = told.request
    expected = without_ids(service.answer(request, told.service))
    del request["prefetch"]
    request["fhirServer"] = f"{service.base}/fhir"
    assert without_ids(service.answer(request, told.service)) == expected


# --- answers --------------------------------------------------------------------------------------------


def test_cards_are_as_expected(service: Service, told: Story) -> None:
    assert [outline(c) for c in service.cards(told.request, told.service)] == told.expected["cards"]


# Of the guide's code system, as far as advisors use it.
TOPICS = {
    "therapy-alternatives-opt": "Optional Therapy Alternatives",
    "guideline": "Guideline",
    "contraindication": "Contraindication",
}


def test_a_topic_has_the_name_that_its_code_system_gives_it(service: Service, told: Story) -> None:
    topics = [c["source"]["topic"] for c in service.cards(told.request, told.service) if "topic" in c["source"]]
    assert [t["display"] for t in topics] == [TOPICS[t["code"]] for t in topics]


@cache
def _evaluated(told: Story) -> Json:
    result = CliRunner().invoke(
        cli, ["evaluate", str(told.folder / "request.json"), "--service", told.service, "--json"]
    )
    assert result.exit_code == 0, result.output
    parsed: Json = json.loads(result.output)
    return parsed


def test_evaluate_gives_the_same_answer_and_the_expected_determinations(service: Service, told: Story) -> None:
    evaluated = _evaluated(told)
    assert evaluated.keys() == {"response", "determinations", "findings", "not_used"}
    assert without_ids(evaluated["response"]) == without_ids(service.answer(told.request, told.service))
    assert [determined(d) for d in evaluated["determinations"]] == told.expected["determinations"]
    assert evaluated["findings"] == told.expected["findings"]


def test_every_draft_has_a_primary_determination(told: Story) -> None:
    """Also where no policy speaks: then it says so."""
    evaluated = _evaluated(told)
    drafts = {f"{r['resourceType']}/{r['id']}" for r in _drafts(told.request)}
    for entry in evaluated["determinations"]:
        assert entry.keys() == {
            "order", "code", "policy", "version", "role", "outcome", "prior_authorization", "missing", "trace",
        }  # fmt: skip
        assert (entry["policy"] is None) == (entry["version"] is None)
        if entry["policy"] is None:
            assert (entry["role"], entry["outcome"]) == ("primary", "not-addressed")
    primary = {d["order"] for d in evaluated["determinations"] if d["role"] == "primary"}
    assert primary >= drafts


def test_evaluate_is_a_command(service: Service) -> None:
    """Once as a real process, in its words for people."""
    path = STORIES / SEED / "request.json"
    command = [sys.executable, "-m", "cds_service.cli", "evaluate", str(path), "--explain"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    [card] = service.cards(story(SEED).request)
    told = " ".join(done.stdout.split())
    assert f"WARNING {card['summary']}" in told
    assert "9. Recommendation, references and review status" in told


# --- fixed point ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", WITH_DRAFTS, ids=lambda s: s.name)
def test_applying_a_suggestion_brings_no_new_warning(service: Service, told: Story) -> None:
    cards = service.cards(told.request, told.service)
    before = warned_codes(cards)
    for card in cards:
        for suggestion in card.get("suggestions", ()):
            after = service.cards(applied(told.request, suggestion), told.service)
            assert warned_codes(after) <= before, suggestion["label"]
            if card["indicator"] == "warning":
                assert warned_codes(after) < before, suggestion["label"]


def test_suggestions_only_delete_drafts_and_never_create_what_is_ordered_or_bmp(service: Service, told: Story) -> None:
    drafts = {f"{r['resourceType']}/{r['id']}": r for r in _drafts(told.request)}
    concepts = [r.get("code") or r["codeCodeableConcept"] for r in drafts.values()]
    ordered = {c["code"] for concept in concepts for c in concept["coding"]}
    for card in service.cards(told.request, told.service):
        for action in (a for s in card.get("suggestions", ()) for a in s["actions"]):
            if action["type"] == "delete":
                assert action["resourceId"] in drafts
            else:
                code = action["resource"]["code"]["coding"][0]["code"]
                assert code not in ordered
                assert "morphogenetic" not in json.dumps(action).lower()


def test_a_card_has_a_uuid_of_its_own_each_time(service: Service) -> None:
    request = story(SEED).request
    first, second = ([c["uuid"] for c in service.cards(request | {"hookInstance": str(uuid4())})] for _ in range(2))
    assert not set(first) & set(second)


# --- why a card was shown ---------------------------------------------------------------------------


def _explained(service: Service, name: str, summary: str, audience: str) -> dict[int, str]:
    """Parts of the explanation of the card whose summary begins so."""
    told = story(name)
    [card] = [c for c in service.cards(told.request, told.service) if c["summary"].startswith(summary)]
    path = f"/explanations/{card['uuid']}?audience={audience}"
    document = service.get(path, headers={"Accept": "application/json"}).json()
    return {p["number"]: " ".join(p["text"]) for p in document["parts"]}


def test_patients_are_told_who_says_what(service: Service) -> None:
    imaging = _explained(service, "low-back-imaging", "Imaging", "patient")
    assert imaging[1] == "The guideline advises against a picture of the low back in this case."
    marrow = _explained(service, "cervical-fusion", "Bone marrow", "patient")
    assert marrow[1].startswith("The health plan's policy does not support ")


@pytest.mark.parametrize("audience", ["clinician", "patient"])
def test_what_is_open_is_not_told_as_a_fact(service: Service, audience: str) -> None:
    parts = _explained(service, "cervical-fusion", "More information is needed", audience)
    assert "meet the policy" not in " ".join(parts.values())
    assert "Has the patient been free of nicotine for at least 6 weeks?" in parts[3]
    assert "Not known whether this holds: A cotinine of 10 ng/mL or less within six weeks." in parts[3]
    assert "options named above" not in parts[9]
    if audience == "patient":
        assert "the fusion and the plates and screws" in parts[1]


@pytest.mark.parametrize("audience", ["clinician", "patient"])
def test_options_are_spoken_of_only_where_some_are_named(service: Service, audience: str) -> None:
    parts = _explained(service, "laminotomy-no-fusion", "Autograft", audience)
    assert parts[4] == "No alternative is named for this case."
    assert "option" not in parts[9]
    parts = _explained(service, "cervical-fusion", "Interbody cage", audience)
    assert "Covered option: Structural donor bone (20931)." in parts[4]
    assert "named above" in parts[9]


def test_what_the_chart_does_not_hold_is_not_called_absent(service: Service) -> None:
    context = _explained(service, "low-back-imaging", "Imaging", "clinician")[7]
    assert "Cancer, active or in the history: none recorded." in context
    assert "absent." not in context.replace("not taken as absent.", "")
    assert "None recorded: the chart was read and holds no such entry." in context
    marrow = _explained(service, "cervical-fusion", "Bone marrow", "clinician")[7]
    assert "Age of 65 or older (weaker fusion with marrow in one lumbar study): absent." in marrow
    assert "none recorded" not in marrow


def test_what_waits_for_its_primary_is_not_called_covered(service: Service) -> None:
    cards = service.cards(story("cervical-fusion").request)
    flagged = [c["detail"] for c in cards if "not supported" in c["summary"]]
    donor = "- Donor bone in small pieces, or a bone-growth product, for spinal fusion (20930)"
    assert len(flagged) == 2
    for detail in flagged:
        assert f"**Supported if the primary procedure is**\n{donor}\n" in detail
        assert "**Already covered**" not in detail
    [seed] = service.cards(story("cervical-fusion-authorised").request)
    assert f"{donor}: " in seed["detail"].split("**Already covered**")[1]
