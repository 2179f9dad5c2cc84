"""Takes the pictures in docs/images from the running pages: `make screenshots`.

python benchmarks/screenshots.py [--base URL] [--out FOLDER]   without --base, a demo is started for the pictures
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.service import running  # noqa: E402 - tests/ is not a package of the project

SIZE = {"width": 1360, "height": 1000}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def workbench(page: Page, base: str, out: Path) -> None:
    page.goto(f"{base}/")
    page.locator(".order").first.wait_for()
    page.get_by_role("button", name="Sign orders").click()
    page.locator(".card").wait_for()
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=out / "workbench.png")
    page.locator(".card").screenshot(path=out / "cards.png")
    page.get_by_role("tab", name="Why").click()
    page.locator(".evidence:visible").first.hover()
    page.screenshot(path=out / "trace.png")


def explanation(page: Page, _base: str, out: Path) -> None:
    page.get_by_role("tab", name="Cards").click()
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Why, criterion by criterion").click()
    opened.value.wait_for_load_state()
    opened.value.set_viewport_size({"width": 1000, "height": 1100})
    opened.value.screenshot(path=out / "explanation.png")
    opened.value.close()


def policies(page: Page, base: str, out: Path) -> None:
    page.goto(f"{base}/policies")
    page.screenshot(path=out / "policies.png")
    page.goto(f"{base}/policies/aetna/bone-graft-adjuncts")
    page.screenshot(path=out / "policy.png")


def insights(page: Page, base: str, out: Path) -> None:
    page.goto(f"{base}/insights?data=sample&period=90")
    page.screenshot(path=out / "insights.png")


@contextmanager
def _base(given: str | None) -> Iterator[str]:
    if given:
        yield given.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        yield service.base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with _base(asked.base) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        scheme = "dark" if asked.dark else "light"
        page = browser.new_page(viewport=SIZE, color_scheme=scheme)
        for take in (workbench, explanation, policies, insights):
            take(page, base, asked.out)
        browser.close()


if __name__ == "__main__":
    main()
