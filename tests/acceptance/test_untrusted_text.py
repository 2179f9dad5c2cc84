"""Text of a chart shows as text in card, page and log; who the patient is shows nowhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from support.charts import (
    CPT,
    PATIENT,
    SIX,
    SNOMED,
    authorised,
    bundle,
    condition,
    coverage,
    identified,
    order,
    patient,
    request,
)
from support.service import Service

Json = dict[str, Any]
HOSTILE = [
    "<script>alert(7191)</script>",
    "<img src=x onerror=alert(7191)>",
    "<style>body{display:none}</style>",
    "[click](javascript:alert(7191))",
    "![x](http://tracker.example/7191.png)",
    "https://phish.example/7191",
    "<https://phish.example/7191>",
    "**bold7191** __under7191__ ~~gone7191~~ `code7191`",
    "# Heading7191\n\n- item7191\n> quote7191",
    "{{7191*7193}} {% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %} ${7191*7193}",
    "| a7191 | b |\n|---|---|\n| c | d |",
    "&lt;b&gt;7191&amp; &#x3C;i&#x3E;",
    "line7191\r\n2026-11-24 INFO forged log line",
    "\u202e1917 reversed \u0000 null \u2028 separator7191",
    "</li></ul></section><h1>7191</h1>",
    "\\*7191\\* \\<b\\>",
]
SIGN = re.compile(r"7191|forged|tracker\.example|phish\.example")
PRODUCT = 7191 * 7193


def hostile_request(text: str) -> Json:
    """The case with one text wherever a chart may hold text."""
    one_line = text
    concept = {"coding": [{"system": "http://loinc.org", "code": one_line, "display": text}], "text": text}
    orders = []
    for code in SIX:
        made = order(code, note=[{"text": text}], orderDetail=[{"text": text}], bodySite=[{"text": f"C4-C6 {text}"}])
        made["code"]["text"] = text
        made["code"]["coding"][0]["display"] = text
        made["code"]["coding"].append({"system": text, "code": text, "display": text})
        made["reasonCode"] = [concept]
        made["reasonReference"] = [{"reference": "Condition/dx-1", "display": text}]
        made["encounter"] = {"reference": f"Encounter/{text}", "display": text}
        orders.append(made if code == "20939" else authorised(made, number=text))
    named = condition("M50.321", onsetString=text)
    named["code"]["text"] = named["code"]["coding"][0]["display"] = text
    insurer = {"resourceType": "Organization", "id": "payer-1", "name": text, "alias": [text]}
    payor = identified("aetna") | {"display": text}
    second = coverage({"reference": "Organization/payer-1", "display": text}, "ins-2", subscriberId=text)
    return request(
        *orders,
        prefetch={
            "conditions": bundle(named, condition("M48.02", "dx<b>7191</b>")),
            "coverage": bundle(coverage(payor, order=1), second, insurer),
        },
    )


class Tags(HTMLParser):
    """Elements and attributes of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(markdown: str) -> Tags:
    """What a liberal client makes of card Markdown: HTML let through, bare links made links, tables, strikethrough."""
    return Tags(MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown))


@pytest.mark.parametrize("text", HOSTILE)
def test_chart_text_is_never_markup(service: Service, text: str) -> None:
    before = len(service.log())
    cards = service.cards(hostile_request(text))
    flagged = [c for c in cards if "(20939)" in c["summary"]]
    assert flagged
    for card in cards:
        assert not SIGN.search(card["summary"])
        assert not SIGN.search(json.dumps(card["source"]))
        for suggestion in card.get("suggestions", ()):
            assert not SIGN.search(suggestion["label"] + "".join(a["description"] for a in suggestion["actions"]))
        shown = rendered(card["detail"])
        assert shown.names <= {"p", "strong", "ul", "li"}
        assert shown.attributes == []
        assert str(PRODUCT) not in shown.text
        bold = re.findall(r"\*\*(.+?)\*\*", card["detail"])
        assert not any(SIGN.search(b) for b in bold)
        assert not re.search(r"https?://(phish|tracker)", card["detail"])
        for link in card.get("links", ()):
            check_page(service, link["url"].removeprefix(service.base))
    log = service.log()[before:]
    assert not SIGN.search(log)
    assert str(PRODUCT) not in log


def check_page(service: Service, path: str) -> None:
    for audience in ("clinician", "patient"):
        page = service.get(f"{path}?audience={audience}", headers={"Accept": "text/html"}).text
        tags = Tags(page)
        assert tags.names <= {
            "html", "head", "meta", "title", "style", "link", "body", "main", "header", "footer", "nav", "section",
            "article", "h1", "h2", "h3", "p", "ul", "ol", "li", "a", "dl", "dt", "dd", "strong", "span", "div", "small",
            "img",
        }  # fmt: skip
        assert not any(name.startswith("on") for name, _ in tags.attributes)
        pictures = [value or "" for name, value in tags.attributes if name == "src"]
        assert all(picture.endswith("/mark.svg") and picture.startswith("/") for picture in pictures)
        links = [value or "" for name, value in tags.attributes if name in ("href", "src")]
        assert all(re.match(r"https://|/|\?|#", link) for link in links)
        assert not SIGN.search(page), "free text of the chart is not for this page"
        assert str(PRODUCT) not in page


