"""The bundled stories: what each is about (from the table in `fhir_fixtures/README.md`), and its request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cds_service.content_files import bundled
from cds_service.errors import NotFound

Json = dict[str, Any]
FIRST = "cervical-fusion-authorised"
_ROW = re.compile(r"^\| `(?P<name>[a-z0-9-]+)` \| (?P<what>[^|]+) \| (?P<expected>[^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Story:
    """A synthetic patient with a hook request."""

    name: str
    what: str
    expected: str
    folder: Path

    @property
    def title(self) -> str:
        """The folder's name in words."""
        return self.name.replace("-", " ").capitalize().replace("aetna", "Aetna")

    def opened(self) -> Json:
        """What the workbench needs: the service to call and the request."""
        expected = json.loads((self.folder / "expected.json").read_text(encoding="utf-8"))
        request = json.loads((self.folder / "request.json").read_text(encoding="utf-8"))
        return {"service": expected["service"], "request": request, "title": self.title, "about": self.what}


@cache
def stories() -> dict[str, Story]:
    """All bundled stories by name, the seed case first."""
    folder = bundled("fhir_fixtures")
    rows = {m["name"]: m for m in _ROW.finditer((folder / "README.md").read_text(encoding="utf-8"))}
    found = [
        Story(name, _sentence(row["what"]), _sentence(row["expected"]), folder / name)
        for name, row in rows.items()
        if (folder / name / "request.json").is_file()
    ]
    return {s.name: s for s in sorted(found, key=lambda s: s.name != FIRST)}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].strip().replace("`", "")


def story(name: str) -> Story:
    """One story. Raises NotFound."""
    found = stories().get(name)
    if found is None:
        raise NotFound("There is no such story.")
    return found
