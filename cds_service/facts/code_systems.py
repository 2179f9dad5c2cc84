"""The names that code systems go by, as one table: addresses, OIDs, names of terminology services and of HL7 v2.

Sources: FHIR R4 and its older versions, terminologies-systems; HL7 terminology (THO), NamingSystem; HL7 v2 table 0396;
the UMLS Metathesaurus and VSAC, source abbreviations; CMS Blue Button; pages of the publishers that clients use as URI.
A system that is listed and not read is known all the same: its codes are nobody else's.
"""

from __future__ import annotations

import re
from functools import lru_cache

CPT, HCPCS, ICD10CM, ICD10PCS, SNOMED, LOINC, RXNORM, NDC, CVX, NUCC, POS, SOPT, ACT_CODE = (
    "cpt", "hcpcs", "icd-10-cm", "icd-10-pcs", "snomed", "loinc", "rxnorm", "ndc", "cvx", "nucc", "pos", "sopt",
    "v3-actcode",
)  # fmt: skip

URI = {
    CPT: "http://www.ama-assn.org/go/cpt",
    HCPCS: "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
    ICD10CM: "http://hl7.org/fhir/sid/icd-10-cm",
    ICD10PCS: "http://www.cms.gov/Medicare/Coding/ICD10",
    SNOMED: "http://snomed.info/sct",
    LOINC: "http://loinc.org",
    RXNORM: "http://www.nlm.nih.gov/research/umls/rxnorm",
    NDC: "http://hl7.org/fhir/sid/ndc",
    CVX: "http://hl7.org/fhir/sid/cvx",
    NUCC: "http://nucc.org/provider-taxonomy",
    POS: "https://www.cms.gov/Medicare/Coding/place-of-service-codes",
    SOPT: "https://nahdo.org/sopt",
    ACT_CODE: "http://terminology.hl7.org/CodeSystem/v3-ActCode",
}
"""What is written for a system that policies read; every spelling of it is read."""

_NOT_READ = ""

# Addresses without scheme, `www.`, version, fragment and last slash; OIDs bare.
_ADDRESSES = {
    CPT: "2.16.840.1.113883.6.12 2.16.840.1.113883.6.82 ama-assn.org ama-assn.org/go/cpt "
    "cpt.ama-assn.org",
    HCPCS: "2.16.840.1.113883.6.285 2.16.840.1.113883.6.14 hcpcs.codes hcpcsdata.com "
    "cms.gov/medicare/coding/medhcpcsgeninfo "
    "cms.gov/medicare/coding-billing/healthcare-common-procedure-system",
    ICD10CM: "2.16.840.1.113883.6.90 2.16.840.1.113883.6.3 cdc.gov/nchs/icd/icd10cm cdc.gov/nchs/icd/icd-10-cm "
    "icd10data.com icd10data.com/icd10cm who.int/classifications/icd/en who.int/classifications/icd10 "
    "icd.who.int/browse10 id.who.int/icd/release/10",
    ICD10PCS: "2.16.840.1.113883.6.4 cms.gov/medicare/coding/icd10 icd10data.com/icd10pcs",
    SNOMED: "2.16.840.1.113883.6.96 snomed.info/sct snomed.org ihtsdo.org/snomed-ct",
    LOINC: "2.16.840.1.113883.6.1 loinc.org",
    RXNORM: "2.16.840.1.113883.6.88 rxnav.nlm.nih.gov",
    NDC: "2.16.840.1.113883.6.69",
    CVX: "2.16.840.1.113883.12.292 2.16.840.1.113883.6.59",
    NUCC: "2.16.840.1.113883.6.101 nucc.org nucc.org/provider-taxonomy",
    POS: "2.16.840.1.113883.6.50 cms.gov/medicare/coding/place-of-service-codes",
    SOPT: "2.16.840.1.113883.3.221.5 nahdo.org/sopt phdsc.org/standards/payer-typology.asp "
    "phdsc.org/standards/payer-typology",
    ACT_CODE: "2.16.840.1.113883.5.4 hl7.org/fhir/v3/actcode hl7.org/fhir/actcode",
    # ICD-9-CM, MVX, dental, revenue, DRG, drugs, units, NCI.
    _NOT_READ: "2.16.840.1.113883.6.2 2.16.840.1.113883.6.42 2.16.840.1.113883.6.103 2.16.840.1.113883.6.104 "
    "2.16.840.1.113883.6.60 2.16.840.1.113883.12.227 2.16.840.1.113883.6.13 "
    "2.16.840.1.113883.6.301.3 2.16.840.1.113883.6.8 2.16.840.1.113883.6.73 2.16.840.1.113883.4.9 "
    "2.16.840.1.113883.6.162 2.16.840.1.113883.6.64 2.16.840.1.113883.6.68 2.16.840.1.113883.6.253 "
    "2.16.840.1.113883.6.314 2.16.840.1.113883.3.26.1.1 2.16.840.1.113883.3.26.1.5 2.16.840.1.113883.6.238 "
    "fdasis.nlm.nih.gov unitsofmeasure.org whocc.no/atc ada.org/cdt "
    "ada.org/snodent ada.org/en/publications/cdt nubc.org fdbhealth.com ncimeta.nci.nih.gov dicom.nema.org/resources/"
    "ontology/dcm cap.org/protocols e-imo.com",
}  # fmt: skip

