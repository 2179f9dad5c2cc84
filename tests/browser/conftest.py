"""A real browser (Debian's Chromium, driven by Playwright) on a service of its own with an empty ledger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright
from support.service import Service, running

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def _chromium() -> str:
    found = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if found is None:
        text = "These tests need Chromium: `make system-packages`, or `apt-get install chromium`."
        pytest.fail(text) if os.environ.get("CI") == "true" else pytest.skip(text)
    return found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed with the last test of this folder: Playwright's event loop must not outlive it in this process."""
    path = _chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("pages")) as started:
        yield started


class Watched:
    """A page and everything that went wrong on it; `expected` are texts of console errors that a test provokes."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        page.on("console", lambda m: self.errors.append(f"{m.text} {m.location['url']}") if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(f"uncaught: {e}"))
        page.on("requestfailed", self._failed)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what leaving a page breaks off is no fault
            self.errors.append(f"failed: {request.url} {request.failure}")

    def only(self, *expected: str) -> None:
        assert [e for e in self.errors if not any(x in e for x in expected)] == []


@pytest.fixture
def new_page(browser: Browser, pages: Service) -> Iterator[Any]:
    """Makes pages with options of a browser context; at the end none of them may have logged an error."""
    made: list[tuple[Page, Watched]] = []

    def make(**options: Any) -> Page:
        context = browser.new_context(base_url=pages.base, **options)
        context.set_default_timeout(8000)
        page = context.new_page()
        page.expected_errors = []  # type: ignore[attr-defined]
        made.append((page, Watched(page)))
        return page

    yield make
    for page, _ in made:
        page.context.close()
    for page, seen in made:
        seen.only(*page.expected_errors)  # type: ignore[attr-defined]


@pytest.fixture
def page(new_page: Any) -> Page:
    made: Page = new_page(viewport={"width": 1280, "height": 900})
    return made
