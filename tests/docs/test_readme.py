"""The README tells the truth: its answer is the real one, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from readme_answer import README, ROOT, rendered

from cds_service.cli import cli

PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "cards" / "README.md", ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


def test_the_answer_is_the_real_one() -> None:
    page = README.read_text(encoding="utf-8")
    assert rendered(page) == page, "run: python tests/docs/readme_answer.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, queue = set(), [README]
    while queue:
        page = queue.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        queue += [(page.parent / link).resolve() for link in LINK.findall(page.read_text(encoding="utf-8"))]
    assert {p for p in (ROOT / "docs").glob("*.md") if p not in reached} == set()


def test_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"`cds-service ([a-z]+)", README.read_text(encoding="utf-8")))
    assert named <= set(cli.list_commands(None))  # type: ignore[arg-type]
    assert {"serve", "evaluate", "policy", "client", "ledger", "replay", "synth"} <= named
