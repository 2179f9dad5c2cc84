"""What the workbench asks the service: stories, worked cases, pasted Bundles, codes, Markdown and the trace."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests
from support.service import Service
from support.stories import SEED, stories, story

from cds_service.config import Settings
from cds_service.content_files import load_rulebook
from cds_service.determination.worked import determination_of, run_case
from cds_service.hooks.answer import answer
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.policy.rulebook import Rulebook
from cds_service.web.pages import stories as bundled
from cds_service.web.pages.case_request import request_of
from cds_service.web.pages.workbench import safe_html


def post(service: Service, path: str, body: Any, media: str = "application/json") -> requests.Response:
    sent = body if isinstance(body, str) else json.dumps(body)
    return service.session.post(service.base + path, data=sent, headers={"Content-Type": media}, timeout=20)


def test_every_bundled_story_is_offered_with_a_sentence_about_it(service: Service) -> None:
    assert set(bundled.stories()) == {s.name for s in stories()}
    assert all(s.what and s.expected for s in bundled.stories().values())
    for each in stories():
        opened = service.session.get(f"{service.base}/workbench/stories/{each.name}").json()
        assert opened["request"] == each.request
        assert opened["service"] == each.service
    assert service.session.get(f"{service.base}/workbench/stories/nobody").status_code == 404


def test_the_trace_is_the_answer_with_what_a_response_cannot_say(service: Service) -> None:
    told = post(service, "/workbench/trace", {"service": "order-sign-advisor", "request": story(SEED).request}).json()
    assert [c["summary"] for c in told["response"]["cards"]] == [c["summary"] for c in story(SEED).expected["cards"]]
    marrow = next(d for d in told["determinations"] if d["code"] == "20939" and d["role"] == "primary")
    assert marrow["outcome"] == "not-supported"
    assert f"{marrow['policy']}@{marrow['version']}" in told["policies"]
    assert {"evaluate", "render"} <= set(told["timing"])


def test_the_trace_records_nothing(service: Service) -> None:
    told = post(service, "/workbench/trace", {"service": "order-sign-advisor", "request": story(SEED).request}).json()
    link = told["response"]["cards"][0]["links"][0]["url"]
    assert service.session.get(link).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"service": "nobody", "request": {}}, 404, None),
        ({"service": "order-sign-advisor", "request": []}, 400, "request"),
        ({"service": "order-sign-advisor", "request": {"hook": "order-sign"}}, 400, "hookInstance"),
    ],
)
def test_a_broken_trace_request_is_an_operation_outcome(
    service: Service, body: Any, status: int, field: str | None
) -> None:
    response = post(service, "/workbench/trace", body)
    assert response.status_code == status
    assert response.json()["resourceType"] == "OperationOutcome"
    if field:
        assert field in [e for i in response.json()["issue"] for e in i.get("expression", ())]


def test_pages_take_json_only(service: Service) -> None:
    """So that no form on another site can post to them."""
    for path in ("/workbench/trace", "/workbench/request", "/workbench/markdown"):
        assert post(service, path, "a=b", "application/x-www-form-urlencoded").status_code == 415


def test_a_bundle_becomes_a_request_that_answers_the_same(service: Service) -> None:
    entries = [{"resource": r} for r in story(SEED).chart()] + story(SEED).request["context"]["draftOrders"]["entry"]
    made = post(service, "/workbench/request", {"resourceType": "Bundle", "entry": entries}).json()
    cards = service.cards(made)
    assert [c["summary"] for c in cards] == [c["summary"] for c in story(SEED).expected["cards"]]
    assert made["prefetch"]["procedures"]["total"] == 0


def test_without_drafts_the_active_orders_of_a_bundle_are_signed(service: Service) -> None:
    orders = [{**e["resource"], "status": "active"} for e in story(SEED).request["context"]["draftOrders"]["entry"]]
    bundle = {"resourceType": "Bundle", "entry": [{"resource": r} for r in orders]}
    made = post(service, "/workbench/request", bundle).json()
    assert [e["resource"]["status"] for e in made["context"]["draftOrders"]["entry"]] == ["draft"] * len(orders)
    assert made["context"]["patientId"] == "p1"
    assert made["prefetch"]["activeOrders"]["total"] == 0


@pytest.mark.parametrize(
    ("bundle", "told"),
    [
        ({"resourceType": "Bundle"}, "holds no draft or active order"),
        ({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "ServiceRequest", "status": "draft"}}]},
         "holds no Patient"),
        ({"resourceType": "Patient"}, "neither a hook request nor a FHIR Bundle"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_a_request_says_why(service: Service, bundle: Any, told: str) -> None:
    response = post(service, "/workbench/request", bundle)
    assert response.status_code == 400
    assert told in response.json()["issue"][0]["diagnostics"]


def test_codes_are_found_by_number_and_by_words(service: Service) -> None:
    def find(**query: str) -> list[str]:
        found = service.session.get(f"{service.base}/workbench/codes", params=query).json()["codes"]
        assert all(c["system"].startswith("http") and c["label"] for c in found)
        return [c["code"] for c in found]

    assert find(q="2093")[:2] == ["20930", "20931"]
    assert find(q="local autograft")[0] == "20936"
    assert find(code="20936") == ["20936"]
    assert find(code="<script>") == find(q="") == find(q="no such thing") == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[x](javascript:alert(1))",
        "![x](http://example.org/x.png)",
        "<a href='http://example.org'>x</a>",
        "<style>*{display:none}</style>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&#60;img src=x onerror=alert(1)&#62;",
    ],
)
def test_markdown_of_a_card_never_becomes_active(text: str) -> None:
    html = safe_html(f"**Why:** {text}")
    assert html.startswith("<p><strong>Why:</strong>")
    assert not any(f"<{tag}" in html for tag in ("script", "img", "a", "style"))
    assert "=" not in html.replace("&quot;", "").split("<p>")[0]


def test_markdown_of_a_card_keeps_its_lists(service: Service) -> None:
    html = post(service, "/workbench/markdown", {"texts": ["**A**\n- b &#47; c\n- d", ""]}).json()["html"]
    assert html == ["<p><strong>A</strong></p>\n<ul>\n<li>b / c</li>\n<li>d</li>\n</ul>\n", ""]
    assert post(service, "/workbench/markdown", {"texts": "x"}).status_code == 400


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load_rulebook()


def test_every_worked_case_means_the_same_as_a_hook_request(rulebook: Rulebook) -> None:
    """`Try it` must show what the case shows: same outcome per order, from facts that went through FHIR."""
    runtime = Runtime.build(Settings(demo=True))
    service = runtime.services["order-sign-advisor"]
    differing = []
    for folder in rulebook.folders.values():
        for worked in folder.cases.cases if folder.cases else ():
            wanted = {
                r.order.ref: _outcome(folder.policy.id, r) for r in run_case(folder, worked, rulebook).decision.orders
            }
            request = validate(request_of(folder, worked, rulebook), service)
            done = answer(request, service, runtime, Caller(), as_of=worked.on)
            got = {d.order.ref: _outcome(folder.policy.id, d) for d in done.decision.orders}
            if got != wanted:
                differing.append((folder.policy.id, worked.id, wanted, got))
    assert differing == []


def _outcome(policy: str, decided: Any) -> str | None:
    said = determination_of(policy, decided)
    return said.outcome if said else None


def test_links_of_the_pages_lead_somewhere(service: Service) -> None:
    seen: set[str] = set()
    waiting = ["/", "/policies", "/insights"]
    while waiting:
        path = waiting.pop()
        response = service.session.get(service.base + path, headers={"Accept": "text/html"})
        assert response.status_code == 200, path
        is_page = "html" in response.headers["Content-Type"]
        found = re.findall(r'(?:href|src)="(/[^"#]*)', response.text) if is_page else []
        new = {f.replace("&amp;", "&") for f in found} - seen
        seen |= new
        waiting += [n for n in new if n.startswith(("/policies/", "/assets/"))]
    assert len(seen) > 30
