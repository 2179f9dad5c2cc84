"""The workbench in a browser: signing, cards, suggestions, override, errors, editing, and hostile charts."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.service import Service
from support.stories import SEED, story

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def opened(page: Page, query: str = "") -> None:
    page.goto(f"/{query}")
    expect(page.locator(".order").first).to_be_visible()


def sign(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^(Sign orders|Open the chart|Select orders)")).click()
    expect(page.locator("#panel-cards .card, #panel-cards .quiet-answer, #panel-cards .problem").first).to_be_visible()
    expect(page.locator("#sign")).to_be_enabled()


def codes(page: Page) -> list[str]:
    return page.locator(".order .code").all_inner_texts()


def paste(page: Page, text: str) -> None:
    page.get_by_role("button", name="Paste a request…").click()
    page.get_by_label("JSON").fill(text)
    page.get_by_role("button", name="Use it").click()


def counted(service: Service, page: Page) -> dict[str, list[str]]:
    """The insights' rows per rule, from the ledger: findings, accepted, overridden."""
    page.goto("/insights?data=ledger&period=30")
    rows = page.locator(".rules-table tbody tr")
    return {r.locator("th").inner_text(): r.locator("td.number").all_inner_texts() for r in rows.all()}


def test_from_opening_the_page_to_an_accepted_suggestion_that_is_counted(page: Page, pages: Service) -> None:
    opened(page)
    expect(page.get_by_role("heading", name="Rosalind Quillfeather")).to_be_visible()
    expect(page.get_by_text("Cervical disc degeneration C4-C5", exact=True)).to_be_visible()
    assert codes(page) == ["22551", "22552", "22845", "22853", "20930", "20939"]
    sign(page)
    card = page.get_by_role("article")
    expect(card).to_have_count(1)
    expect(card).to_have_attribute("data-indicator", "warning")
    expect(card.get_by_role("heading")).to_contain_text("Bone marrow aspirate (20939) is not supported")
    with page.expect_request("**/feedback") as sent:
        card.get_by_role("button", name="Replace by local autograft (20936)").click()
    item = sent.value.post_data_json["feedback"][0]
    assert item["outcome"] == "accepted"
    assert item["card"] == card.get_attribute("data-card")
    assert len(item["acceptedSuggestions"]) == 1
    expect(card).to_contain_text("Accepted: Replace by local autograft (20936). Feedback recorded.")
    assert codes(page) == ["22551", "22552", "22845", "22853", "20930", "20936"]
    expect(page).to_have_url(re.compile(rf"\?story={SEED}&remove=20939&add=20936$"))

    page.get_by_role("button", name="Sign orders again").click()
    expect(page.locator(".quiet-answer")).to_be_visible()
    expect(page.get_by_role("article")).to_have_count(0)

    row = next(v for k, v in counted(pages, page).items() if "Aetna CPB 0411" in k)
    assert [v.split()[0] for v in row] == ["1", "1", "0"]


def test_overridden_with_a_reason_that_is_counted(page: Page, pages: Service) -> None:
    opened(page, "?story=no-coverage")
    sign(page)
    card = page.get_by_role("article").first
    card.get_by_text("Override…").click()
    card.get_by_label("Patient prefers an alternative approach or treatment").check()
    card.get_by_label("Comment").fill("Discussed with the patient.")
    with page.expect_request("**/feedback") as sent:
        card.get_by_role("button", name="Keep the orders").click()
    given = sent.value.post_data_json["feedback"][0]["overrideReason"]
    assert given["reason"]["code"] == "prefers-alternative"
    assert given["userComment"] == "Discussed with the patient."
    expect(card).to_contain_text("Overridden: Patient prefers an alternative approach or treatment. Feedback recorded.")
    assert "20939" in codes(page)

    page.goto("/insights?data=ledger&period=30")
    expect(page.locator(".reason", has_text="Patient prefers an alternative")).to_contain_text("1")


def test_a_broken_request_shows_the_operation_outcome(page: Page) -> None:
    page.expected_errors += ["400"]  # type: ignore[attr-defined]
    request = story(SEED).request
    del request["context"]["patientId"]
    opened(page)
    paste(page, json.dumps(request))
    expect(page).to_have_url(re.compile(r"/$"))
    sign(page)
    problem = page.locator("#panel-cards").get_by_role("alert")
    expect(problem).to_contain_text("Refused: HTTP 400")
    expect(problem).to_contain_text("context.patientId is missing")


