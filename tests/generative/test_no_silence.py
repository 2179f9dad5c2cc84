"""The rule of no silence: every draft order and every Coverage is judged, said, or settled; ordinary ones are silent.

2,100 generated requests, in process. Each kind of notice is needed: without it, this fails.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.charts import PATIENT
from support.unheard import COVERAGES, PREFETCH_SHAPES, SURE, Entry, Json, PrefetchShape, chart, drafts, told

from cds_service.config import Settings
from cds_service.errors import CdsServiceError, MissingData, RequestError
from cds_service.hooks.answer import Answer, answer
from cds_service.hooks.request import validate
from cds_service.hooks.runtime import Caller, Runtime

EXAMPLES = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
NOBODY_SPEAKS = "no policy known to this service speaks to this order"
NOW = datetime(2026, 12, 1, tzinfo=UTC)


@cache
def runtime() -> Runtime:
    return Runtime.build(Settings(demo=True, services="advisor,crd"))


def request(entries: list[Entry], coverages: list[Json], shape: PrefetchShape) -> Json:
    held = [{} if e.resource is None else {"resource": e.resource} for e in entries]
    context = {
        "userId": "Practitioner/d",
        "patientId": PATIENT,
        "draftOrders": {"resourceType": "Bundle", "entry": held},
    }
    return {
        "hook": "order-sign", "hookInstance": str(uuid4()), "context": context, "prefetch": shape(chart(coverages)),
    }  # fmt: skip


def asked(body: Json, door: str) -> Answer:
    service = runtime().services[f"order-sign-{door}"]
    return answer(validate(body, service), service, runtime(), Caller("t"))


def read_as(done: Answer, entry: Entry) -> bool:
    """Was the order read as what it is?"""
    order = next((o for o in done.case.orders if o.ref == entry.ref), None)
    return order is not None and any(c.code == entry.governed and c.system in ("cpt", "hcpcs") for c in order.codes)


def said(cards: list[Json], entry: Entry, number: int) -> bool:
    names = [f"draftOrders.entry[{number}]"]
    names += [entry.ref] if entry.ref else []
    return any(re.search(rf"{re.escape(name)}(?![\w-])", told(card)) for card in cards for name in names)


def reasons(done: Answer, ref: str) -> list[str]:
    """Reasons of the coverage information that CRD adds to an order."""
    updated = [
        a["resource"] for a in done.response.get("systemActions", ()) if a["resource"]["id"] == ref.split("/")[1]
    ]
    parts = [p for r in updated for e in r.get("extension", ()) for p in e.get("extension", ()) if p["url"] == "reason"]
    return [p["valueCodeableConcept"]["text"] for p in parts]


@pytest.mark.parametrize("covered", COVERAGES)
@EXAMPLES
@given(entries=drafts(), shape=st.sampled_from(PREFETCH_SHAPES))
def test_an_advisor_judges_or_says(covered: str, entries: list[Entry], shape: PrefetchShape) -> None:
    coverages, parts = COVERAGES[covered]
    done = asked(request(entries, coverages, shape), "advisor")
    cards = done.response["cards"]
    for number, entry in enumerate(entries):
        if entry.governed is not None:
            assert read_as(done, entry) or said(cards, entry, number), f"unheard: {entry.resource}"
    unseen = [c for c in cards if "**Not checked**" in c.get("detail", "")]
    assert len(unseen) <= 1, "what was not looked at is one card"
    for number, entry in enumerate(entries):
        if entry.governed is None:
            assert not said(unseen, entry, number), f"not ordinary: {entry.resource}"
    for part in parts:
        assert any(part in told(card) for card in unseen), f"{part} is unheard"
    assert parts or not any("policy of" in told(card) for card in unseen)


@pytest.mark.parametrize("covered", ["known", "cancelled", "expired"])
@EXAMPLES
@given(entries=drafts(), shape=st.sampled_from(PREFETCH_SHAPES))
def test_crd_asserts_says_or_refuses_with_a_reason(covered: str, entries: list[Entry], shape: PrefetchShape) -> None:
    try:
        done = asked(request(entries, COVERAGES[covered][0], shape), "crd")
    except CdsServiceError:
        event("refused")  # with a reason: an OperationOutcome, which nobody takes for approval
        return
    cards = done.response["cards"]
    for number, entry in enumerate(entries):
        if entry.governed is None or said(cards, entry, number):
            continue
        assert isinstance(entry.resource, dict), f"unheard: {entry.resource}"
        why = reasons(done, entry.ref)
        judged = read_as(done, entry) and entry.ref in done.assertions
        assert judged or (why and not any(NOBODY_SPEAKS in w for w in why)), f"unheard: {entry.resource}"


@pytest.mark.parametrize("covered", sorted(COVERAGES.keys() - {"known", "cancelled", "expired"}))
def test_crd_refuses_a_coverage_that_leads_to_no_payer_and_says_why(covered: str) -> None:
    with pytest.raises((RequestError, MissingData), match=r"(?i)payor|payer|Coverage"):
        asked(request([SURE], COVERAGES[covered][0], PREFETCH_SHAPES[0]), "crd")
