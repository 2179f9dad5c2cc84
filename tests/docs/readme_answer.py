"""Writes the real answer of the README's curl line into the README. Run it to renew the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cds_service.commands.evaluate import answer_file

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
STORY = ROOT / "fhir_fixtures" / "cervical-fusion-authorised" / "request.json"
BLOCK = re.compile(r"(<!-- answer:start -->\n).*?(<!-- answer:end -->)", re.DOTALL)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def block() -> str:
    """The answer, pretty-printed, with every uuid replaced by the same one."""
    response = answer_file(STORY, None, None, None).response
    text = json.dumps(response, indent=2, ensure_ascii=False)
    return f"```json\n{UUID.sub('0d5c1f8e-0000-4000-8000-000000000000', text)}\n```\n"


def rendered(page: str) -> str:
    """The page with the answer of today."""
    return BLOCK.sub(lambda m: f"{m[1]}{block()}{m[2]}", page)


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
