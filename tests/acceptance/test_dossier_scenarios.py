"""What payers and guidelines say, fact by fact: hook requests through the path of `evaluate`, and what must come out.

Every outcome was written down from the published facts before it was run. A row reads: where the fact comes from,
payer, orders, chart, and what is expected. Orders: `20930 (note)`, `22552 x2`, `20939 at L4-L5`, `20939-50`. Chart:
diagnoses, `22612 on 2026-02-20` (history), `4548-4 = 8 %` (result), `age 17`, `dated 2024-07-06`, `unread conditions`.
Expected: S supported, NS not supported, NI needs information, NA not addressed; `? 20939` a question about its
coding, `! 20930` a safety notice. Findings not written down must not be there.

NI is what a policy's encoding comes to, also where it is a gap: the policy speaks to the order, and what it says was
not read (`NOT_READ`). Nobody is asked then: cards fall back to the guideline, and CRD answers `indeterminate`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.charts import CPT, ICD, PATIENT, SNOMED, bundle, condition, coverage, identified, order, patient, request

from cds_service.cli import cli
from cds_service.config import from_environment
from cds_service.hooks.answer import answer, determinations, findings
from cds_service.hooks.request import parse, validate
from cds_service.hooks.runtime import Caller, Runtime
from cds_service.hooks.services import service_for

Json = dict[str, Any]
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
OUTCOMES = {"not-supported": "NS", "needs-information": "NI", "supported": "S", "not-addressed": "NA"}
STRONGEST = ("NS", "NI", "S", "NA")
ORDER = re.compile(r"(?P<code>\w+(?:-\d\d)?)(?: x(?P<units>\d))?(?: at (?P<site>[\w-]+))?(?: \((?P<note>[^)]*)\))?")
UNREAD = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}

Row = tuple[str, str, str, str, str]
ROWS: list[Row] = [
    # Grafts at Aetna
    ("A.1", "aetna", "22612, 20930 (DBM putty 5 cc)", "", "20930 S"),
    ("A.1", "aetna", "22610, 20930 (cancellous chips)", "", "20930 S"),
    ("A.1", "aetna", "22558, 20931 (femoral ring allograft)", "", "20931 S"),
    ("A.1", "aetna", "22551, 20931 (PEEK spacer)", "", "20931 NI"),
    ("A.1", "aetna", "22558, 20930 (OLIF L4-5, medium Infuse kit)", "", "20930 NI"),
    ("A.1", "aetna", "22630, 20930 (rhBMP-2 in the cage)", "", "20930 NS"),
    ("A.1", "aetna", "22612, 20930 (INFUSE Bone Graft)", "", "20930 NS"),
    ("A.1", "aetna", "22556, 20930 (rhBMP-2)", "", "20930 NS"),
    ("A.1", "aetna", "22600, 20930 (bone morphogenetic protein)", "", "20930 NS, ! 20930"),
    ("A.1", "aetna", "22558, 20930 (rhBMP-2)", "age 17", "20930 NS"),
    ("A.1", "aetna", "22551, 20930 (allograft only; no BMP)", "", "20930 S"),
    ("A.1", "aetna", "20939", "M84.361K", "20939 NS, ? 20939"),
    ("A.1", "aetna", "22610, 20939", "", "20939 NS"),
    ("A.1", "aetna", "22600, 22614, 20939", "", "20939 NS"),
    ("A.1", "aetna", "22612, 20937, 20939", "age 70", "20939 NS, 20937 S"),
    ("A.1", "aetna", "20939", "M85.421, age 9", "20939 S, ? 20939"),
    ("A.1", "aetna", "20939", "M85.621, age 9", "20939 NS, ? 20939"),
    ("A.1", "aetna", "22612, 20930 (mesenchymal stem cells)", "", "20930 NS"),
    ("A.1", "aetna", "22612, 20930 (beta-TCP granules)", "", "20930 NI"),
    ("A.1", "aetna", "22551, 20930 (i-FACTOR)", "", "20930 NI"),
    ("A.1", "aetna", "22612, 38220", "", "38220 NS, ? 38220"),
    ("A.1", "aetna", "22612, 38221", "", "38221 NA, ? 38221"),
    ("A.1", "aetna", "22551, 38240", "", "38240 NS, ? 38240"),
    ("A.1", "aetna", "22612, S2150", "", "S2150 NS, ? S2150"),
    ("A.1", "aetna", "22612, 0232T", "", "0232T NI, ? 0232T"),
    ("A.1", "aetna", "22612, 20930 (Trinity Elite)", "", "20930 NI"),
    # Fusions at Aetna
    ("A.2", "aetna", "22551, 22845", "M50.021", "22551 S, 22845 S"),
    ("A.2", "aetna", "22551", "m50021", "22551 S"),
    ("A.2", "aetna", "22612, 22840", "S32.010A", "22612 S, 22840 S"),
    ("A.2", "aetna", "22556", "M46.34", "22556 S"),
    ("A.2", "aetna", "22610", "C41.2", "22610 S"),
    ("A.2", "aetna", "22610", "C79.51", "22610 NI"),
    ("A.2", "aetna", "22612", "M51.36", "22612 NI"),
    ("A.2", "aetna", "22612", "26538006", "22612 NI"),
    ("A.2", "aetna", "22551", "M54.2", "22551 NI"),
    ("A.2", "aetna", "22551", "M50.322, M45.2", "22551 NI"),
    ("A.2", "aetna", "22551", "M50.322, M48.02", "22551 NI"),
    ("A.2", "aetna", "22551", "M50.322, 83561009", "22551 NI"),
    ("A.2", "aetna", "22551", "unread conditions", "22551 NI"),
    ("A.2", "aetna", "22551", "M48.02, 10365-5 = 15 ng/mL", "22551 NS"),
    ("A.2", "aetna", "22551", "M48.02, 10365-5 = 10 ng/mL", "22551 NI"),
    ("A.2", "aetna", "22551", "M50.021, 10365-5 = 15 ng/mL", "22551 S"),
    ("A.2", "aetna", "22551", "M48.02, F17.211, Z87.891", "22551 NI"),
    ("A.2", "aetna", "22612", "M48.061, E11.65, 4548-4 = 7.9 %", "22612 NI"),
    ("A.2", "aetna", "22612", "M48.061, E11.65, 4548-4 = 8 %", "22612 NS"),
    ("A.2", "aetna", "22612", "M48.061, 44054006, 4548-4 = 9.1 %", "22612 NS"),
    ("A.2", "aetna", "22612", "M48.061, 4548-4 = 9.1 %", "22612 NI"),
    ("A.2", "aetna", "22612, 22830", "M96.0", "22830 NS, 22612 NI"),
    ("A.2", "aetna", "63050", "M40.202", "63050 NS"),
    # Cages at Aetna
    ("A.3", "aetna", "22551, 22853", "M50.122", "22853 NS"),
    ("A.3", "aetna", "22551, 22552 x2, 22853 x3", "M48.02", "22853 NS"),
    ("A.3", "aetna", "63081, 22554, 22854", "S12.400A", "22854 NI"),
    ("A.3", "aetna", "22551, 22853", "M96.0", "22853 S"),
    ("A.3", "aetna", "22551, 22853", "M50.123, 22551 on 2020-01-10, 22845 on 2020-01-10", "22853 NI"),
    ("A.3", "aetna", "22558, 22853, 20937", "", "22853 S, 20937 S"),
    ("A.3", "aetna", "22558, 22853", "", "22853 NI"),
    ("A.3", "aetna", "22556, 22853, 20937", "", "22853 S"),
    # Stimulators at Aetna
    ("A.4", "aetna", "22551, 22552, E0748", "", "E0748 S"),
    ("A.4", "aetna", "22612, E0748", "M43.16", "E0748 NI"),
    ("A.4", "aetna", "22612, E0748", "M96.0", "E0748 S"),
    ("A.4", "aetna", "E0748", "M96.0", "E0748 NI"),
    ("A.4", "aetna", "22612, 22614, 20975 (semi-invasive stimulator)", "", "20975 NS"),
    ("A.4", "aetna", "22612, E0747", "", "E0747 NS, ? E0747"),
    ("A.4", "aetna", "20979", "S92.351A", "20979 S"),
    ("A.4", "aetna", "22612, E0760", "", "E0760 NS"),
    # eviCore
    ("B.1", "cigna", "22612, 20937, 20939", "", "20939 NI, 20937 S"),
    ("B.1", "cigna", "22612, 20938, 20939 (Muschler, 2 mL per site)", "", "20939 S"),
    ("B.1", "cigna", "22612, 20937, 20939 (5 mL per site)", "", "20939 NI"),
    ("B.1", "cigna", "22551, 20937, 20939 (Muschler)", "", "20939 NS"),
    ("B.1", "cigna", "22612, 20937, 20939 (Muschler)", "M46.26", "20939 NS"),
    ("B.1", "cigna", "22558, 20930 (rhBMP-2)", "age 40", "20930 S"),
    ("B.1", "cigna", "22558, 20930 (rhBMP-2)", "O09.521", "20930 NS"),
    ("B.1", "cigna", "22612, 20930 (rhBMP-2)", "", "20930 NI"),
    ("B.1", "cigna", "22612, 22614 x3, 20930 (rhBMP-2)", "", "20930 S"),
    ("B.1", "cigna", "22612, 22614 x2, 20930 (rhBMP-2)", "", "20930 NI"),
    ("B.1", "cigna", "22630, 20930 (Infuse)", "F10.20", "20930 S"),
    ("B.1", "cigna", "22590, 20930 (rhBMP-2)", "", "20930 NI, ! 20930"),
    ("B.1", "cigna", "22612, 20930 (rhBMP-7)", "", "20930 NS"),
    ("B.1", "cigna", "22612, E0748", "E11.9", "E0748 S"),
    ("B.1", "cigna", "22612, E0748", "44054006", "E0748 S"),
    ("B.1", "cigna", "22612, E0748", "F17.211", "E0748 NI"),
    ("B.1", "cigna", "22612, E0748", "39156-5 = 31 kg/m2", "E0748 S"),
    ("B.1", "cigna", "22612, E0748", "39156-5 = 30 kg/m2", "E0748 NI"),
    ("B.1", "cigna", "22551, 22552, E0748", "", "E0748 NI"),
    ("B.1", "cigna", "22612, E0748", "C41.2, E11.9", "E0748 NS"),
    # Other plans
    ("B.2", "unitedhealthcare", "22612, 20930 (tricalcium phosphate)", "", "20930 NS"),
    ("B.2", "unitedhealthcare", "22551, 20939", "", "20939 NI"),
    ("B.2", "unitedhealthcare-community-plan-nc", "22612, 20930, 0814T", "", "20930 NI, 0814T NI"),
    ("B.2", "rocky-mountain-health-plans", "22612, 20930 (Mastergraft)", "", "20930 NS"),
    ("B.3", "anthem", "22612, 38241", "", "38241 NS, ? 38241"),
    ("B.3", "anthem", "22551, 20939", "", "20939 NI"),
    ("B.4", "humana", "22612, 20939", "dated 2023-12-31", "20939 NA"),
    ("B.4", "humana", "22612, 20939", "dated 2024-01-01", "20939 NI"),
    ("B.5", "bcbs-alabama", "22551, 20930 (Trinity Elite)", "", "20930 NS"),
    ("B.5", "bcbs-north-dakota", "22612, 38230", "", "38230 NS, ? 38230"),
    ("B.5", "bcbs-north-dakota", "20933", "", "20933 NI"),
    ("B.5", "bcbs-north-carolina", "22558, 22585, 20930 (rhBMP-2)", "", "20930 NS"),
    ("B.5", "hcsc", "22612, E0748", "M81.0", "E0748 S"),
    ("B.5", "premera", "22612, E0748", "M81.0", "E0748 NI"),
    ("B.5", "premera", "22551, 22552, E0748", "E11.9", "E0748 NS"),
    ("B.5", "bcbs-rhode-island", "22612, 22614, E0749", "", "E0749 NS"),
    ("B.5", "bcbs-rhode-island-medicare-advantage", "22612, 22614, E0749", "", "E0749 S"),
    # Medicare
    ("B.6", "medicare", "22551, 20939", "", "20939 NA"),
    ("B.6", "medicare", "22551", "M54.2", "22551 NI"),
    ("B.6", "medicare", "22551", "M54.2, M50.122", "22551 NI"),
    ("B.6", "medicare", "22551, 0232T", "dated 2024-07-06", "0232T NA, 22551 NA, ? 0232T"),
    ("B.6", "medicare", "22551, 0232T", "dated 2024-07-07", "0232T NS, 22551 NI, ? 0232T"),
    ("B.6", "oregon-medicaid", "22612, 20939", "", "20939 NI"),
    ("F", "medicare", "22551 at C4-C6, 22552, E0748", "", "E0748 S"),
    ("F", "medicare", "22551 at C4-C6, E0748", "", "E0748 NI"),
    ("F", "medicare", "22630, E0748", "M48.061", "E0748 NS"),
    ("F", "medicare", "22630, E0748", "unread conditions", "E0748 NI"),
    ("F", "medicare", "E0748", "M96.0, 22612 on 2026-02-20", "E0748 S"),
    ("F", "medicare", "E0748", "M96.0, 22612 on 2026-02-21", "E0748 NI"),
    ("F", "medicare", "22612, E0748", "M96.0, 22551 on 2026-06-01", "E0748 NI"),
    ("F", "medicare", "22612, 22614, E0748, E0760", "", "E0760 NS, E0748 NI"),
    ("F", "medicare", "E0760", "S02.0XXA", "E0760 NS"),
    ("F", "medicare", "E0747", "Z98.1", "E0747 NI, ? E0747"),  # Z98.1 may be an ankle: asked, not refused
    # Nobody pays, or nobody is known to
    ("H", "", "22551, 20939", "", "20939 NA"),
    ("C.4", "", "22551, 20930 (rhBMP-2)", "dated 2008-06-30", "20930 NA"),
    # FDA's notice is not a payer's text: it is a safety finding, and the policies say what they were read to say
    ("C.4", "medicare", "22551, 20930 (rhBMP-2)", "", "20930 NA, ! 20930"),
    ("C.4", "humana", "22551, 20930 (rhBMP-2)", "", "20930 NI, ! 20930"),
    ("C.4", "anthem", "22551, 20930 (rhBMP-2)", "", "20930 NI, ! 20930"),
    ("C.4", "unitedhealthcare", "22551, 20930 (rhBMP-2)", "", "20930 NI, ! 20930"),
    ("C.4", "bcbs-alabama", "22551, 20930 (rhBMP-2)", "", "20930 NA, ! 20930"),
    ("C.4", "bcbs-north-dakota", "22551, 20930 (rhBMP-2)", "", "20930 NA, ! 20930"),
    ("C.4", "premera", "22551, 20930 (rhBMP-2)", "", "20930 NA, ! 20930"),
    ("C.4", "bcbs-north-carolina", "22551, 20930 (rhBMP-2)", "", "20930 NS, ! 20930"),
    ("C.4", "", "22551, 22558, 20930 (rhBMP-2)", "", "20930 NA, ? 20930"),
    ("C.4", "", "22551, 22558, 20930 at L5-S1 (rhBMP-2)", "", "20930 NA"),
    # Coding
    ("D", "", "22612, 20939, 20939", "", "? 20939"),
    ("D", "", "22612, 20939-50", "", "20939 NA"),
    ("D", "", "22551, 22552, 22853", "", "? 22853"),
    ("D", "", "22551, 22552, 22853, 22853", "", "22853 NA"),
    ("D", "", "22551, 22552 x2, 22845", "", "? 22845"),
    ("D", "", "22630, 22634", "", "? 22634"),
    ("D", "", "22586, 20936", "", "? 20936"),
    ("E", "", "22551", "M48.061", "? 22551"),
    ("E", "", "22551", "M50.33, M48.00", "22551 NA"),
    ("E", "", "22612", "54404000", "? 22612"),
]


# NI for no other reason than that the encoding does not know its policy, by payer.
NOT_READ = {
    "aetna": {"0232T", "20930"}, "cigna": {"22612", "22614", "20930"}, "unitedhealthcare": {"20939", "20930"},
    "unitedhealthcare-community-plan-nc": {"0814T", "20930"}, "anthem": {"20939", "22551", "20930"},
    "humana": {"20939", "20930"}, "oregon-medicaid": {"20939"},
}  # fmt: skip


def _order(number: int, text: str) -> Json:
    parts = ORDER.fullmatch(text)
    assert parts, text
    code = parts["code"]
    made = order(code.split("-")[0], f"o{number}-{code.split('-')[0]}")
    made["code"] = {"coding": [{"system": HCPCS if code[0] in "ES" else CPT, "code": code}]}
    if parts["units"]:
        made["quantityQuantity"] = {"value": int(parts["units"])}
    if parts["site"]:
        made["bodySite"] = [{"text": parts["site"]}]
    if parts["note"]:
        made["note"] = [{"text": parts["note"]}]
    return made


def _procedure(number: int, code: str, day: str) -> Json:
    concept = {"coding": [{"system": CPT, "code": code}]}
    subject = {"reference": f"Patient/{PATIENT}"}
    made = {"resourceType": "Procedure", "id": f"p{number}", "status": "completed", "code": concept, "subject": subject}
    return made | {"performedDateTime": day}


def _result(number: int, code: str, value: str, unit: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": f"b{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "effectiveDateTime": "2026-11-01",
        "valueQuantity": {"value": float(value), "unit": unit},
    }


def hook_request(payer: str, orders: str, chart: str) -> Json:
    """The hook request that a row describes."""
    drafts = [_order(n, text) for n, text in enumerate(re.split(r", (?![^(]*\))", orders), 1)]
    problems, history, results, prefetch = [], [], [], {"patient": patient(birthDate="1976-01-31")}
    for n, fact in enumerate(chart.split(", ") if chart else ()):
        word, _, rest = fact.partition(" ")
        if word == "age":
            prefetch["patient"] = patient(birthDate=f"{2026 - int(rest)}-01-31")
        elif word == "dated":
            drafts = [d | {"authoredOn": rest} for d in drafts]
        elif word == "unread":
            prefetch[rest] = UNREAD
        elif rest.startswith("on "):
            history.append(_procedure(n, word, rest[3:]))
        elif rest.startswith("= "):
            results.append(_result(n, word, *rest[2:].split()))
        else:
            problems.append(condition(word, f"dx{n}", SNOMED if word.isdigit() else ICD))
    read = {"conditions": bundle(*problems), "procedures": bundle(*history), "observations": bundle(*results)}
    read["coverage"] = bundle(coverage(identified(payer))) if payer else bundle()
    return request(*drafts, prefetch=read | prefetch)


@cache
def runtime() -> Runtime:
    return Runtime.build(from_environment(demo=True, cards=None))


def outcomes(told: list[Json]) -> dict[str, set[str]]:
    """What the primary coverage says of each code; of several policies the strongest outcome."""
    by_order: dict[str, set[str]] = {}
    for d in told:
        if d["role"] == "primary":
            by_order.setdefault(d["order"], set()).add(OUTCOMES[d["outcome"]])
    found: dict[str, set[str]] = {}
    for ref, seen in by_order.items():
        found.setdefault(ref.rpartition("-")[2], set()).add(next(o for o in STRONGEST if o in seen))
    return found


def test_which_orders_wait_for_what_was_not_read() -> None:
    found: dict[str, set[str]] = {}
    for _, payer, orders, chart, expected in ROWS:
        raw = json.dumps(hook_request(payer, orders, chart)).encode()
        body = parse(raw)
        service = service_for(runtime().services, None, body)
        for result in answer(validate(body, service, raw), service, runtime(), Caller("evaluate")).results:
            if result.gap and "NI" in expected:
                found.setdefault(payer, set()).add(result.order.ref.rpartition("-")[2])
    assert found == NOT_READ


@pytest.mark.parametrize("row", ROWS, ids=[" | ".join(r[:4]) for r in ROWS])
def test_scenario(row: Row) -> None:
    _, payer, orders, chart, expected = row
    raw = json.dumps(hook_request(payer, orders, chart)).encode()
    body = parse(raw)
    service = service_for(runtime().services, None, body)
    done = answer(validate(body, service, raw), service, runtime(), Caller("evaluate"))
    found = outcomes(determinations(done))
    remarks = {f"{'!' if f['kind'] == 'safety' else '?'} {f['order'].rpartition('-')[2]}" for f in findings(done)}
    wanted = expected.split(", ")
    for code, outcome in (w.split() for w in wanted if w[0] not in "?!"):
        assert found[code] == {outcome}
    assert remarks == {w for w in wanted if w[0] in "?!"}


def test_the_command_tells_the_same(tmp_path: Path) -> None:
    _, payer, orders, chart, _ = ROWS[0]
    file = tmp_path / "request.json"
    file.write_text(json.dumps(hook_request(payer, orders, chart)), encoding="utf-8")
    ran = CliRunner().invoke(cli, ["evaluate", str(file), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.output)
    assert outcomes(told["determinations"])["20930"] == {"S"}
    assert told["findings"] == []
