"""The vocabulary of the policies: procedures, payers and value sets, as data."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from time import perf_counter

import pytest

from cds_service.policy import model
from cds_service.policy.case import Code
from cds_service.policy.source import Document
from cds_service.policy.vocabulary import Vocabulary, compile_vocabulary

CARDS = Path(__file__).resolve().parents[2] / "cards"
SET_FILES = sorted((CARDS / "value_sets").glob("*.yaml"))
ICD_CODE = re.compile(r"[A-Z][0-9][0-9A-Z](\.[0-9A-Z]{1,4})?")
ICD_PREFIX = re.compile(r"[A-Z][0-9]([0-9A-Z](\.[0-9A-Z]{1,4})?)?")


def data(path: Path) -> object:
    return Document(path.name, path.read_text(encoding="utf-8")).data


@cache
def sets() -> dict[str, model.ValueSet]:
    return {path.stem: model.ValueSet.model_validate(data(path)) for path in SET_FILES}


@cache
def procedures() -> dict[tuple[str, str], model.ProcedureCode]:
    catalogue = model.Procedures.model_validate(data(CARDS / "procedures.yaml"))
    found = {(p.system, p.code): p for p in catalogue.procedures}
    assert len(found) == len(catalogue.procedures), "a code is in the catalogue twice"
    return found


@cache
def payers() -> dict[str, model.Payer]:
    registry = model.Payers.model_validate(data(CARDS / "payers.yaml"))
    found = {p.id: p for p in registry.payers}
    assert len(found) == len(registry.payers), "a payer is in the registry twice"
    return found


def closure(set_id: str, above: tuple[str, ...] = ()) -> list[model.ValueSet]:
    """A set and all it includes; a circle or an unknown id fails."""
    assert set_id not in above, f"circle: {' > '.join((*above, set_id))}"
    one = sets()[set_id]
    return [one, *(s for child in one.includes for s in closure(child, (*above, set_id)))]


def codes(set_id: str, system: str = "cpt") -> set[str]:
    return {c.code for s in closure(set_id) for c in s.codes if c.system == system}


def icd_hit(set_id: str, code: str) -> bool:
    """Whether an ICD-10-CM code is in a set, by code or prefix."""
    return any(
        code in {c.code for c in s.codes if c.system == "icd-10-cm"}
        or any(code.startswith(p.prefix) for p in s.prefixes if p.system == "icd-10-cm")
        for s in closure(set_id)
    )


def icd_region(set_id: str, code: str) -> list[model.Region] | None:
    """Region of an ICD-10-CM code in a set; every row that the code matches must agree."""
    found = [c.region for s in closure(set_id) for c in s.codes if c.system == "icd-10-cm" and c.code == code]
    found += [p.region for s in closure(set_id) for p in s.prefixes if code.startswith(p.prefix)]
    assert found, f"{code} is not in {set_id}"
    assert all(region == found[0] for region in found), f"{code} has two regions in {set_id}"
    return found[0]


@cache
def vocabulary() -> Vocabulary:
    return compile_vocabulary(sets(), {Code(*key): p for key, p in procedures().items()})


def named(set_id: str, text: str) -> bool:
    mention = vocabulary().sets[set_id].mention_in([text])
    return mention is not None and mention.sure


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SET_FILES, ids=lambda p: p.stem)
def test_a_value_set_is_valid_and_named_after_its_file(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(
        "# yaml-language-server: $schema=../_schema/value-set.schema.json\n"
    )
    one = model.ValueSet.model_validate(data(path))
    assert one.id == path.stem
    assert one.codes or one.prefixes or one.terms or one.patterns or one.includes, "the set is empty"


def test_includes_resolve_without_circles() -> None:
    assert {i: len(closure(i)) for i in sets()}.keys() == sets().keys()


def test_no_row_is_there_twice_or_hidden_by_a_prefix() -> None:
    for set_id, one in sets().items():
        rows = [(c.system, c.code) for c in one.codes] + [(p.system, p.prefix) for p in one.prefixes]
        assert len(rows) == len(set(rows)), f"{set_id} has a row twice"
        for p in one.prefixes:
            below = [r for r in rows if r[0] == p.system and r[1].startswith(p.prefix) and r[1] != p.prefix]
            assert not below, f"{set_id}: {below} are already under the prefix {p.prefix}"


def test_patterns_compile_and_terms_are_not_regular_expressions() -> None:
    for set_id, one in sets().items():
        for pattern in one.patterns:
            assert not re.compile(pattern, re.IGNORECASE).search(""), f"{set_id}: {pattern} matches anything"
        assert not [t for t in one.terms if re.search(r"[\\|*\[\]()^$]", t)], set_id
        assert len({t.casefold() for t in one.terms}) == len(one.terms), f"{set_id} has a term twice"


def test_codes_have_the_form_of_their_system() -> None:
    forms = {
        "cpt": r"\d{4}[0-9T]",
        "hcpcs": r"[A-V]\d{4}",
        "icd-10-cm": ICD_CODE.pattern,
        "icd-10-pcs": r"[0-9A-HJ-NP-Z]{7}",
        "snomed": r"\d{6,18}",
        "loinc": r"\d{1,5}-\d",
    }
    for one in sets().values():
        for c in one.codes:
            assert re.fullmatch(forms[c.system], c.code), f"{one.id}: {c.system} {c.code}"
        for p in one.prefixes:
            assert p.system == "icd-10-cm", one.id
            assert ICD_PREFIX.fullmatch(p.prefix), f"{one.id}: {p.prefix}"


def loinc_digit(number: str) -> int:
    doubled = [int(d) * (1 + (i % 2 == 0)) for i, d in enumerate(reversed(number))]
    return -sum(d - 9 * (d > 9) for d in doubled) % 10


VERHOEFF_D = ("0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
              "5987604321", "6598710432", "7659821043", "8765932104", "9876543210")  # fmt: skip
VERHOEFF_P = ("0123456789", "1576283094", "5803796142", "8916043527",
              "9453126870", "4286573901", "2793806415", "7046913258")  # fmt: skip


def snomed_valid(code: str) -> bool:
    check = 0
    for i, digit in enumerate(reversed(code)):
        check = int(VERHOEFF_D[check][int(VERHOEFF_P[i % 8][int(digit)])])
    return check == 0


def test_check_digits_of_loinc_and_snomed_are_right() -> None:
    assert not snomed_valid("427371002"), "a code that is known to fail"
    for one in sets().values():
        for c in one.codes:
            if c.system == "loinc":
                number, digit = c.code.split("-")
                assert loinc_digit(number) == int(digit), f"{one.id}: {c.code}"
            if c.system == "snomed":
                assert snomed_valid(c.code), f"{one.id}: {c.code}"


# --- procedures -------------------------------------------------------------------------------------


def test_procedure_codes_of_value_sets_are_in_the_catalogue() -> None:
    for one in sets().values():
        for c in one.codes:
            if c.system in ("cpt", "hcpcs"):
                known = procedures().get((c.system, c.code))
                assert known is not None, f"{one.id}: {c.code}"
                assert (c.label, c.region or []) == (known.label, known.region), f"{one.id}: {c.code}"


def test_add_ons_name_primaries_of_the_catalogue() -> None:
    for (system, code), p in procedures().items():
        assert p.add_on == bool(p.requires), code
        assert len(set(p.requires)) == len(p.requires), code
        assert code not in p.requires, code
        missing = [r for r in p.requires if (system, r) not in procedures()]
        assert not missing, f"{code} is added to {missing}, which nothing describes"


def test_every_fusion_counts_levels_and_nothing_else_does() -> None:
    for (_, code), p in procedures().items():
        assert (p.family is not None) == (p.role == "fusion"), code
        if p.role == "fusion":
            assert (p.per == "interspace") != (p.segments is not None), code
        if p.segments:
            assert 1 <= p.segments[0] < p.segments[1], code


def test_the_fusion_set_is_the_fusion_role() -> None:
    by_role = {code for (_, code), p in procedures().items() if p.role == "fusion"}
    assert codes("spinal-fusion") == by_role
    assert codes("spinal-fusion-add-on") == {c for c in by_role if procedures()[("cpt", c)].add_on}
    assert codes("spinal-fusion-primary") == {c for c in by_role if not procedures()[("cpt", c)].add_on}


@pytest.mark.parametrize("region", ["cervical", "lumbar"])
def test_regional_fusion_sets_hold_the_codes_of_that_region(region: str) -> None:
    expected = {c for c in codes("spinal-fusion") if region in procedures()[("cpt", c)].region} - {"22534"}
    assert codes(f"{region}-fusion") == expected


@pytest.mark.parametrize(
    ("set_id", "role"),
    [
        ("instrumentation-any", "instrumentation"),
        ("interbody-device-any", "interbody-device"),
        ("spine-decompression", "decompression"),
        ("hardware-removal", "hardware-removal"),
        ("disc-arthroplasty", "arthroplasty"),
        ("spine-imaging", "imaging"),
    ],
)
def test_a_set_of_a_role_is_complete(set_id: str, role: str) -> None:
    assert codes(set_id) == {code for (_, code), p in procedures().items() if p.role == role}


def test_the_operation_sets_do_not_swallow_one_another() -> None:
    assert not codes("spine-surgery") & codes("spine-imaging")
    assert not codes("spine-surgery") & codes("graft-any-spine")
    assert codes("spinal-fusion") | codes("spine-decompression") | {"22899"} <= codes("spine-surgery")
    assert codes("bone-stimulator-any", "hcpcs") == {"E0747", "E0748", "E0749", "E0760"}
    assert codes("bone-stimulator-spine-noninvasive", "hcpcs") == {"E0748"}
    assert codes("autograft-crest") == {"20937", "20938"}


@pytest.mark.parametrize(
    ("code", "primaries"),
    [
        ("22552", ["22551"]),
        ("22585", ["22554", "22556", "22558"]),
        ("22614", ["22600", "22610", "22612", "22630", "22633"]),
        ("63052", ["22630", "22632", "22633", "22634"]),
    ],
)
def test_add_on_primaries(code: str, primaries: list[str]) -> None:
    assert procedures()[("cpt", code)].requires == primaries


def test_a_discectomy_or_an_arthroplasty_is_no_primary_for_a_graft() -> None:
    for code in ("20930", "20931", "20936", "20937", "20938", "20939"):
        requires = set(procedures()[("cpt", code)].requires)
        assert {"22551", "22612", "22633"} <= requires
        assert not requires & ({"63030", "22856", "27447", "27759"} | codes("spine-decompression"))


@pytest.mark.parametrize(
    ("code", "segments"),
    [
        ("22842", [3, 6]), ("22843", [7, 12]), ("22844", [13, 30]), ("22845", [2, 3]), ("22846", [4, 7]),
        ("22847", [8, 30]), ("22800", [2, 6]), ("63001", [1, 2]),
    ],
)  # fmt: skip
def test_spans(code: str, segments: list[int]) -> None:
    assert procedures()[("cpt", code)].segments == segments


# --- payers -----------------------------------------------------------------------------------------

DEMO = {
    "aetna", "cigna", "unitedhealthcare", "humana", "anthem", "bcbs-alabama", "bcbs-north-dakota", "premera",
    "bcbs-north-carolina", "bcbs-rhode-island", "hcsc", "rocky-mountain-health-plans",
    "unitedhealthcare-community-plan-nc", "oregon-medicaid", "medicare", "aetna-medicare-advantage",
    "bcbs-rhode-island-medicare-advantage", "humana-medicare-advantage", "unitedhealthcare-medicare-advantage",
    "prairie-mutual",
}  # fmt: skip


def test_every_demo_payer_has_its_identifier() -> None:
    found = {
        i.value: p.id for p in payers().values() for i in p.identifiers if i.system == "http://example.org/payer-id"
    }
    assert found == {payer: payer for payer in DEMO}


def test_names_and_identifiers_belong_to_one_payer() -> None:
    owners: dict[str, str] = {}
    for p in payers().values():
        assert p.label in p.names, p.id
        for name in p.names:
            key = re.sub(r"[\W_]+", " ", name.casefold()).strip()
            assert owners.setdefault(key, p.id) == p.id, f"{name}: {owners[key]} and {p.id}"
    pairs = [(i.system, i.value) for p in payers().values() for i in p.identifiers]
    assert len(pairs) == len(set(pairs))


def test_advantage_plans_follow_medicare_and_nobody_else_follows() -> None:
    for p in payers().values():
        advantage = p.line_of_business == "medicare-advantage"
        assert p.follows == (["medicare"] if advantage else []), p.id
        assert advantage == p.id.endswith("-medicare-advantage"), p.id
    assert payers()["medicare"].line_of_business == "medicare"


def test_a_plan_is_a_line_of_the_company_whose_name_it_bears() -> None:
    parents = {p.id: p.parent for p in payers().values() if p.parent}
    assert all(child.startswith(f"{parent}-") for child, parent in parents.items())
    assert {p for p in payers() if p.endswith("-medicare-advantage")} <= parents.keys()
    several = {p.id for p in payers().values() if p.one_of_several}
    assert several == {p.id for p in payers().values() if p.parent and p.line_of_business == "medicaid"}


# --- diagnoses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_id", "within", "outside"),
    [
        ("spinal-stenosis", ["M48.02", "M48.06", "M48.061", "M48.062", "M48.0"], ["M48.10", "M47.12"]),
        ("disc-degeneration", ["M50.32", "M50.321", "M51.36", "M51.360", "M51.37", "M50.30"], ["M50.20",
        "M51.26"]),
        ("spondylolisthesis", ["M43.1", "M43.12", "M43.16", "Q76.2"], ["M43.06"]),
        ("cervical-myelopathy", ["M50.021", "M47.12", "M47.13"], ["M47.14", "M50.121", "M51.06", "G95.20"]),
        ("myelopathy", ["M50.021", "M47.14", "M51.06", "G95.20", "G99.2"], ["M47.22", "M47.812"]),
        ("radiculopathy", ["M50.122", "M54.12", "M51.16", "M47.26", "M54.41"], ["M54.2", "M54.50", "M50.222"]),
        ("tobacco-current", ["F17.210", "F17.213", "F17.298", "Z72.0"], ["F17.211", "F17.201", "Z87.891"]),
        ("obesity-bmi-over-30", ["E66.01", "E66.2", "E66.813", "Z68.30", "Z68.41"], ["E66.3", "Z68.29",
        "Z68.25"]),
        ("alcohol-use-disorder", ["F10.20", "F10.10", "F10.239"], ["F10.21", "F10.11", "F10.90"]),
        ("diabetes", ["E11.65", "E10.9", "E13.9"], ["E15", "R73.03"]),
        ("vertebral-fracture", ["S12.400A", "S22.010A", "S32.001A", "M48.52XA", "M80.08XA"], ["S12.8XXA",
        "S82.201A"]),
        ("spinal-infection", ["M46.46", "G06.1", "T84.63XA"], ["M46.1", "T84.62XA"]),
        ("fracture-or-trauma", ["S33.110A", "S14.109A", "S22.010A"], ["S33.5XXA", "S39.012A"]),
        ("cancer-history-or-active", ["C50.911", "C79.51", "C7A.1", "Z85.3", "C4A.9"], ["C44.311", "D12.6"]),
        ("neoplasm-near-spine", ["C41.2", "C79.51", "C90.00"], ["C50.911"]),
        ("simple-bone-cyst", ["M85.421"], ["M85.60"]),
        ("pseudarthrosis", ["M96.0"], ["M96.1", "Z98.1"]),
        ("low-back-pain", ["M54.5", "M54.50", "M54.59"], ["M54.41", "M54.2"]),
        ("sciatica", ["M54.31", "M54.41"], ["M54.50"]),
        ("fever", ["R50.9"], ["R52"]),
        ("pregnancy", ["Z33.1", "O09.511", "Z34.90", "Z32.01"], ["Z32.02", "Z33.2"]),
    ],
)  # fmt: skip
def test_diagnosis_sets(set_id: str, within: list[str], outside: list[str]) -> None:
    assert [c for c in within if not icd_hit(set_id, c)] == []
    assert [c for c in outside if icd_hit(set_id, c)] == []


@pytest.mark.parametrize(
    ("set_id", "code", "region"),
    [
        ("spinal-stenosis", "M48.02", ["cervical"]),
        ("spinal-stenosis", "M48.03", ["cervical", "thoracic"]),
        ("spinal-stenosis", "M48.05", ["thoracic", "lumbar"]),
        ("spinal-stenosis", "M48.062", ["lumbar"]),
        ("spinal-stenosis", "M48.07", ["lumbar", "sacral"]),
        ("spinal-stenosis", "M48.00", None),
        ("spinal-stenosis", "M99.33", ["lumbar"]),
        ("spondylolisthesis", "M43.19", None),
        ("disc-degeneration", "M50.321", ["cervical"]),
        ("disc-degeneration", "M51.370", ["lumbar", "sacral"]),
        ("neuromuscular-scoliosis", "M41.42", ["cervical"]),
        ("vertebral-fracture", "M48.56XA", ["lumbar"]),
        ("pseudarthrosis", "M96.0", None),
    ],
)
def test_regions_of_diagnoses(set_id: str, code: str, region: list[str] | None) -> None:
    assert icd_region(set_id, code) == region


def test_no_code_has_two_regions_across_the_sets() -> None:
    seen: dict[tuple[str, str], list[model.Region] | None] = {}
    for one in sets().values():
        for c in one.codes:
            assert seen.setdefault((c.system, c.code), c.region) == c.region, f"{one.id}: {c.code}"


# --- products named in text -------------------------------------------------------------------------

ORDINARY = [
    "",
    "C4-C6",
    "C4-C5 and C5-C6, anterior approach",
    "right side",
    "Left iliac crest, per protocol",
    "per protocol",
    "donor bone chips",
    "allograft, morselized",
    "L4-L5 TLIF with local autograft",
    "Cefazolin 2 g IV on call",
    "EBL 200 mL expected; cell saver",
    "BMP and CBC the morning of surgery",
    "CBC with BMP, INR",
    "infuse 500 mL normal saline over 1 hour",
    "Dr. MacDonald to assist",
    "UnitedHealthcare authorization pending, graft per surgeon",
    "HA 3 weeks, no neurologic change",
    "Trinity Hospital, main campus",
    "hydroxyapatite-coated pedicle screws",
    "post op-1 week visit",
    "draw 10 mL from the iliac crest",
    "structural allograft, 7 mm",
    "HbA1c 7.1 %, BMI 31",
    "Patient prefers MyChart messages about the graft",
    "bone graft (R) iliac crest",
    "Harvest 10 cc from the crest",
    "No bone substitute, no BMP",
]
PRODUCTS = {
    "bmp": (
        ["rhBMP-2", "rhBMP", "BMP-2", "BMP 7", "INFUSE 4.2 cc", "InFuse bone graft", "Infuse small kit",
         "infuse® sponge",
         "bone morphogenetic protein", "BMP sponge in the cage", "allograft plus BMP", "OP-1 putty",
         "cage with Infuse"],
        ["infuse over 30 minutes", "INFUSE 500 ML NS", "BMP at 6 am", "check BMP", "post-OP-1", "co-op-1"],
    ),
    "hydroxyapatite": (
        ["hydroxyapatite granules", "Hydroxylapatite", "nano-hydroxyapatite", "HA granules 10 cc", "HA/TCP",
         "HA product",
         "HA bone graft substitute", "Pro Osteon"],
        ["HA since Tuesday", "ha ha", "hydroxyapatite deposition disease", "HA, dizziness"],
    ),
    "tricalcium-phosphate": (
        ["beta-tricalcium phosphate", "β-TCP", "beta TCP", "b-TCP", "tricalcium phosphate", "Vitoss",
         "TCP granules"],
        ["TCP/IP outage", "transcutaneous pacing (TCP)", "calcium phosphate"],
    ),
    "ceramic-bone-substitute": (
        ["Mastergraft granules", "calcium phosphate", "biphasic calcium phosphate", "Actifuse",
         "ceramic bone graft",
         "HA/TCP", "Vitoss", "ceramic bone void filler"],
        ["ceramic femoral head", "serum calcium, phosphate level", "graft master list"],
    ),
    "bioactive-glass": (["bioactive glass", "45S5 Bioglass", "NovaBone putty", "FiberGraft"],
    ["glass ionomer", "glasses"]),
    "demineralized-bone-matrix": (
        ["DBM putty", "demineralized bone matrix", "demineralised bone matrix", "DBX 5 cc", "Grafton",
         "demineralized bone fibers",
         "de-mineralized cortical fibers"],
        ["bone mineral density", "demineralization on x-ray", "dbmx"],
    ),
    "donor-bone-chips": (
        ["donor bone chips", "cancellous chips", "cancellous bone chips", "allograft chips",
         "allograft morselized", "bone chips",
         "morselized allograft", "croutons", "freeze-dried cancellous cubes", "morselized donor bone"],
        ["local bone chips", "autograft bone chips", "laminectomy bone chips", "structural allograft",
         "tibial plateau chip fracture"],
    ),
    "viable-cell-allograft": (
        ["ViviGen", "Osteocel Plus", "Trinity Elite 5 cc", "Trinity allograft", "cellular bone matrix",
         "allograft with viable cells",
         "viable cell allograft", "map3", "BIO4"],
        ["Trinity Health", "viable tissue seen", "bio 4 class", "no live cells in culture"],
    ),
    "mesenchymal-stem-cells": (
        ["mesenchymal stem cells", "MSCs on a collagen carrier", "stem cell graft",
         "marrow-derived stromal cells", "MSC-based allograft"],
        ["MSC 15 mg bid", "history of stem cell transplant", "brain stem lesion"],
    ),
    "amniotic-product": (["amniotic membrane", "placental tissue graft", "AmnioFix"],
    ["amniotic fluid index", "placenta previa"]),
    "platelet-rich-plasma": (["PRP", "platelet-rich plasma", "platelet rich plasma", "platelet gel"],
    ["platelets 210", "prep and drape"]),
    "peptide-bone-substitute": (["i-FACTOR", "iFactor", "P-15 peptide"], ["risk factor", "page P-150"]),
    "concentrated-marrow": (
        ["BMAC", "cBMA", "bone marrow aspirate concentrate", "concentrated bone marrow aspirate",
         "marrow concentrate"],
        ["bone marrow aspirate", "BMA mixed with crest bone"],
    ),
    "marrow-draw-technique": (
        ["Muschler technique", "2 mL per site", "2 cc per aspiration site", "1-2 mL from each site",
         "sequential draws, 1.0 mL/pass",
         "no more than 2 mL at any one site"],
        ["10 mL per site", "12 mL per site", "2.5 mL per site", "2 mL of contrast", "single draw"],
    ),
    "substitute-needing-marrow": (
        ["synthetic filler needing marrow", "allograft that must be combined with the patient's blood",
         "Vitoss soaked in BMA",
         "collagen sponge hydrated with bone marrow aspirate", "scaffold requires autologous marrow"],
        ["local bone mixed with marrow", "DBM putty", "iliac crest bone combined with marrow aspirate",
         "Vitoss 5 cc",
         "allograft chips. Needs blood type and screen"],
    ),
    "structural-spacer": (
        ["PEEK cage", "titanium cage", "titanium expandable interbody spacer", "3D-printed titanium cage",
         "interbody cage"],
        ["rib cage", "allograft spacer", "titanium plate"],
    ),
    "structural-donor-spacer": (["structural allograft, 7 mm", "fibular strut", "machined allograft"],
    ["allograft chips", "PEEK cage"]),
    "bmp-7": (["rhBMP-7", "BMP 7", "OP-1 putty", "osteogenic protein-1"], ["rhBMP-2", "post-OP-1", "BMP at 6 am"]),
    "semi-invasive-stimulator": (["semi-invasive stimulator", "semi invasive device"], ["noninvasive device"]),
    "unapproved-injectant": (
        ["vitamin B12 injection", "injected vitamin", "PRP injection", "placental matrix injection"],
        ["vitamin D 1000 units by mouth", "bone marrow aspirate"],
    ),
    "unidentified-graft-product": (
        ["OsteoStrand Plus", "AcmeGraft®", "Zeptobone(TM) 5 cc", "5 cc of Zeptobone", "Zeptobone 10cc",
         "putty", "synthetic graft",
         "bone void filler", "graft product: to be chosen", "collagen strip", "bone sponge",
         "pack with NeoFuse granules",
         "synthetic scaffold", "graft with OrthoBlend"],
        ["DBM putty 5 cc", "5 cc DBM", "10 cc Bone marrow aspirate", "Vancomycin 1 g powder",
         "1 g Vancomycin in the wound",
         "Steri-Strips and dressing", "ultrasound gel", "blood product consent", "Lidocaine 10 mL",
         "Harvest 10 cc Iliac crest", "matrix report to follow",
         "lap sponge count", "test strips"],
    ),
}  # fmt: skip
YES = [(s, t) for s, (texts, _) in PRODUCTS.items() for t in texts]
NO = [(s, t) for s, (_, texts) in PRODUCTS.items() for t in texts]
CHIPS = {"donor bone chips"}
STRUCTURAL = {"structural allograft, 7 mm"}


@pytest.mark.parametrize(("set_id", "text"), YES)
def test_a_text_that_names_the_product(set_id: str, text: str) -> None:
    assert named(set_id, text)
    assert named(set_id, f"Please use {text}." if not text.startswith("OsteoStrand") else text)


@pytest.mark.parametrize(("set_id", "text"), NO)
def test_a_text_that_does_not_name_the_product(set_id: str, text: str) -> None:
    assert not named(set_id, text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_notes_name_no_product(text: str) -> None:
    chips, structural = text in CHIPS, text in STRUCTURAL
    expected = {"donor-bone-chips"} if chips else {"structural-donor-spacer"} if structural else set()
    assert {s for s in PRODUCTS if named(s, text)} == expected
    assert named("identified-graft-product", text) == chips


def test_every_set_with_words_is_tried() -> None:
    worded = {s.id for s in sets().values() if s.terms or s.patterns}
    assert worded == set(PRODUCTS) | {"spine-in-text"}


@pytest.mark.parametrize("text", ["lumbar spine", "C4-C6", "L4-5 fusion", "vertebral body", "for the spine"])
def test_a_text_that_names_the_spine(text: str) -> None:
    assert named("spine-in-text", text)


@pytest.mark.parametrize("text", ["noninvasive, other than spinal applications", "non-spinal", "tibia", ""])
def test_a_text_that_does_not_name_the_spine(text: str) -> None:
    assert not named("spine-in-text", text)


def test_a_known_product_under_a_trade_mark_is_identified() -> None:
    for text in ("Grafton® DBM 5 cc", "InFuse™ bone graft, small kit", "ViviGen® 5 cc", "i-FACTOR™ putty"):
        assert named("unidentified-graft-product", text), text
        assert named("identified-graft-product", text), text


@pytest.mark.parametrize("unit", [" ", "HA /", "AaaBbb ", "2 mL ", "bone x ", "demineralized cortical ", "® ", "1"])
def test_a_hostile_text_is_read_in_linear_time(unit: str) -> None:
    text = "local bone HA / 2 mL" + unit * (100_000 // len(unit))
    for set_id in PRODUCTS:
        expression = vocabulary().sets[set_id].expression
        assert expression is not None
        start = perf_counter()
        sum(1 for _ in expression.finditer(text))
        # About 0.1 s when linear; a quadratic pattern takes minutes.
        assert perf_counter() - start < 5, set_id
