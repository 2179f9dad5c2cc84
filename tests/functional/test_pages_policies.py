"""Policy pages: sentences from the data, history with differences, live worked cases."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT
from support.service import Service, running

from cds_service.content_files import load_rulebook
from cds_service.policy.model import OPERATORS, Criterion, Policy
from cds_service.policy.rulebook import Rulebook
from cds_service.web.pages import history
from cds_service.web.pages.cases import all_results
from cds_service.web.pages.policies import _value_sets as value_sets
from cds_service.web.pages.sentences import _HOW, absence, clause, how


def page(service: Service, path: str) -> str:
    response = service.session.get(service.base + path, headers={"Accept": "text/html"}, timeout=20)
    assert response.status_code == 200
    return response.text


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load_rulebook()


def value_sets_of(criterion: Criterion) -> set[str]:
    return {p.value_set for p in how(criterion) if p.value_set}


def said(**test: object) -> str:
    return "".join(p.text or f"[{p.value_set}]" for p in how(Criterion.model_validate({"text": "x", **test})))


def test_every_operator_of_the_language_has_a_sentence() -> None:
    assert set(OPERATORS) == set(_HOW)


@pytest.mark.parametrize(
    ("test", "sentence"),
    [
        ({"order": {"value_set": "bmp"}}, "The order's code, or its own text, is in [bmp]."),
        ({"companion": {"value_set": "bmp"}}, "An order of the same operation in [bmp]."),
        ({"companion": {"value_set": "bmp", "scope": "basket", "at_least": 2, "outcome": "supported"}},
         "2 orders or more among all orders in [bmp], which this policy supports."),
        ({"operation": {"region": ["cervical", "thoracic"], "approach": ["anterior"]}},
         "The operation that the order belongs to: region cervical or thoracic, approach anterior."),
        ({"interspaces": {"at_least": 2}}, "Interspaces fused: at least 2, in the operation."),
        ({"vertebrae": {"at_most": 3, "of": "operation-or-history"}},
         "Vertebrae fused: at most 3, in the operation or the history."),
        ({"condition": {"value_set": "fever", "onset_within": {"weeks": 6}}},
         "Problem list: an active diagnosis in [fever], begun within the last 6 weeks."),
        ({"indication": {"value_set": "fever", "status": "any", "region": "same"}},
         "The order's own reasons first, then the problem list: any diagnosis in [fever], "
         "at the region of the operation."),
        ({"procedure": {"value_set": "spinal-fusion", "before": {"months": 1}}},
         "Procedures done: one in [spinal-fusion], at least this long ago: 1 month."),
        ({"procedure": {"value_set": "spinal-fusion", "after": {"months": 1, "days": 1}, "before": {"weeks": 2}}},
         "Procedures done: one in [spinal-fusion], less than this long ago: 1 month and 1 day, "
         "at least this long ago: 2 weeks."),
        ({"age": {"at_least": 18, "under": 65}}, "Age on the day of the order: at least 18 and under 65 years."),
        ({"observation": {"value_set": "bmi", "below": 40, "unit": "kg/m2"}},
         "The latest final result in [bmi] is below 40 kg/m2."),
        ({"observation": {"value_set": "smoking-status", "equals": "tobacco-current", "within": {"days": 90}}},
         "The latest final result in [smoking-status] is one of [tobacco-current], within the last 90 days."),
        ({"procedure": {"value_set": "lung-screening-done", "after": {"months": 12, "counted": "calendar"}}},
         "Procedures done: one in [lung-screening-done], less than this long ago: 12 months, counted from the month."),
        ({"procedure": {"value_set": "glucose-visit", "count": "days", "at_least": 2, "in": "calendar-year"}},
         "Procedures done: on 2 days or more, in [glucose-visit], in the calendar year of the order."),
        ({"medication": {"value_set": "glucose-insulin", "status": "in-use"}}, "In use: a drug of [glucose-insulin]."),
        ({"medication": {"value_set": "glucose-insulin", "within": {"months": 6}, "for_at_least": {"weeks": 14},
                         "stopped_because": "fever"}},
         "In use or used before: a drug of [glucose-insulin], within the last 6 months, for at least 14 weeks, "
         "stopped because of [fever]."),
        ({"age": {"under": 24, "in": "months"}}, "Age on the day of the order: under 24 months."),
        ({"sex": {"is": "female"}}, "The administrative sex is female."),
        ({"observation": {"value_set": "oxygen-saturation", "which": "lowest", "at_most": 88, "unit": "%"}},
         "The lowest final result in [oxygen-saturation] is at most 88 %."),
        ({"observation": {"value_set": "glucose-level", "which": "any", "below": 54, "unit": "mg/dL",
                          "at_least_times": 2, "apart": {"days": 1}}},
         "At least 2 final results, at least 1 day apart, in [glucose-level] are below 54 mg/dL."),
        ({"units": {"at_least": 2}}, "Units ordered of this code in the operation: at least 2."),
        ({"units": {"compared_with": "interspaces"}},
         "Units ordered of this code in the operation: not as many as its interspaces."),
        ({"repeated": {}}, "The same code is ordered twice in the operation."),
        ({"asked": {}}, "No code carries this: it is asked."),
    ],
)  # fmt: skip
def test_a_criterion_reads_as_a_sentence(test: dict[str, object], sentence: str) -> None:
    assert said(**test) == sentence


def test_every_bundled_criterion_and_rule_can_be_read(rulebook: Rulebook) -> None:
    seen = set()
    for folder in rulebook.folders.values():
        for version in folder.policy.versions:
            for criterion in version.criteria.values():
                text = "".join(p.text for p in how(criterion))
                assert text.endswith(".")
                assert ": ." not in text
                assert "None" not in text
                assert value_sets_of(criterion) <= set(rulebook.content.value_sets)
                assert absence(criterion) in ("", *_ABSENCES)
                seen.add(criterion.operator[0])
            for item in version.orders.values():
                assert all(clause(r.when, version).text for r in item.rules)
    assert seen <= set(OPERATORS)
    assert len(seen) >= 10


_ABSENCES = (
    "If the chart was read and holds nothing: not met.",
    "If nothing is recorded: unknown, never a refusal.",
)


def test_the_list_has_every_policy_and_can_be_narrowed(service: Service, rulebook: Rulebook) -> None:
    whole = page(service, "/policies")
    assert set(re.findall(r'href="/policies/([^"]+)"', whole)) == set(rulebook.folders)
    coverage = page(service, "/policies?kind=coverage")
    kinds = {n: f.policy.kind for n, f in rulebook.folders.items()}
    assert {kinds[n] for n in re.findall(r'href="/policies/([^"]+)"', coverage)} == {"coverage"}
    found = re.findall(r'href="/policies/([^"]+)"', page(service, "/policies?q=aetna+graft"))
    assert "aetna/bone-graft-adjuncts" in found
    assert all(n.startswith("aetna/") for n in found)
    assert "No policy fits." in page(service, "/policies?q=<script>")


def test_every_policy_page_opens_and_shows_its_parts(service: Service, rulebook: Rulebook) -> None:
    for name, folder in rulebook.folders.items():
        text = page(service, f"/policies/{name}")
        version = folder.policy.versions[-1]
        for criterion in version.criteria:
            assert f'id="criterion-{criterion}"' in text
        for source in version.sources:
            assert f'id="source-{source}"' in text
        for case in folder.cases.cases if folder.cases else ():
            assert f"?case={name}/{case.id}" in text
        targets = set(re.findall(r'href="#([^"]+)"', text)) - {"main"}
        assert targets <= set(re.findall(r'id="([^"]+)"', text)), name


def test_a_policy_page_shows_the_sets_that_words_need_beside_them(rulebook: Rulebook) -> None:
    known = rulebook.content.value_sets
    beside = {name: s.with_code.value_set for name, s in known.items() if s.with_code}
    assert beside
    for folder in rulebook.folders.values():
        for version in folder.policy.versions:
            shown = {s.id for s in value_sets(version, known)}
            assert {beside[name] for name in shown & set(beside)} <= shown
            assert {n for c in version.criteria.values() for n in value_sets_of(c)} <= shown


def test_an_unknown_policy_or_version_is_not_found(service: Service) -> None:
    for path in ("/policies/no/such", "/policies/aetna/bone-graft-adjuncts?version=1066"):
        response = service.session.get(service.base + path, headers={"Accept": "text/html"})
        assert response.status_code == 404
        assert response.headers["Content-Type"].startswith("text/html")


def test_case_results_are_those_of_the_engine(rulebook: Rulebook) -> None:
    results = all_results(rulebook)
    assert set(results) == set(rulebook.folders)
    assert all(len(r.cases) == len(rulebook.folders[n].cases.cases) for n, r in results.items() if r.cases)
    assert all(r.clean and r.reached == r.rules for r in results.values())


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled content with an older, different version of one policy, and a case that fails."""
    folder = tmp_path_factory.mktemp("content") / "cards"
    shutil.copytree(ROOT / "cards", folder)
    path = folder / "choosing-wisely" / "low-back-imaging" / "policy.yaml"
    content = yaml.safe_load(path.read_text())
    new = content["versions"][0]
    old = yaml.safe_load(yaml.safe_dump(new))
    old["version"], old["effective"] = "2000", {"from": None, "to": date(2011, 12, 31)}
    new["effective"] = {"from": date(2012, 1, 1), "to": None}
    name = next(iter(old["criteria"]))
    old["criteria"][name]["text"] = "Back pain <b>was</b> the reason."
    content["versions"] = [old, new]
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    cases = folder / "choosing-wisely" / "low-back-imaging" / "cases.yaml"
    written = yaml.safe_load(cases.read_text())
    first = written["cases"][0]
    code = next(iter(first["expect"]))
    first["expect"][code] = "supported"
    cases.write_text(yaml.safe_dump(written, sort_keys=False))
    return folder