# Names in place of an address, or at the end of one of these shelves: letters and digits alone, and no year behind.
_NAMES = {
    CPT: "cpt cpt4 cpt5 c4 c5 cptiv cptama amacpt cpt4ama cptcode cptcodes cptall hcpt mthch hcpcslevel1 hcpcsleveli "
    "hcpcs1 hcpcsi currentproceduralterminology currentproceduralterminologycpt currentproceduralterminology4 "
    "currentproceduralterminology4thedition cptcurrentproceduralterminology currentproceduralterminologycptr",
    HCPCS: "hcpcs hcpc hpc hcp hcpcslevelii hcpcslevel2 hcpcsii hcpcs2 hcpcsallcodes hcpcscode hcpcscodes hcpcscd "
    "hcpcscpt cpthcpcs cpt4hcpcs hcpcscpt4 hcpcslevelicpt cptorhcpcs hcfaprocedurecodes hcfaprocedurecodeshcpcs "
    "cmsprocedurecodeshcpcs cmsprocedurecodes cmshcpcs hcpcscms hcpcsreleasecodesets medhcpcsgeninfo "
    "healthcarecommonprocedurecodingsystem healthcarecommonprocedurecodingsystemhcpcs "
    "healthcarefinancingadministrationcommonprocedurecodingsystem",
    ICD10CM: "icd10 i10 i10c i10cm icd10cm icd10us icd10c icd10dx icd10cmdx icd10cmdiagnosis icd10diagnosis "
    "icd10diagnosiscode icd10cmcode icd10cmcodes icd10code icd10codes icd10usa internationalclassificationofdiseases10 "
    "internationalclassificationofdiseases10threvision icdtenthrevision icd10threvision "
    "internationalclassificationofdiseases10threvisionclinicalmodification "
    "internationalclassificationofdiseases10threvisionclinicalmodificationicd10cm",
    ICD10PCS: "i10p icd10pcs icd10p icd10procedure icd10procedures icd10proc icd10pr icd10pcscode icd10pcscodes "
    "internationalclassificationofdiseases10threvisionprocedurecodingsystem icd10procedurecodingsystem",
    SNOMED: "snomed snomedct snomedctus sct sct2 sctus snomedctcore snomedctinternational snomedctusedition "
    "snomedclinicalterms systematizednomenclatureofmedicineclinicalterms",
    LOINC: "loinc ln lnc logicalobservationidentifiersnamesandcodes",
    RXNORM: "rxnorm rxcui rxnormcui rxnormconceptuniqueidentifier",
    NDC: "ndc ndc11 ndc10 mthspl nationaldrugcode",
    CVX: "cvx",
    NUCC: "nucc nuccpt nuccproviderhcpt",
    POS: "pos placeofservice",
    SOPT: "sop sopt sourceofpaymenttypology payertypology",
    ACT_CODE: "v3actcode actcode hl7actcode",
    _NOT_READ: "icd9 i9 i9c i9cdx i9cp icd9cm icd9cmdx icd9dx icd9proc icd9pcs icd9cmproc icd9cmprocedure icd9cmp "
    "mvx cdt cdt2 cd2 "
    "atc atc5 unii ucum nubc revenuecode msdrg drg nddf nddfid ndfrt medrt vandf gpi multum mmsl mmx fdb hsloc nci "
    "ncit ichi icd11 icf icpc icpc2 msh mesh umls imo dcm radlex playbook snm snm3 snt snodent cdcrec",
}  # fmt: skip
# Shelves: where what follows, up to the next slash, is the name of a system.
_SHELVES = (
    "terminology.hl7.org/codesystem/", "terminology.hl7.org/namingsystem/", "terminology.hl7.org/codesystem-",
    "hl7.org/fhir/sid/", "hl7.org/fhir/us/sid/", "hl7.org/codesystem/", "hl7.org/fhir/valueset/",
    "hl7.org/fhir/codesystem/", "hl7.org/fhir/namingsystem/",
    "hl7.org/fhir/v2/0396/", "terminology.hl7.org/codesystem/v2-0396/",
    "nlm.nih.gov/research/umls/", "nlm.nih.gov/research/umls/sourcereleasedocs/current/", "nlm.nih.gov/healthit/",
    "uts.nlm.nih.gov/uts/umls/vocabulary/", "vsac.nlm.nih.gov/codesystem/", "cts.nlm.nih.gov/fhir/codesystem/",
    "bluebutton.cms.gov/resources/codesystem/", "bluebutton.cms.gov/resources/variables/",
    "bluebutton.cms.gov/fhir/codesystem/", "purl.bioontology.org/ontology/", "bioportal.bioontology.org/ontologies/",
    "data.bioontology.org/ontologies/", "cms.gov/medicare/coding/", "cms.gov/medicare/coding-billing/", "cms.gov/",
    "id.nlm.nih.gov/", "ncithesaurus.nci.nih.gov/", "fhir.org/codesystem/", "tx.fhir.org/r4/codesystem/",
)  # fmt: skip
_HL7 = ("terminology.hl7.org/codesystem/", "hl7.org/fhir/")