def test_text_that_is_shown_reads_as_it_was_written(service: Service) -> None:
    """An authorisation number is the one text of the client's that a card repeats."""
    number = "PA-<b>&amp;_1_*2*[x](y)"
    body = request(authorised(order("20930"), number), order("22551"), order("20939"))
    [card] = [c for c in service.cards(body) if "(20939)" in c["summary"]]
    assert number in rendered(card["detail"]).text
    assert "<b>" not in card["detail"]


def test_references_are_written_as_they_came(service: Service) -> None:
    """An id is not a sentence: its capital letters stay."""
    sick = condition("M50.321", "AbC-1", modifierExtension=[{"url": "urn:x", "valueBoolean": True}])
    cards = service.cards(request(order("22551"), prefetch={"conditions": bundle(sick)}))
    details = [c["detail"] for c in cards if "Condition&#47;" in c["detail"] or "condition&#47;" in c["detail"]]
    assert any("Condition&#47;AbC-1" in d for d in details)
    assert not any("abc-1" in d or "condition&#47;" in d for d in details)


@pytest.mark.parametrize("own", ["a-1.B", "a" * 64, "x_y", "<b>x</b>", "o 1", "ö", "a/b"])
def test_ids_legal_or_not_are_text_too(service: Service, own: str) -> None:
    cards = service.cards(request(order("22551", "p"), order("20939", own)))
    assert cards
    for card in cards:
        assert rendered(card["detail"]).names <= {"p", "strong", "ul", "li"}
    removed = [
        a["resourceId"] for c in cards for s in c.get("suggestions", ()) for a in s["actions"] if a["type"] == "delete"
    ]
    assert set(removed) <= {f"ServiceRequest/{own}"}


# --- privacy ------------------------------------------------------------------------------------------

SECRETS = {
    "given": "Xanthippe-Nomen", "family": "Wolkenbruch-Testa", "mrn": "MRN-99-31337", "street": "17 Quibble Row",
    "phone": "+1-555-0142-777", "birth": "1949-08-07", "subscriber": "SUBS-4471-QX", "token": "tok-8fjw3-SECRET",
    "note": "zebrafish-note-text", "diagnosis": "unobtainium-deficiency",
}  # fmt: skip


def identified_request(**parts: Any) -> Json:
    person = patient(
        name=[{"family": SECRETS["family"], "given": [SECRETS["given"]]}],
        identifier=[{"system": "urn:mrn", "value": SECRETS["mrn"]}],
        address=[{"line": [SECRETS["street"]]}],
        telecom=[{"system": "phone", "value": SECRETS["phone"]}],
        birthDate=SECRETS["birth"],
    )
    sick = condition("M50.321", note=[{"text": SECRETS["note"]}])
    sick["code"]["text"] = SECRETS["diagnosis"]
    orders = [order(c, note=[{"text": SECRETS["note"]}]) for c in SIX]
    return request(
        *orders,
        prefetch={
            "patient": person,
            "conditions": bundle(sick),
            "coverage": bundle(coverage(identified("aetna"), subscriberId=SECRETS["subscriber"])),
        },
        fhirServer="https://ehr.example.org/fhir",
        fhirAuthorization={"access_token": SECRETS["token"], "token_type": "Bearer", "expires_in": 300},
        **parts,
    )


def _spoil(body: Json, path: str, value: Any) -> Json:
    *parents, last = path.split(".")
    node: Any = body
    for name in parents:
        node = node[int(name)] if name.isdigit() else node[name]
    node[last] = value
    return body


INVENTED = ["JANE DOE 1969", "DOE-JANE", "1969-03-04"]


