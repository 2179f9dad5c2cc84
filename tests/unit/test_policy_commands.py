"""The policy commands over real files: schemas, new, test, list, explain, diff, build, attributes, unmapped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from cds_service.commands.policy import policy_group
from cds_service.commands.policy_schema import schemas
from cds_service.content_files import bundled, load_content, load_rulebook, read_files
from cds_service.determination.worked import run_case
from cds_service.errors import ContentError
from cds_service.policy.compiled import dump, load
from cds_service.policy.content import kind_of
from cds_service.policy.rulebook import compile_content
from cds_service.policy.source import Document

BASE = Path(__file__).parents[1] / "policies" / "broken" / "_base"
POLICY = "acme/imaging/policy.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(policy_group, [str(a) for a in arguments])


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    target = tmp_path / "cards"
    shutil.copytree(BASE, target)
    return target


def changed(folder: Path, old: str, new: str, file: str = POLICY) -> Path:
    target = folder.parent / "changed"
    shutil.copytree(folder, target)
    text = (target / file).read_text()
    assert old in text
    (target / file).write_text(text.replace(old, new))
    return target


# --- schema ---------------------------------------------------------------------------------------


def test_the_schemas_under_cards_are_in_step_with_the_models() -> None:
    folder = bundled("cards") / "_schema"
    assert {p.name: p.read_text() for p in folder.glob("*.json")} == schemas()
    assert run("schema", bundled("cards"), "--check").exit_code == 0


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_is_valid_and_keeps_descriptions(name: str) -> None:
    schema = json.loads(schemas()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["description"]


def test_all_bundled_content_is_valid_by_the_schemas_that_its_modelines_name() -> None:
    faults = []
    validators = {n: jsonschema.Draft202012Validator(json.loads(t)) for n, t in schemas().items()}
    for name, text in read_files(bundled("cards")).items():
        kind = kind_of(name)
        if kind:
            faults += [
                (name, e.json_path) for e in validators[f"{kind}.schema.json"].iter_errors(Document(name, text).data)
            ]
            modeline = text.splitlines()[0].split("$schema=")[-1]
            path = (bundled("cards") / name).parent / modeline
            faults += (
                [] if path.resolve() == (bundled("cards") / "_schema" / f"{kind}.schema.json").resolve() else [name]
            )
    assert faults == []


def test_schema_refuses_two_operators() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schemas()["policy.schema.json"]))
    data = Document(POLICY, (BASE / POLICY).read_text()).data
    assert validator.is_valid(data)
    data["versions"][0]["criteria"]["red-flag"]["age"] = {"at_least": 18}
    assert not validator.is_valid(data)


def test_schema_writes_what_is_stale_and_says_so(cards: Path) -> None:
    assert run("schema", cards, "--check").exit_code == 1
    assert run("schema", cards).output.count("wrote ") == 6
    assert run("schema", cards).output == ""


# --- new ------------------------------------------------------------------------------------------


def test_new_beside_an_existing_policy_adds_its_payer_and_stays_clean(cards: Path) -> None:
    before = (cards / "payers.yaml").read_text()
    done = run("new", "other-plan/stimulators", "--dir", cards, "--code", "E0748", "--today", "2026-11-01")
    assert done.exit_code == 0, done.output
    assert (cards / "payers.yaml").read_text().startswith(before)
    assert run("lint", cards, "--strict", "--today", "2026-11-02").output == "No faults.\n"
    assert run("test", cards).exit_code == 0


@pytest.mark.parametrize("name", ["123/456", "true/x", "null/y", "x/null", "12-3/4-5", "a/false"])
def test_new_writes_what_lints_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    done = run("new", name, "--dir", tmp_path, "--today", "2026-11-01")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == (
        f"Next: cds-service policy lint {tmp_path}; cds-service policy test {tmp_path}"
    )
    assert run("lint", tmp_path, "--strict", "--today", "2026-11-02").output == "No faults.\n"
    assert run("test", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "error: '' does not look like a code of CPT. Write it as in \"62323\"."),
        ('ab"c', 'error: \'ab"c\' does not look like a code of CPT. Write it as in "62323".'),
        ("72148-26", "error: '72148-26' holds a modifier. Write \"72148\"."),
    ],
)
def test_new_refuses_what_is_no_code(code: str, message: str, tmp_path: Path) -> None:
    done = run("new", "acme/imaging", "--dir", tmp_path, "--code", code)
    assert (done.exit_code, done.output.strip()) == (2, message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme/imaging", "exists already. Choose another name."),
        ("Acme", "error: 'Acme' is not a policy name. Write publisher/policy in lower case."),
    ],
)
def test_new_refuses(name: str, message: str, cards: Path) -> None:
    before = read_files(cards)
    done = run("new", name, "--dir", cards)
    assert done.exit_code == 2
    assert done.output.strip().endswith(message)
    assert read_files(cards) == before


# --- test -----------------------------------------------------------------------------------------


def test_test_names_the_failing_case_and_what_came_instead(cards: Path) -> None:
    done = run("test", changed(cards, "outcome: not-supported", "outcome: not-addressed"))
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "✗ acme/imaging  5 cases",
        "    case too-early: 72148: not-addressed, expected not-supported",
        "5 cases: 1 policy failed.",
    ]


def test_test_fails_without_cases(cards: Path) -> None:
    (cards / "acme/imaging/cases.yaml").unlink()
    done = run("test", cards, "--json")
    assert done.exit_code == 1
    assert json.loads(done.output) == [
        {
            "policy": "acme/imaging",
            "passed": False,
            "cases": [],
            "rules_never_met": [
                "low-back-imaging/red-flag (version 2026-11)",
                "low-back-imaging/after-conservative-care (version 2026-11)",
            ],
            "outcomes_never_seen": {
                "red-flag (version 2026-11)": ["met", "not-met", "unknown"],
                "tried-six-weeks (version 2026-11)": ["met", "not-met", "unknown"],
            },
        }
    ]


def test_test_of_a_policy_that_is_not_there(cards: Path) -> None:
    done = run("test", cards, "--policy", "acme/other")
    assert (done.exit_code, done.output) == (13, "error: there is no policy 'acme/other'.\n")


# --- explain --------------------------------------------------------------------------------------


def test_explain_shows_evidence_and_citation(cards: Path) -> None:
    done = run("explain", "--cards", cards, "--case", "acme/imaging:red-flag")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "ServiceRequest/o1 (cpt 72148)  supported",
        "Imaging acme/imaging@2026-11 (primary for acme)",
        "Imaging of the low back: A red flag needs imaging without delay.",
        "└── ✓ rule red-flag: A red flag needs imaging without delay.",
        "    ├── source: Imaging, recalled",
        "    └── ✓ red-flag: A red flag is documented.",
        "        ├── Condition/c1  problem list icd-10-cm G83.4",
        "        └── source: Imaging, recalled",
        "Decision support, not a coverage decision.",
    ]


def test_why_not_leaves_out_what_is_as_wanted(cards: Path) -> None:
    rule = "when: {all: [{not: red-flag}, tried-six-weeks]}"
    folder = changed(cards, "when: tried-six-weeks", rule)
    done = run("explain", "--cards", folder, "--case", "acme/imaging:too-early", "--why-not", "--json")
    (result,) = json.loads(done.output)
    found = [t for t in result["policies"][0]["trace"] if t["id"] == "after-conservative-care"]
    assert [c["id"] for c in found[0]["children"][0]["children"]] == ["tried-six-weeks"]


def test_explain_a_hook_request() -> None:
    story = Path(__file__).parents[2] / "fhir_fixtures" / "cervical-fusion-authorised" / "request.json"
    done = run("explain", story, "--json")
    assert done.exit_code == 0, done.output
    outcomes = {p["outcome"] for r in json.loads(done.output) for p in r["policies"] if p["role"] == "primary"}
    assert "not-supported" in outcomes


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("acme/none:x", "error: there is no policy 'acme/none'. Run 'policy list'.\n"),
        ("acme/imaging:x", "error: 'acme/imaging' has no worked case 'x'.\n"),
    ],
)
def test_explain_what_is_not_there(case: str, message: str, cards: Path) -> None:
    done = run("explain", "--cards", cards, "--case", case)
    assert (done.exit_code, done.output) == (13, message)


# --- diff -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("outcome: not-supported", "outcome: not-addressed", [
            "acme/imaging:too-early  72148 (ServiceRequest/o1)  acme/imaging: not-supported -> not-addressed",
            "    rule 'otherwise' gave not-supported, now not-addressed",
        ]),
        ("when_absent: not-met ", "when_absent: unknown ", [
            "acme/imaging:conservative-care  72148 (ServiceRequest/o1)  acme/imaging: supported -> supported",
            "acme/imaging:too-early  72148 (ServiceRequest/o1)  acme/imaging: not-supported -> needs-information",
            "    criterion 'red-flag' was not-met, now unknown",
        ]),
        ("when: tried-six-weeks", "when: {any: [tried-six-weeks, red-flag]}", []),
    ],
)  # fmt: skip
def test_diff_names_the_change_and_what_made_it(old: str, new: str, expected: list[str], cards: Path) -> None:
    done = run("diff", cards, changed(cards, old, new), "--on", cards)
    assert done.exit_code == 0, done.output
    shown = done.output.splitlines()[:-1]
    wanted = [line for line in expected if "supported -> supported" not in line]
    assert shown == wanted
    assert done.output.splitlines()[-1].endswith("changed, in 5 cases compared.")


def test_diff_says_which_new_version_judged_nothing(cards: Path) -> None:
    version = (cards / POLICY).read_text().partition("versions:\n")[2]
    text = version.replace('"2026-11"', '"2027"').replace("from: null, to: null", "from: 2027-01-01, to: null")
    text = text.replace("outcome: not-supported", "outcome: needs-information")
    new = changed(cards, "from: null, to: null", "from: null, to: 2026-12-31")
    with (new / POLICY).open("a") as file:
        file.write(text)
    done = run("diff", cards, new, "--on", cards)
    assert done.exit_code == 0
    assert done.stdout == "0 determinations changed, in 5 cases compared.\n"
    assert done.stderr == (
        "note: version 2027 of acme/imaging judged nothing: no input is of its days (from 2027-01-01 on) and orders "
        "what it speaks to. --as-of DAY judges all inputs as of a day.\n"
    )
    then = run("diff", cards, new, "--on", cards, "--as-of", "2027-01-01")
    assert then.stderr == ""
    assert "acme/imaging:too-early  72148" in then.stdout
    assert "not-supported -> needs-information" in then.stdout


def test_diff_takes_a_compiled_file_and_names_a_policy_that_is_gone(cards: Path) -> None:
    out = cards.parent / "old.cards"
    assert run("build", cards, "--out", out).exit_code == 0
    empty = cards.parent / "empty"
    shutil.copytree(cards, empty)
    shutil.rmtree(empty / "acme")
    done = run("diff", out, empty, "--on", cards / "acme/imaging/cases.yaml", "--json")
    assert [(c["case"], c["before"], c["after"]) for c in json.loads(done.output)][:1] == [
        ("acme/imaging:red-flag", "supported", None)
    ]
    assert json.loads(done.output)[0]["reasons"] == [
        "'low-back-imaging' (acme/imaging@2026-11) no longer speaks to the order"
    ]


# --- build ----------------------------------------------------------------------------------------


def test_a_compiled_file_decides_every_worked_case_as_the_folder_does() -> None:
    content = load_content()
    plain, compiled = compile_content(content), load(dump(content))
    assert compiled.revision == plain.revision
    different = []
    for folder in content.policies.values():
        for worked in folder.cases.cases if folder.cases else ():
            one, two = (run_case(folder, worked, book) for book in (plain, compiled))
            traces = [
                [(d.outcome, d.trace) for o in report.decision.orders for d in o.determinations]
                for report in (one, two)
            ]
            if traces[0] != traces[1]:
                different.append(worked.id)
    assert different == []


def test_the_same_content_gives_the_same_bytes() -> None:
    assert dump(load_content(BASE)) == dump(load_content(BASE))


def test_only_touched_policies_are_built() -> None:
    book = load(dump(load_content()))
    assert book.versions._made == {}  # type: ignore[attr-defined]
    list(book.versions)
    assert len(book.versions._made) == len(book.versions)  # type: ignore[attr-defined]


def test_every_code_finds_the_same_sets() -> None:
    content = load_content()
    plain, compiled = compile_content(content).vocabulary, load(dump(content)).vocabulary
    codes = {c for s in plain.sets.values() for c in s.codes}
    assert {c for c in codes if plain.sets_of(c) != compiled.sets_of(c)} == set()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: b"PK\x03\x04" + d, "x.cards:1:1: not a file made by 'policy build'. Build it from a cards folder."),
        (lambda d: d[:-1] + b" ", "x.cards:1:1: the file is damaged: its hash does not fit. Build it again."),
        (lambda d: d[:-40], "x.cards:1:1: the file is damaged: its hash does not fit. Build it again."),
    ],
)
def test_a_damaged_file_is_refused(damage: object, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.cards"
    file.write_bytes(damage(dump(load_content(BASE))))  # type: ignore[operator]
    with pytest.raises(ContentError) as caught:
        load_rulebook(file)
    assert str(caught.value) == message


def test_a_file_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump(load_content(BASE))
    monkeypatch.setattr("cds_service.policy.compiled.shape", lambda: "other")
    with pytest.raises(ContentError, match="built by another version of this program"):
        load(data)


# --- list, attributes, unmapped -------------------------------------------------------------------


def test_list(cards: Path) -> None:
    (row,) = json.loads(run("list", cards, "--json").output)["policies"]
    assert row == {
        "policy": "acme/imaging",
        "version": "2026-11",
        "kind": "coverage",
        "from": "",
        "to": "",
        "review": "submitted",
        "title": "Imaging",
        "items": ["low-back-imaging"],
    }


def test_attributes_are_read_off_the_criteria(cards: Path) -> None:
    folder = changed(
        cards, "asked: {}\n        ask: {question: Were six weeks of conservative care tried?}", "age: {under: 65}"
    )
    (entry,) = json.loads(run("attributes", folder).output)
    assert {name for name, used in entry["uses"].items() if used} == {"date of birth"}
    assert entry["uses"]["date of birth"] == ["tried-six-weeks"]
    assert list(entry["uses"]) == [
        "race", "ethnicity", "language", "sexual orientation", "gender identity", "sex", "date of birth",
        "social determinants of health", "health status assessments",
    ]  # fmt: skip
    page = run("attributes", folder, "--markdown").output
    assert "- Use of date of birth: yes, tried-six-weeks\n" in page
    assert "- Use of race: no\n" in page


def test_attributes_say_how_sources_were_read_and_when(cards: Path) -> None:
    (entry,) = json.loads(run("attributes", cards).output)
    assert entry["bibliographic citation"] == ["Imaging (not read)"]
    assert entry["developer"].startswith("Whoever wrote the policy file, from memory, as no source was read;")
    assert (entry["revision date"], entry["last confirmed on"]) == (None, "2026-11-01")
    seen = changed(cards, "confidence: recalled", "confidence: seen\n        date: 2026-03-01")
    (entry,) = json.loads(run("attributes", seen).output)
    assert entry["bibliographic citation"] == ["Imaging, 2026-03-01 (read at its source)"]
    assert "from the publisher's text or other sources that were read" in entry["developer"]
    assert entry["revision date"] == "2026-03-01"
    assert (
        "- Revision date: 2026-03-01\n- Last confirmed on: 2026-11-01\n" in run("attributes", seen, "--markdown").output
    )


def test_unmapped_counts_codes_and_reads_the_client_table(tmp_path: Path) -> None:
    def order(number: int, code: str) -> dict[str, object]:
        coding = {"system": "urn:local", "code": code}
        return {"resource": {"resourceType": "ServiceRequest", "id": f"o{number}", "code": {"coding": [coding]}}}

    known = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "20939"}]}
    entries = [order(1, "BMA"), order(2, "BMA"), order(3, "GRAFT")]
    entries.append({"resource": {"resourceType": "ServiceRequest", "id": "o4", "code": known}})
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"context": {"draftOrders": {"resourceType": "Bundle", "entry": entries}}}))
    table = tmp_path / "table.yaml"
    table.write_text('code_map:\n  "urn:local":\n    BMA: cpt:20939\n')
    assert run("unmapped", request).output.splitlines() == [
        "     2  urn:local BMA  (ServiceRequest)",
        "     1  urn:local GRAFT  (ServiceRequest)",
        "2 codes unmapped, in 1 file.",
    ]
    assert json.loads(run("unmapped", request, "--client-table", table, "--json").output) == [
        {"system": "urn:local", "code": "GRAFT", "resource": "ServiceRequest", "count": 1}
    ]


def test_unmapped_tells_of_codes_without_a_system_and_of_orders_in_words(tmp_path: Path) -> None:
    concepts = [
        {"coding": [{"code": "20939"}], "text": "marrow"},
        {"coding": [{"code": "20939"}]},
        {"text": "ACDF of Mr Doe"},
        {"coding": [{"display": "fusion"}, 7]},
        {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "20939"}, {"code": "X"}], "text": "marrow"},
        {},
    ]
    orders = [{"resource": {"resourceType": "ServiceRequest", "id": str(n), "code": c}} for n, c in enumerate(concepts)]
    (tmp_path / "request.json").write_text(json.dumps({"entry": orders}))
    assert run("unmapped", tmp_path).output.splitlines() == [
        "     2  (in words only)  (ServiceRequest)",
        "     2  (no system) 20939  (ServiceRequest)",
        "2 codes unmapped, in 1 file.",
    ]


def test_unmapped_reads_requests_one_a_line_and_says_when_there_are_none(tmp_path: Path) -> None:
    coding = {"coding": [{"system": "urn:local", "code": "BMA"}]}
    order = {"resourceType": "ServiceRequest", "id": "o1", "code": coding}
    done = run("unmapped", tmp_path)
    assert (done.exit_code, done.output) == (
        11,
        "error: there is nothing to read: no .json, .ndjson or .jsonl file (or .gz of these).\n",
    )
    lines = "\n".join(json.dumps({"context": {"draftOrders": {"entry": [{"resource": order}]}}}) for _ in range(2))
    (tmp_path / "requests.ndjson").write_text(lines)
    (tmp_path / "notes.txt").write_text("x")
    assert run("unmapped", tmp_path).output.splitlines() == [
        "     2  urn:local BMA  (ServiceRequest)",
        "1 code unmapped, in 1 file.",
    ]
    (tmp_path / "requests.ndjson").write_text(lines + "\nx")
    done = run("unmapped", tmp_path)
    assert (done.exit_code, done.output) == (
        11,
        f"error: {tmp_path / 'requests.ndjson'}, line 3: is not JSON (line 1, column 1)\n",
    )


# --- messages about files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"Imaging of", b"Imaging\x96of", "the file is not UTF-8 text. Save it in the encoding UTF-8."),
        (b"Imaging of", b"Imaging\x00of", "a character that no text has. Remove it, or save the file as UTF-8."),
        (b"Imaging of", b"Imaging\xc2\x80of", "a character that no text has. Remove it, or save the file as UTF-8."),
    ],
)
def test_what_is_no_text_is_told_beside_other_faults(old: bytes, new: bytes, message: str, cards: Path) -> None:
    path = cards / POLICY
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    (cards / "acme/imaging/card.yaml").write_text("format: 2\n")
    done = run("lint", cards)
    assert done.exit_code == 10
    assert done.output.splitlines() == [
        "acme/imaging/card.yaml:1:1: error: 'format' must be 1. Write format: 1.",
        f"acme/imaging/policy.yaml:35:23: error: {message}",
        "2 errors, 0 warnings.",
    ]


def test_a_file_in_utf_16_is_told(cards: Path) -> None:
    (cards / POLICY).write_bytes((cards / POLICY).read_text().encode("utf-16"))
    done = run("lint", cards)
    assert (done.exit_code, done.output.splitlines()[0]) == (
        10,
        f"{POLICY}:1:1: error: the file is not UTF-8 text. Save it in the encoding UTF-8.",
    )


@pytest.mark.parametrize(("name", "ending"), [("policy.YAML", ".YAML"), ("policy.yaml.txt", ".yaml.txt")])
def test_a_file_that_would_be_passed_over_is_named(name: str, ending: str, cards: Path) -> None:
    (cards / "acme/other").mkdir()
    (cards / "acme/other" / name).write_text("format: 1\n")
    assert run("lint", cards).output.splitlines()[0] == (
        f"acme/other/{name}:1:1: error: the name ends in {ending}. Rename it: names end in .yaml."
    )


def test_lint_of_nothing_is_no_success(tmp_path: Path) -> None:
    done = run("lint", tmp_path)
    assert (done.exit_code, done.output) == (
        2,
        f"error: there is no policy below {tmp_path}. Policies are <publisher>/<policy>/policy.yaml.\n",
    )


def test_lint_of_a_compiled_file_says_what_to_lint(tmp_path: Path) -> None:
    built = tmp_path / "b.cards"
    assert run("build", BASE, "--out", built).exit_code == 0
    done = run("lint", built)
    assert (done.exit_code, done.output) == (
        2,
        f"error: {built} is a file. Name the cards folder that it was built from.\n",
    )


def test_a_request_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("a: 1\n")
    done = run("explain", tmp_path / "x.json")
    assert (done.exit_code, done.output) == (11, f"error: {tmp_path / 'x.json'}: is not JSON (line 1, column 1)\n")


def test_output_is_plain_when_it_is_no_terminal(cards: Path) -> None:
    for arguments in (["lint", cards], ["test", cards], ["list", cards]):
        assert "\x1b" not in run(*arguments).output
