"""The public CDS Hooks Sandbox, unmodified, as a client of the demo: what docs/sandbox.md tells, step by step.

Its repository is no part of this one. Build it, then: SANDBOX_BUILD=<checkout>/build make verify
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support.service import Service

pytestmark = [
    pytest.mark.browser,
    pytest.mark.verify,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        not os.environ.get("SANDBOX_BUILD"),
        reason="set SANDBOX_BUILD to the build folder of a checkout of cds-hooks/sandbox (docs/sandbox.md)",
    ),
]
# The sandbox has no button for order-sign on its imaging screen; its own action is sent to its own store.
SIGN = """() => {
  const root = document.getElementById('root');
  let fiber = root[Object.keys(root).find((k) => k.startsWith('__reactContainer$'))];
  const queue = [fiber];
  while (queue.length) {
    const node = queue.shift();
    const store = node && node.memoizedProps && node.memoizedProps.store;
    if (store && store.dispatch) { store.dispatch({ type: 'TRIGGER_ORDER_SIGN' }); return true; }
    if (node) queue.push(...[node.child, node.sibling].filter(Boolean));
  }
  return false;
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    """Address of the sandbox's own files."""
    folder = Path(os.environ["SANDBOX_BUILD"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture
def opened(browser: Browser, pages: Service, sandbox: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    context.set_default_timeout(20_000)

    def go(patient: str, hook: str, screen: str) -> Page:
        page = context.new_page()
        at = f"fhirServiceUrl={pages.base}/fhir&serviceDiscoveryURL={pages.base}/cds-services"
        page.goto(f"{sandbox}?{at}&patientId={patient}&hook={hook}&screen={screen}")
        return page

    yield go
    context.close()


def feedback(page: Page, press: Any) -> tuple[int, Any]:
    """Status and body of the feedback that a click sends."""
    with page.expect_response(lambda r: r.url.endswith("/feedback") and r.request.method == "POST") as answered:
        press()
    return answered.value.status, answered.value.request.post_data_json["feedback"][0]


STUDY = "Magnetic resonance (eg, proton) imaging, spinal canal and contents, lumbar; without contrast material"


def choose_study(page: Page) -> None:
    page.get_by_text("Search orders").click()
    page.keyboard.type("lumbar")
    page.locator("[id*=-option-]").get_by_text(STUDY, exact=True).click()


def recorded(service: Service, outcome: str) -> int:
    """How many findings the ledger counts with an outcome (third and fourth columns of the CSV of rules)."""
    lines = service.session.get(f"{service.base}/insights/rules.csv?data=ledger&period=all").text.splitlines()
    heads = lines[0].split(",")
    return sum(int(line.split(",")[heads.index(outcome)]) for line in lines[1:])


def test_it_lists_the_services(opened: Any, pages: Service) -> None:
    page = opened("p10", "patient-view", "patient-view")
    page.get_by_text("Bone marrow aspirate (20939) is not supported").first.wait_for()
    page.locator("header button, [class*=header] button").last.click()
    page.get_by_text("Configure CDS Services").click()
    listed = page.get_by_role("dialog").inner_text()
    offered = [s["id"] for s in pages.session.get(f"{pages.base}/cds-services").json()["services"]]
    assert {"order-sign-advisor", "order-select-advisor", "patient-view-advisor"} <= set(offered)
    assert [s for s in offered if f"/cds-services/{s}" not in listed] == []


def test_opening_the_demo_patient_shows_the_marrow_card_and_takes_an_override(opened: Any, pages: Service) -> None:
    before = recorded(pages, "overridden")
    page = opened("p10", "patient-view", "patient-view")
    page.get_by_text("Bone marrow aspirate (20939) is not supported in this cervical fusion").first.wait_for()
    status, item = feedback(page, lambda: page.get_by_role("button", name="Dismiss", exact=True).first.click())
    assert (status, item["outcome"], item.get("overrideReason")) == (200, "overridden", None)
    page = opened("p10", "patient-view", "patient-view")
    page.get_by_text("Bone marrow aspirate (20939) is not supported in this cervical fusion").first.wait_for()
    page.get_by_role("button", name="select dismiss reason").first.click()
    override = page.get_by_role("menuitem", name="Patient prefers an alternative approach")
    status, item = feedback(page, override.click)
    assert (status, item["overrideReason"]["reason"]["code"]) == (200, "prefers-alternative")
    assert recorded(pages, "overridden") == before + 1  # the same finding twice


def test_the_imaging_screen_gets_a_card_on_order_select_and_accepts_it(opened: Any, pages: Service) -> None:
    before = recorded(pages, "accepted")
    page = opened("p11", "order-select", "pama")
    choose_study(page)
    card = page.get_by_text("low back pain").first
    card.wait_for()
    status, item = feedback(page, lambda: page.get_by_role("button", name="Remove").last.click())
    assert (status, item["outcome"]) == (200, "accepted")
    assert recorded(pages, "accepted") == before + 1


def test_the_imaging_screen_gets_a_card_on_order_sign(opened: Any) -> None:
    page = opened("p11", "order-sign", "pama")
    choose_study(page)
    page.get_by_text("PAMA Rating").wait_for()
    with page.expect_response(lambda r: r.url.endswith("/order-sign-advisor")) as answered:
        assert page.evaluate(SIGN)
    assert answered.value.status == 200
    assert answered.value.json()["cards"]
    page.get_by_text("low back pain").first.wait_for()
