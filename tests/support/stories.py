"""The stories of `fhir_fixtures/`: requests, charts, and what is expected of them; also how both are refreshed.

python -m support.stories   (in tests/) rewrites prefetch and expected answers; review the difference.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.paths import STORIES

Json = dict[str, Any]
EHR = "https://ehr.example.org/fhir"


@dataclass(frozen=True)
class Story:
    """One folder of `fhir_fixtures/`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def request(self) -> Json:
        """A fresh copy of the request, free to change."""
        return _load(self.folder / "request.json")

    @property
    def expected(self) -> Json:
        return _load(self.folder / "expected.json")

    @property
    def service(self) -> str:
        named: str = self.expected["service"]
        return named

    def chart(self) -> list[Json]:
        """The resources behind the request."""
        return [e["resource"] for p in sorted(self.folder.glob("fhir/*.json")) for e in _load(p)["entry"]]


def _load(path: Path) -> Json:
    loaded: Json = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def stories() -> list[Story]:
    """All stories, by name."""
    return [Story(p.parent) for p in sorted(STORIES.glob("*/request.json"))]


def story(name: str) -> Story:
    found = Story(STORIES / name)
    assert found.folder.is_dir(), f"no story {name}"
    return found


SEED = "cervical-fusion-authorised"


# --- what is compared -----------------------------------------------------------------------------------


def without_ids(value: Any) -> Any:
    """A response without what differs from call to call: uuids, and ids and links made of them."""
    value = copy.deepcopy(value)
    for card in value["cards"]:
        card.pop("uuid", None)
        for link in card.get("links", ()):
            link["url"] = ""
        for suggestion in card.get("suggestions", ()):
            suggestion.pop("uuid", None)
            for action in suggestion.get("actions", ()):
                if action["type"] == "create":
                    action["resource"].pop("id")
    return value


def outline(card: Json) -> Json:
    """A card as `expected.json` holds it."""
    lines = {"indicator": card["indicator"], "summary": card["summary"]}
    suggestions = [_suggestion(s) for s in card.get("suggestions", ())]
    return lines | ({"suggestions": suggestions} if suggestions else {})


def _suggestion(suggestion: Json) -> Json:
    actions = suggestion.get("actions", ())
    found: Json = {"label": suggestion["label"]}
    if suggestion.get("isRecommended"):
        found["recommended"] = True
    for action in actions:
        if action["type"] == "delete":
            found.setdefault("delete", []).append(action["resourceId"])
        else:
            codings = action["resource"]["code"]["coding"]
            found.setdefault(action["type"], []).append(codings[0]["code"])
    return found


def determined(entry: Json) -> Json:
    """A determination as `expected.json` holds it."""
    return {k: entry[k] for k in ("order", "code", "policy", "role", "outcome")}


# --- applying suggestions -------------------------------------------------------------------------------


def applied(request: Json, suggestion: Json) -> Json:
    """The request after a suggestion was accepted: drafts deleted and created as its actions say."""
    after = copy.deepcopy(request)
    entries = after["context"]["draftOrders"]["entry"]
    for action in suggestion["actions"]:
        if action["type"] == "delete":
            kept = [e for e in entries if _ref(e["resource"]) != action["resourceId"]]
            assert len(kept) == len(entries) - 1, f"{action['resourceId']} is not one draft of the event"
            entries[:] = kept
        else:
            entries.append({"resource": action["resource"]})
    if "selections" in after["context"]:
        drafts = {_ref(e["resource"]) for e in entries}
        created = [_ref(a["resource"]) for a in suggestion["actions"] if a["type"] == "create"]
        after["context"]["selections"] = [s for s in after["context"]["selections"] if s in drafts] + created
    return after


def _ref(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def warned_codes(cards: list[Json]) -> set[str]:
    """Codes that warnings are about: each names its procedure by code, first in the summary."""
    warnings = [c["summary"] for c in cards if c["indicator"] != "info"]
    return {found[1] if (found := re.search(r"\(([0-9A-Z]{5})\)", w)) else w for w in warnings}


# --- refreshing -----------------------------------------------------------------------------------------


def prefetch_of(patient: str, templates: dict[str, str]) -> Json:
    """What the templates give on the charts, as the stories keep it: no `link`, the EHR's own address."""
    from urllib.parse import parse_qsl

    from cds_service.web.demo_fhir import Charts

    charts = Charts.load(STORIES)
    filled: Json = {}
    for key, template in templates.items():
        query = template.replace("{{context.patientId}}", patient)
        kind, _, parameters = query.partition("?")
        if not parameters:
            filled[key] = charts.read(*kind.split("/"))
        else:
            filled[key] = charts.bundle(kind, parse_qsl(parameters), EHR)
            filled[key].pop("link")
    return filled


def refresh() -> None:
    """Write prefetch from the charts, then the answers of the present policies."""
    from cds_service.commands.evaluate import answer_file
    from cds_service.config import from_environment
    from cds_service.hooks.answer import determinations, findings
    from cds_service.hooks.runtime import Runtime
    from cds_service.hooks.services import prefetch

    runtime = Runtime.build(from_environment({}, demo=True))
    for each in stories():
        request, expected = each.request, each.expected
        templates = prefetch(runtime.services[each.service], runtime.book.rulebook)
        request["prefetch"] = prefetch_of(request["context"]["patientId"], templates)
        _write(each.folder / "request.json", request)
        done = answer_file(each.folder / "request.json", each.service, None, None)
        expected["cards"] = [outline(c) for c in done.response["cards"]]
        expected["determinations"] = [determined(d) for d in determinations(done)]
        expected["findings"] = findings(done)
        _write(each.folder / "expected.json", expected)


def _write(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    refresh()