@pytest.mark.parametrize("code", INVENTED)
@pytest.mark.parametrize("system", ["urn:hospital", CPT, SNOMED, "Jane Doe 1969"])
def test_codes_that_nobody_knows_are_not_on_pages_or_in_headlines(service: Service, system: str, code: str) -> None:
    """Where FHIR has a code a chart may have a name: pages are open to whoever has the link."""
    own = {"system": system, "code": code}
    bmp = order("20930", "bmp", note=[{"text": f"Use rhBMP-2 {code}"}])
    bmp["code"] = {"coding": [own]}
    marrow = order("20939")
    marrow["code"]["coding"].insert(0, own)
    sick = condition("M50.321")
    sick["code"]["coding"].append(own)
    film = {"resourceType": "Observation", "id": code.replace(" ", ""), "status": "final", "code": {"coding": [own]}}
    film |= {"subject": {"reference": f"Patient/{PATIENT}"}, "valueBoolean": True}
    body = request(order("22551"), marrow, bmp, prefetch={"conditions": bundle(sick), "observations": bundle(film)})
    cards = service.cards(body)
    assert any("(20939)" in c["summary"] for c in cards)
    for card in cards:
        assert code not in card["summary"]
        for link in card.get("links", ()):
            path = link["url"].removeprefix(service.base)
            for accepted in ("text/html", "application/json"):
                told = service.get(path, headers={"Accept": accepted}).text
                assert code not in told
                assert "Jane Doe" not in told


SPOILT = [
    ("hook", f"order-sign {SECRETS['family']}"),
    ("hookInstance", {"name": SECRETS["family"]}),
    ("context.patientId", {"name": SECRETS["family"]}),
    ("context.draftOrders", SECRETS["family"]),
    ("context.draftOrders.resourceType", SECRETS["family"]),
    ("context.draftOrders.entry", [SECRETS["family"]]),
    ("prefetch", SECRETS["family"]),
    ("fhirAuthorization.access_token", 5),
    ("prefetch.patient.birthDate", f"{SECRETS['birth']}T25:00"),
    ("prefetch.patient.name", SECRETS["family"]),
    ("prefetch.patient.modifierExtension", [{"url": SECRETS["mrn"], "valueString": SECRETS["family"]}]),
    ("prefetch.conditions.entry.0.resource.code", SECRETS["diagnosis"]),
    ("prefetch.conditions.entry.0.resource.subject", {"reference": f"Patient/{SECRETS['mrn']}"}),
    ("prefetch.conditions.entry.0.resource.id", SECRETS["family"] + " \n forged"),
    ("prefetch.coverage", {"resourceType": "OperationOutcome", "issue": [{"diagnostics": SECRETS["family"]}]}),
    ("context.draftOrders.entry.0.resource.code", SECRETS["note"]),
    ("context.draftOrders.entry.0.resource.modifierExtension", [{"url": "x", "valueString": SECRETS["family"]}]),
]


@pytest.mark.parametrize(("path", "value"), [("extension", {}), *SPOILT], ids=["sound", *(p for p, _ in SPOILT)])
def test_nothing_of_the_patient_is_in_log_error_or_page(service: Service, path: str, value: Any) -> None:
    response = service.call(_spoil(identified_request(), path, value))
    texts = [service.log()]
    if response.status_code >= 400:
        texts.append(response.text)
    else:
        for card in response.json()["cards"]:
            for link in card.get("links", ()):
                texts.append(service.get(link["url"].removeprefix(service.base)).text)
    for text in texts:
        for secret in SECRETS.values():
            assert secret not in text
        assert PATIENT not in text


def test_a_resource_with_a_modifier_nobody_understands_is_told_of_in_the_log_but_not_its_id(service: Service) -> None:
    modified = condition("M50.321", "dx-modified", modifierExtension=[{"url": "urn:x", "valueBoolean": True}])
    before = len(service.log())
    body = request(*(order(c) for c in SIX), prefetch={"conditions": bundle(modified)})
    for _ in range(2):
        assert any("(20939)" in c["summary"] for c in service.cards(body))
    lines = [json.loads(line) for line in service.log()[before:].splitlines() if "not used" in line]
    first, second = [line["message"] for line in lines]
    assert re.fullmatch(r"not used: Condition #[0-9a-f]{8}", first)
    assert first == second, "the same resource looks the same, for as long as the service runs"
    assert {line["hookInstance"] for line in lines} == {body["hookInstance"]}


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Condition", "id": "ZQ-John-Smith", "modifierExtension": [{"url": "urn:x"}]},
        {"resourceType": "Condition", "id": "ZQ John", "modifierExtension": [{"url": "urn:x"}]},
        {"resourceType": "ZQJohnSmith", "id": "1"},
        {"resourceType": "ZQJohnSmith"},
        {"resourceType": "Condition", "id": "1", "subject": {"reference": "Patient/ZQ-other"}},
    ],
)
@pytest.mark.parametrize("key", ["conditions", "ZQ-own"])
def test_what_is_not_used_leaves_no_id_in_the_log(service: Service, resource: Json, key: str) -> None:
    body = request(*(order(c) for c in SIX), prefetch={key: bundle(resource)})
    body["context"]["draftOrders"]["entry"].append({"resource": {**resource, "resourceType": "DeviceRequest"}})
    before = len(service.log())
    assert service.call(body).status_code == 200
    assert "not used: " in service.log()[before:]
    assert "ZQ" not in service.log()[before:]
