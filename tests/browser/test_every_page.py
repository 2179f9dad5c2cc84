"""Every page in light and dark, wide and at phone width: no console error, no sideways scrolling, no axe finding."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from support.service import Service
from support.stories import SEED, story

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = (
    "/", "/ signed", "/ why", "/ paste", "/policies", "/policies/choosing-wisely/low-back-imaging",
    "/insights?data=sample&period=365", "/insights?data=sample tables", "/insights?data=ledger",
    "/insights?data=sample&policy=none", "explanation", "explanation?audience=patient", "/policies/no/such",
)  # fmt: skip


@pytest.fixture(scope="module")
def explanation(pages: Service) -> str:
    """Path of a card's explanation."""
    card = pages.cards(story(SEED).request)[0]
    url: str = card["links"][0]["url"]
    return url.removeprefix(pages.base)


def go(page: Page, name: str, explanation: str) -> None:
    if name == "/policies/no/such":
        page.expected_errors += ["404"]  # type: ignore[attr-defined]
    path, _, state = name.replace("explanation", explanation).partition(" ")
    page.goto(path)
    if path == "/":
        expect(page.locator(".order").first).to_be_visible()
    if state in ("signed", "why"):
        page.get_by_role("button", name="Sign orders").click()
        expect(page.get_by_role("article")).to_be_visible()
        page.get_by_text("Override…").click()
    if state == "why":
        page.get_by_role("tab", name="Why").click()
        expect(page.locator(".determination").first).to_be_visible()
    if state == "tables":
        for summary in page.locator("main summary").all():
            summary.click()
    if state == "paste":
        page.get_by_role("button", name="Paste a request…").click()
        expect(page.get_by_role("dialog")).to_be_visible()


def fits(page: Page, name: str) -> None:
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name} scrolls sideways by {overflow} px"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)], ids=["light-wide", "dark-phone"])
def test_nothing_is_wrong_with_a_page(new_page: Any, explanation: str, name: str, scheme: str, size: Any) -> None:
    page: Page = new_page(viewport=size, color_scheme=scheme)
    go(page, name, explanation)
    fits(page, name)
    found = Axe().run(page, options={"runOnly": RULES})
    told = [f"{v['id']}: {v['help']} {[n['html'][:200] for n in v['nodes'][:3]]}" for v in found.response["violations"]]
    assert told == []
    assert page.locator("main").count() == 1
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize(("scheme", "size"), [("dark", WIDE), ("light", PHONE)], ids=["dark-wide", "light-phone"])
def test_the_other_combinations_log_no_error(new_page: Any, explanation: str, scheme: str, size: Any) -> None:
    page: Page = new_page(viewport=size, color_scheme=scheme)
    for name in PAGES:
        go(page, name, explanation)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(14, 21, 24)") is (scheme == "dark")
        fits(page, name)


def test_an_explanation_prints_on_one_sheet(new_page: Any, explanation: str) -> None:
    page: Page = new_page(viewport=WIDE)
    for audience in ("clinician", "patient"):
        page.goto(f"{explanation}?audience={audience}")
        pdf = page.pdf(format="A4", prefer_css_page_size=False)
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") == 1


def test_the_skip_link_is_first_and_leads_to_the_content(page: Page) -> None:
    page.goto("/policies")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_pages_allow_only_their_own_files(pages: Service, explanation: str) -> None:
    for path in ("/", "/policies", "/insights", explanation):
        response = pages.session.get(pages.base + path, headers={"Accept": "text/html"})
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<style" not in response.text
        assert " style=" not in response.text
        assert "http://" not in response.text.replace(pages.base, "").replace("http://www.w3.org", "")[:2000]
