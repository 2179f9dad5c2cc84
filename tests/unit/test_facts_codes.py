"""Code systems in all their spellings become one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from support.unheard import spellings

from cds_service.facts.codes import COUNTED, URI, is_code, is_known, normalise, read, seeming, system_key
from cds_service.policy.case import Code


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("http://www.ama-assn.org/go/cpt", "cpt"),
        ("https://www.ama-assn.org/go/cpt", "cpt"),
        ("http://www.ama-assn.org/go/CPT/", "cpt"),
        ("http://www.ama-assn.org/go/cpt|2026", "cpt"),
        (" urn:oid:2.16.840.1.113883.6.12 ", "cpt"),
        ("URN:OID:2.16.840.1.113883.6.12", "cpt"),
        ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "hcpcs"),
        ("http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets", "hcpcs"),
        ("urn:oid:2.16.840.1.113883.6.285", "hcpcs"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "icd-10-cm"),
        ("urn:oid:2.16.840.1.113883.6.90", "icd-10-cm"),
        ("http://snomed.info/sct|http://snomed.info/sct/731000124108", "snomed"),
        ("http://loinc.org/", "loinc"),
        ("https://www.nahdo.org/sopt", "sopt"),
        ("http://phdsc.org/standards/payer-typology.asp", "sopt"),
        ("urn:oid:2.16.840.1.113883.3.221.5", "sopt"),
        ("http://hl7.org/fhir/v3/ActCode", "v3-actcode"),
        ("CPT", "cpt"),
        ("CPT4", "cpt"),
        ("CPT-4", "cpt"),
        ("http://terminology.hl7.org/CodeSystem/CPT", "cpt"),
        ("HCPCS Level II", "hcpcs"),
        ("http://terminology.hl7.org/CodeSystem/hcpcs-Level-II", "hcpcs"),
        ("2.16.840.1.113883.6.285", "hcpcs"),
        ("ICD-10-CM", "icd-10-cm"),
        ("ICD10CM", "icd-10-cm"),
        ("2.16.840.1.113883.6.90", "icd-10-cm"),
        ("2.16.840.1.113883.6.4", "icd-10-pcs"),
        ("SNOMED CT", "snomed"),
        ("2.16.840.1.113883.6.96", "snomed"),
        ("LOINC", "loinc"),
        ("2.16.840.1.113883.6.1", "loinc"),
        ("RxNorm", "rxnorm"),
        ("2.16.840.1.113883.6.88", "rxnorm"),
        ("http://hospital.example/cpt", "http://hospital.example/cpt"),
        ("urn:cpt", "urn:cpt"),
        ("2.16.840.1.113883.6.1200", "2.16.840.1.113883.6.1200"),
        ("urn:ehr:local", "urn:ehr:local"),
        ("http://www.ama-assn.org/go/cpt2", "http://www.ama-assn.org/go/cpt2"),
        ("", ""),
    ],
)
def test_systems(uri: str, key: str) -> None:
    assert system_key(uri) == key


def test_every_uri_we_write_is_one_we_read() -> None:
    assert {key: system_key(uri) for key, uri in URI.items()} == {key: key for key in URI}


CPT, HCPCS, ICD = URI["cpt"], URI["hcpcs"], URI["icd-10-cm"]


@pytest.mark.parametrize(
    ("uri", "written", "code", "modifiers"),
    [
        (CPT, "20939", Code("cpt", "20939"), ()),
        (CPT, " 20939 ", Code("cpt", "20939"), ()),
        (CPT, "63030-50", Code("cpt", "63030"), ("50",)),
        (CPT, "63030 50", Code("cpt", "63030"), ("50",)),
        (CPT, "63030:50", Code("cpt", "63030"), ("50",)),
        (CPT, "6303050", Code("cpt", "63030"), ("50",)),
        (CPT, "63030-50-LT", Code("cpt", "63030"), ("50", "LT")),
        (CPT, "63030-50,59", Code("cpt", "63030"), ("50", "59")),
        (CPT, "0232t", Code("cpt", "0232T"), ()),
        (CPT, "0232T-RT", Code("cpt", "0232T"), ("RT",)),
        (CPT, "E0748", Code("hcpcs", "E0748"), ()),
        (HCPCS, "E0748-NU", Code("hcpcs", "E0748"), ("NU",)),
        (HCPCS, "22551", Code("cpt", "22551"), ()),
        (CPT, "2093", Code("cpt", "2093"), ()),
        (CPT, "209399", Code("cpt", "209399"), ()),
        (CPT, "20939-5", Code("cpt", "20939-5"), ()),
        (CPT, "20939 -RT", Code("cpt", "20939"), ("RT",)),
        (CPT, "20939 - 59, 51", Code("cpt", "20939"), ("59", "51")),
        (CPT, "CPT20939", Code("cpt", "20939"), ()),
        (CPT, "CPT 20939-59", Code("cpt", "20939"), ("59",)),
        (CPT, "CPT(R):20939", Code("cpt", "20939"), ()),
        (HCPCS, "HCPCS E0748", Code("hcpcs", "E0748"), ()),
        (CPT, "22853 x2", Code("cpt", "22853"), (COUNTED,)),
        (CPT, "22853 X 2", Code("cpt", "22853"), (COUNTED,)),
        (CPT, "22853x2", Code("cpt", "22853"), (COUNTED,)),
        (CPT, "22853*2", Code("cpt", "22853"), (COUNTED,)),
        (CPT, "22853-59 ×2", Code("cpt", "22853"), ("59", COUNTED)),
        (CPT, "22853-X2", Code("cpt", "22853"), ("X2",)),
        (CPT, "22853 XS", Code("cpt", "22853"), ("XS",)),
        (ICD, "M50.321", Code("icd-10-cm", "M50.321"), ()),
        (ICD, "M50321", Code("icd-10-cm", "M50.321"), ()),
        (ICD, "m48.061", Code("icd-10-cm", "M48.061"), ()),
        (ICD, "I10", Code("icd-10-cm", "I10"), ()),
        ("http://snomed.info/sct", "279039007", Code("snomed", "279039007"), ()),
        ("urn:ehr:local", "20939-Aa", Code("urn:ehr:local", "20939-Aa"), ()),
    ],
)
def test_codes(uri: str, written: str, code: Code, modifiers: tuple[str, ...]) -> None:
    assert normalise(uri, written) == (code, modifiers)


@pytest.mark.parametrize(
    "concept",
    [
        None, 7, "x", [], {}, {"coding": None}, {"coding": {}}, {"coding": [None, 7, {}, {"system": CPT}]},
        {"coding": [{"code": "20939"}, {"system": CPT, "code": ""}, {"system": 5, "code": "20939"}]},
    ],
)  # fmt: skip
def test_what_has_no_system_and_code_is_no_code(concept: object) -> None:
    assert read(concept) == ((), ())


@pytest.mark.parametrize(
    ("concept", "found"),
    [
        ({"coding": [{"code": "20939"}]}, ["cpt 20939"]),
        ({"coding": [{"code": "CPT20939-59"}, {"code": "E0748", "system": ""}]}, ["cpt 20939", "hcpcs E0748"]),
        ({"coding": [{"code": "20939", "system": "urn:local"}]}, ["cpt 20939"]),
        ({"coding": [{"code": "20939", "system": "http://snomed.info/sct"}]}, ["cpt 20939"]),
        ({"coding": [{"code": "20939", "system": "http://www.nlm.nih.gov/research/umls/rxnorm"}]}, []),
        ({"coding": [{"code": "20939-1", "system": "http://loinc.org"}]}, []),
        ({"text": "22551 Anterior cervical fusion"}, ["cpt 22551"]),
        ({"text": "CPT 20939 marrow"}, ["cpt 20939"]),
        ({"text": "(E0748) stimulator"}, ["hcpcs E0748"]),
        ({"text": "Marrow (CPT: 20939, CPT 20936)"}, ["cpt 20939", "cpt 20936"]),
        ({"text": "Room 22551"}, []),
        ({"text": "225512 units"}, []),
        ({"text": "x" * 300 + " CPT 20939"}, []),
        ({"coding": [None, {"code": 7}], "text": 7}, []),
        (None, []),
    ],
)
def test_codes_that_name_no_system(concept: object, found: list[str]) -> None:
    assert [str(code) for code in seeming(concept)] == found


def test_a_code_in_two_spellings_is_one_code_with_all_modifiers() -> None:
    concept = {
        "coding": [
            {"system": CPT, "code": "63030-50"},
            {"system": "urn:oid:2.16.840.1.113883.6.12", "code": "63030-LT"},
            {"system": "urn:local", "code": "LAMI"},
        ]
    }
    assert read(concept) == ((Code("cpt", "63030"), Code("urn:local", "LAMI")), ("50", "LT"))


def test_a_clients_own_table_adds_and_never_replaces() -> None:
    local = {Code("urn:local", "BMA"): Code("cpt", "20939")}
    concept = {"coding": [{"system": "urn:local", "code": "BMA"}]}
    assert read(concept, local) == ((Code("urn:local", "BMA"), Code("cpt", "20939")), ())
    assert read(concept) == ((Code("urn:local", "BMA"),), ())


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("https://bluebutton.cms.gov/resources/codesystem/hcpcs", "hcpcs"),
        ("https://bluebutton.cms.gov/resources/variables/hcpcs_cd", "hcpcs"),
        ("http://www.nlm.nih.gov/research/umls/hcpcs", "hcpcs"),
        ("http://www.nlm.nih.gov/research/umls/hcpt", "cpt"),
        ("http://www.nlm.nih.gov/research/umls/icd10pcs", "icd-10-pcs"),
        ("http://terminology.hl7.org/CodeSystem/HCPCS-all-codes", "hcpcs"),
        ("https://www.cms.gov/Medicare/Coding/MedHCPCSGenInfo/index.html", "hcpcs"),
        ("https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets/Alpha-Numeric-HCPCS", "hcpcs"),
        ("https://www.ama-assn.org/practice-management/cpt", "cpt"),
        ("https://www.ama-assn.org/cpt#", "cpt"),
        ("http://purl.bioontology.org/ontology/CPT/", "cpt"),
        ("http://hl7.org/fhir/sid/cpt", "cpt"),
        ("C4", "cpt"),
        ("I10", "icd-10-cm"),
        ("ICD-10-CM 2026", "icd-10-cm"),
        ("http://hl7.org/fhir/sid/icd-10", "icd-10-cm"),
        ("I10P", "icd-10-pcs"),
        ("SCT", "snomed"),
        ("LN", "loinc"),
    ],
)
def test_systems_by_other_names(uri: str, key: str) -> None:
    assert system_key(uri) == key


@pytest.mark.parametrize(
    "uri",
    [
        "I9", "http://hl7.org/fhir/sid/icd-9-cm",
        "http://terminology.hl7.org/CodeSystem/v2-0131",
    ],
)  # fmt: skip
def test_systems_that_are_known_and_not_read(uri: str) -> None:
    assert is_known(uri)
    assert system_key(uri) == uri


@pytest.mark.parametrize(
    "uri", ["urn:cpt", "http://hospital.example/cpt", "L", "99LAB", "cpt.example.org", "", "x" * 999]
)
def test_systems_of_somebody_s_own(uri: str) -> None:
    assert not is_known(uri)


@settings(max_examples=300, derandomize=True)
@given(spellings("20939"))
def test_a_text_of_cpt_s_system_is_read_as_its_code_or_as_none(written: str) -> None:
    code, _ = normalise(CPT, written)
    assert code == Code("cpt", "20939") or not is_code(code)


@pytest.mark.parametrize(
    ("uri", "written", "code"),
    [
        ("ICD10", "0SR9019", Code("icd-10-pcs", "0SR9019")),
        (URI["icd-10-pcs"], "M43.16", Code("icd-10-cm", "M43.16")),
        ("ICD-10", "S32.010A", Code("icd-10-cm", "S32.010A")),
        ("http://hl7.org/fhir/sid/icd-9-cm", "V45.4", Code("http://hl7.org/fhir/sid/icd-9-cm", "V45.4")),
    ],
)
def test_how_a_code_looks_tells_diagnoses_from_procedures(uri: str, written: str, code: Code) -> None:
    assert normalise(uri, written)[0] == code