@pytest.mark.parametrize(("text", "told"), [("{", "is not JSON"), ('{"a": 1}', "neither a hook request nor a FHIR")])
def test_what_is_no_request_is_refused_where_it_was_pasted(page: Page, text: str, told: str) -> None:
    page.expected_errors += ["400"]  # type: ignore[attr-defined]
    opened(page)
    paste(page, text)
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(told)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_orders_are_found_added_edited_and_removed_from_the_keyboard(page: Page) -> None:
    opened(page)
    search = page.get_by_role("combobox", name="Add an order")
    search.focus()
    page.keyboard.type("local autograft")
    expect(page.get_by_role("listbox", name="Codes found").get_by_role("option").first).to_contain_text("20936")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert codes(page)[-1] == "20936"
    page.get_by_label("Units of Anterior cervical fusion, each further disc space").fill("2")
    page.get_by_role("button", name="Note on Donor bone, small pieces").click()
    page.keyboard.type("rhBMP-2, Infuse")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Remove Bone marrow aspirate for graft (20939)").press("Enter")
    assert "20939" not in codes(page)
    expect(page).to_have_url(re.compile(r"remove=20939&add=20936&units=22552:2$"))
    sign(page)
    expect(page.locator(".card[data-indicator=critical]")).to_be_visible()

    page.reload()  # what a link says by code is back; the note, which may name a patient, never was in it
    expect(page.get_by_label("Units of Anterior cervical fusion, each further disc space")).to_have_value("2")
    assert sorted(codes(page)) == ["20930", "20936", "22551", "22552", "22845", "22853"]
    page.get_by_role("button", name="Undo my changes").click()
    assert "20939" in codes(page)


def test_the_trace_points_at_the_chart(page: Page) -> None:
    opened(page)
    sign(page)
    page.get_by_role("tab", name="Cards").press("ArrowRight")
    expect(page.get_by_role("tab", name="Why")).to_have_attribute("aria-selected", "true")
    evidence = page.locator(".evidence:visible").first
    evidence.focus()
    expect(page.locator(".order.lit")).to_have_count(1)
    evidence.press("Enter")
    expect(page.locator(".order.pinned .code")).to_have_text("22551")
    page.get_by_role("tab", name="Request and response").click()
    expect(page.locator("#panel-exchange")).to_contain_text("Response: HTTP 200")
    expect(page.locator("#panel-exchange")).to_contain_text('"draftOrders"')
    page.get_by_role("tab", name="Timing").click()
    expect(page.locator("#panel-timing")).to_contain_text("evaluate")


def test_the_trace_says_what_is_authorised_and_folds_what_was_not_addressed(page: Page) -> None:
    opened(page)
    sign(page)
    page.get_by_role("tab", name="Why").click()
    cage = page.locator(".determination", has_text="Interbody device").filter(has_text="CPB 0016")
    expect(cage.locator("summary").first).to_contain_text("authorised PA-1001")
    expect(page.locator(".cites:visible").first).to_contain_text("read in a summary by others")
    fold = page.locator(".passed")
    expect(fold.locator(".determination").first).to_be_hidden()
    fold.locator("summary").first.click()
    expect(fold.locator(".determination").first).to_contain_text("not addressed")
    expect(page.locator(".determination:not(.passed *) > summary", has_text="not addressed")).to_have_count(0)


def test_a_link_keeps_the_service(page: Page) -> None:
    opened(page)
    page.get_by_role("combobox", name="Service").select_option("order-sign-crd")
    expect(page).to_have_url(re.compile(rf"\?story={SEED}&service=order-sign-crd$"))
    sign(page)
    expect(page.locator(".coverage-information")).to_contain_text("not covered")
    page.reload()
    expect(page.locator(".order").first).to_be_visible()
    expect(page.get_by_role("combobox", name="Service")).to_have_value("order-sign-crd")
    page.get_by_role("combobox", name="Service").select_option("order-sign-advisor")
    expect(page).to_have_url(re.compile(rf"\?story={SEED}$"))