def test_history_shows_what_changed_and_a_failing_case_fails_live(two_versions: Path, tmp_path: Path) -> None:
    with running(tmp_path, "--cards", str(two_versions)) as changed:
        text = page(changed, "/policies/choosing-wisely/low-back-imaging")
        assert "Version 2000" in text
        assert "Changed criterion" in text
        assert "Back pain &lt;b&gt;was&lt;/b&gt; the reason." in text
        assert '<span class="badge bad">fails</span>' in text
        assert "expected supported" in text
        older = page(changed, "/policies/choosing-wisely/low-back-imaging?version=2000")
        assert "This version is not in force today." in older


def test_differences_name_what_was_added_removed_and_changed() -> None:
    base = {
        "format": 1, "id": "a/b", "kind": "guideline", "title": "t", "publisher": "p", "short_title": "s",
        "notice": "unofficial encoding",
    }  # fmt: skip
    item = {"label": "L", "value_set": "v", "otherwise": {"outcome": "not-addressed", "because": "o"}}
    common = {"last_confirmed_on": "2026-01-01", "review": {"status": "submitted"}, "orders": {"i": item}}
    source = {"title": "S", "confidence": "seen"}
    old = {**common, "version": "1", "effective": {"from": None, "to": "2025-12-31"}, "sources": {"s": source},
           "criteria": {"gone": {"text": "Gone.", "asked": {}}, "same": {"text": "Same.", "repeated": {}}}}  # fmt: skip
    rule = {"id": "r", "when": "same", "outcome": "supported", "because": "b", "cite": ["s"]}
    new = {**common, "version": "2", "effective": {"from": "2026-01-01", "to": None}, "sources": {"s": source},
           "criteria": {"same": {"text": "Same.", "repeated": {}}},
           "orders": {"i": {**item, "rules": [rule]}}}  # fmt: skip
    steps = history.steps(Policy.model_validate({**base, "versions": [new, old]}))
    assert [s.version.version for s in steps] == ["2", "1"]
    assert [(d.kind, d.what) for d in steps[0].differences] == [("removed", "criterion gone"), ("added", "rule i/r")]
    assert steps[1].first