_KEYS = {address: key for key, told in _ADDRESSES.items() for address in told.split()}
_BY_NAME = {name: key for key, told in _NAMES.items() for name in told.split()}
_SCHEME = re.compile(r"^(?:(?:https?:/{1,2})?(?:www\.)?|urn:oid:|oid:|urn:)(?=[^/])")
_END = re.compile(r"(?:/+|/(?:index|default|overview)|\.(?:html?|aspx?|page|php|jsonld?))+$")
_NO_LETTER = re.compile(r"[^a-z0-9]")
_YEAR = re.compile(r"(?<=[a-z0-9])(?:v|version|release|fy)?(?:19|20)\d\d(?:ab|aa)?$")
_CPT_PAGE = re.compile(r"/cpt(?![a-z0-9])")
_HCPCS_PAGE = re.compile(r"hcpcs")
_ICD_PAGE = re.compile(r"/icd-?10(?:/|$)")


def key_of(uri: str) -> str | None:
    """Short key of a code system that policies read; the empty text for another one that is known; else None."""
    return _key_of(uri) if len(uri) < 500 else None


@lru_cache(maxsize=2048)
def _key_of(uri: str) -> str | None:
    text = re.split(r"[|#?]", uri.strip().lower(), maxsplit=1)[0].strip()
    bare = _END.sub("", _SCHEME.sub("", text))
    if bare in _KEYS:
        return _KEYS[bare]
    shelf = max((s for s in _SHELVES if bare.startswith(s)), key=len, default=None)
    if shelf is not None:
        found = _named(bare.removeprefix(shelf).split("/", 1)[0])
        if found is not None:
            return found
    if bare.startswith("ama-assn.org/") and _CPT_PAGE.search(bare):
        return CPT
    if bare.startswith("cms.gov/"):
        return HCPCS if _HCPCS_PAGE.search(bare) else ICD10PCS if _ICD_PAGE.search(bare) else None
    if any(bare.startswith(start) for start in _HL7) and not bare.startswith("hl7.org/fhir/sid/"):
        return _NOT_READ
    # A name stands for itself: not behind `urn:`, nor within an address of somebody's own.
    return None if text != bare or "." in bare or ":" in bare else _named(bare)


def _named(text: str) -> str | None:
    name = _NO_LETTER.sub("", text)
    found = _BY_NAME.get(name)
    return found if found is not None else _BY_NAME.get(_YEAR.sub("", name))