def test_a_search_without_a_hit_says_so(page: Page) -> None:
    opened(page)
    search = page.get_by_role("combobox", name="Add an order")
    search.fill("zzzz")
    expect(page.get_by_text("No code fits.")).to_be_visible()
    search.fill("autograft")
    expect(page.get_by_role("listbox", name="Codes found").get_by_role("option").first).to_be_visible()
    expect(page.get_by_text("No code fits.")).to_be_hidden()


def test_what_was_sent_and_answered_can_be_copied(new_page: Any) -> None:
    page: Page = new_page(permissions=["clipboard-read", "clipboard-write"])
    opened(page)
    sign(page)
    page.get_by_role("tab", name="Request and response").click()
    page.get_by_role("button", name="Copy: Response: HTTP 200").click()
    expect(page.locator("#status")).to_have_text("Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert [c["indicator"] for c in copied["cards"]] == ["warning"]


def test_a_crd_call_is_counted_among_the_guides_metrics(page: Page, pages: Service) -> None:
    assert pages.request("POST", "/cds-services/order-sign-crd", json=story(SEED).request).status_code == 200
    page.goto("/insights?data=ledger&period=30")
    table = page.get_by_role("region", name="CRD metrics", exact=True)
    outside = table.get_by_role("row").filter(has_text="Fewer prior authorization requests")
    expect(outside).to_contain_text("Needs data from outside")
    expect(outside).not_to_contain_text("%")
    expect(table.get_by_role("row").filter(has_text="Calls answered within 5 seconds")).to_contain_text("100.0%")
    page.get_by_text("By payer, client and hook").click()
    parts = page.get_by_role("region", name="CRD metrics by payer, client and hook")
    expect(parts.get_by_role("row").filter(has_text="Aetna")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("link", name="Da Vinci CRD metrics as CSV").click()
    assert started.value.suggested_filename == "crd.csv"


def test_opening_a_chart_shows_the_card_of_its_unsigned_orders(page: Page) -> None:
    opened(page, "?story=unsigned-orders")
    sign(page)
    expect(page.get_by_role("article").first).to_contain_text("Bone marrow aspirate (20939)")
    expect(page.locator(".suggestion")).to_have_count(0)


def test_a_bundle_is_taken_as_the_chart(page: Page) -> None:
    opened(page)
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    drafts = story(SEED).request["context"]["draftOrders"]["entry"]
    bundle["entry"] = [{"resource": r} for r in story(SEED).chart()] + drafts
    paste(page, json.dumps(bundle))
    expect(page.locator("#about")).to_contain_text("Pasted data")
    sign(page)
    expect(page.get_by_role("article").first).to_contain_text("is not supported in this cervical fusion")


def test_a_worked_case_opens_from_its_policy(page: Page) -> None:
    page.goto("/policies/aetna/bone-graft-adjuncts#cases")
    page.get_by_role("link", name=re.compile("^Try in the workbench")).first.click()
    expect(page).to_have_url(re.compile(r"\?case=aetna/bone-graft-adjuncts/"))
    expect(page.locator(".order").first).to_be_visible()
    sign(page)
    expect(page.locator("#panel-cards .problem")).to_have_count(0)


MARKUP = '<img src=x onerror="window.owned=1"><script>window.owned=1</script><b id="owned">x</b>'


def test_names_and_codes_of_a_chart_never_run_as_markup(page: Page) -> None:
    request = story(SEED).request
    for text, at in _texts(request):
        at[0][at[1]] = f"{text} {MARKUP}"
    opened(page)
    paste(page, json.dumps(request))
    expect(page.get_by_role("heading", name=re.compile("Quillfeather <img"))).to_be_visible()
    sign(page)
    for tab in ("Cards", "Why", "Request and response", "Timing"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("window.owned") is None
        assert page.locator("#owned, #bench img, #bench script").count() == 0
    expect(page.locator(".order-name").first).to_contain_text("<script>")


def _texts(request: Any) -> list[tuple[str, tuple[Any, Any]]]:
    """Every text that a person would read (not codes, dates, references and urls), with its place."""
    found = []
    queue = [copy.copy(request["prefetch"]), request["context"]["draftOrders"]]
    while queue:
        node = queue.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, dict | list):
                queue.append(value)
            elif key in ("family", "display", "text", "name") and isinstance(value, str):
                found.append((value, (node, key)))
    return found
