"""The traces that a record keeps say what `evaluate --json` prints, without the policy's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.stories import Story, stories

from cds_service.config import Settings
from cds_service.hooks.answer import answer, determinations
from cds_service.hooks.recording import record
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.ledger.document import document_of
from cds_service.ledger.traces import expanded


def without_words(node: Any) -> Any:
    """A trace without the texts and citations of its policy; evidence and missing facts keep theirs."""
    kept = {k: v for k, v in node.items() if k not in ("text", "cites")}
    return kept | ({"children": [without_words(c) for c in node["children"]]} if "children" in node else {})


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime.build(Settings(demo=True))


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_a_record_tells_the_whole_trace(runtime: Runtime, story: Story) -> None:
    raw = json.dumps(story.request).encode()
    service = runtime.services[story.service]
    done = answer(validate(parse(raw), service, raw), service, runtime, Caller("test"))
    kept = record(done, Caller("test"), runtime.now(), lambda *parts: "|".join(map(str, parts)), frozenset())
    document = document_of(kept, {}, 0)
    stored = expanded(document | {"traces": json.loads(kept.traces)})["determinations"]
    assert [d["trace"] for d in stored] == [without_words(d["trace"]) for d in determinations(done)]
    assert any(d["trace"].get("children") for d in stored) == any(d["policy"] for d in stored)
