"""`policy new`: files of a first policy that lint and pass, to be rewritten line by line."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from cds_service.commands.policy_schema import schemas
from cds_service.content_files import load_content
from cds_service.errors import ConfigurationError
from cds_service.policy.content import Faults
from cds_service.policy.spelling import misspelt

_NAME = re.compile(r"^[a-z0-9]+(?:-[a-z0-9]+)*/[a-z0-9]+(?:-[a-z0-9]+)*$")

_NO_TEXT = re.compile(r"true|false|null|[\d ]+", re.IGNORECASE)

_POLICY = """\
# yaml-language-server: $schema=../../_schema/policy.schema.json
format: 1
id: {publisher}/{name}
kind: coverage
title: {title}
short_title: {title}          # how cards name the policy
publisher: {label}
payers: [{payer}]         # ids in payers.yaml
notice: unofficial encoding
keywords: [imaging]
versions:
  - version: "{today:%Y-%m}"
    effective: {{from: null, to: null}}   # null is open; write the days that the policy itself states
    last_confirmed_on: {today}
    review: {{status: submitted}}         # approved needs 'by' and 'on', and sources that were read
    sources:
      policy:
        title: {title}
        confidence: recalled            # seen: read at its source; seen-2nd: in a summary by others

    criteria:
      red-flag:
        text: A red flag is documented.
        indication: {{value_set: {name}-red-flags}}
        when_absent: not-met            # an empty problem list means that there is none
        cite: [policy]
      tried-six-weeks:
        text: Six weeks of conservative care were tried.
        asked: {{}}
        ask: {{question: Were six weeks of conservative care tried?}}
        cite: [policy]

    orders:
      low-back-imaging:
        label: Imaging of the low back
        value_set: {name}-orders
        rules:                          # exclusions first; the first rule that is met decides
          - id: red-flag
            when: red-flag
            outcome: supported
            because: A red flag needs imaging without delay.
            cite: [policy]
          - id: after-conservative-care
            when: tried-six-weeks
            outcome: supported
            because: Conservative care was tried for six weeks.
            cite: [policy]
        otherwise:
          outcome: not-supported
          because: Imaging comes after six weeks of conservative care, unless there is a red flag.
          cite: [policy]
"""

_CARD = """\
# yaml-language-server: $schema=../../_schema/card.schema.json
format: 1
orders:
  low-back-imaging:
    summary:
      - "{{ name }} comes after six weeks of conservative care"
"""

_CASES = """\
# yaml-language-server: $schema=../../_schema/cases.schema.json
format: 1
cases:
  - id: red-flag
    title: Cauda equina syndrome
    orders: [{order}]
    conditions: ["G83.4"]
    expect: {{"{code}": {{outcome: supported, rule: red-flag}}}}
  - id: conservative-care
    title: Six weeks of conservative care, as answered
    orders: [{order}]
    answers: {{tried-six-weeks: true}}
    expect: {{"{code}": {{outcome: supported, rule: after-conservative-care}}}}
  - id: too-early
    title: No conservative care, as answered
    orders: [{order}]
    answers: {{tried-six-weeks: false}}
    expect: {{"{code}": not-supported}}
  - id: not-documented
    title: Nothing is documented, so there is a question and no refusal
    orders: [{order}]
    expect: {{"{code}": {{outcome: needs-information, missing: [tried-six-weeks]}}}}
  - id: chart-not-read
    title: The problem list could not be read
    orders: [{order}]
    unavailable: [conditions]
    answers: {{tried-six-weeks: false}}
    expect: {{"{code}": {{outcome: needs-information, missing: [red-flag]}}}}
"""

_ORDERS = """\
# yaml-language-server: $schema=../_schema/value-set.schema.json
format: 1
id: {name}-orders
title: Imaging of the low back
source: {{title: Codes in our own words, confidence: recalled}}
codes:
  - {{system: {system}, code: "{code}", label: Imaging of the low back}}
"""

_FLAGS = """\
# yaml-language-server: $schema=../_schema/value-set.schema.json
format: 1
id: {name}-red-flags
title: Red flags of low back pain
source: {{title: Codes in our own words, confidence: recalled}}
prefixes:
  - {{system: icd-10-cm, prefix: "G83.4", label: Cauda equina syndrome}}
"""

_PAYERS = """\
# yaml-language-server: $schema=_schema/payers.schema.json
format: 1
payers:
"""

_PAYER = """\
  - id: {payer}
    label: {label}
    identifiers:
      - {{system: "http://example.org/payer-id", value: "{publisher}"}}
"""


def scaffold(folder: Path, policy_id: str, code: str, today: date) -> list[Path]:
    """Write a new policy below `folder`; returns the files written or added to. Raises ConfigurationError."""
    if not _NAME.match(policy_id):
        raise ConfigurationError(f"'{policy_id}' is not a policy name. Write publisher/policy in lower case.")
    publisher, name = policy_id.split("/")
    system = _system(code)
    if (folder / policy_id).exists():
        raise ConfigurationError(f"{folder / policy_id} exists already. Choose another name.")
    words = {
        "publisher": publisher,
        "name": name,
        "payer": _text(publisher),
        "label": _text(publisher.replace("-", " ").title()),
        "title": _text(name.replace("-", " ").capitalize()),
        "code": code,
        "system": system,
        "order": f'"{code}"' if system == "cpt" else f'{{code: "{code}", system: {system}}}',
        "today": today,
    }
    files = {
        f"{policy_id}/policy.yaml": _POLICY.format(**words),
        f"{policy_id}/card.yaml": _CARD,
        f"{policy_id}/cases.yaml": _CASES.format(**words),
        f"value_sets/{name}-orders.yaml": _ORDERS.format(**words),
        f"value_sets/{name}-red-flags.yaml": _FLAGS.format(**words),
    }
    taken = [n for n in files if (folder / n).exists()]
    if taken:
        raise ConfigurationError(f"{folder / taken[0]} exists already. Choose another name.")
    payers = _with_payer(folder, publisher, _PAYER.format(**words))
    written = [_write(folder / n, text) for n, text in {**payers, **files}.items()]
    for schema, text in schemas().items():
        if not (folder / "_schema" / schema).exists():
            _write(folder / "_schema" / schema, text)
    return written


def _system(code: str) -> str:
    """The system of an order's code. Raises ConfigurationError."""
    for system in ("cpt", "hcpcs"):
        if misspelt(system, code) is None:
            return system
    raise ConfigurationError(" ".join(misspelt("cpt", code) or ()))


def _text(word: str) -> str:
    """A word as YAML text: quoted where it would be read as a number, true, false or null."""
    return f'"{word}"' if _NO_TEXT.fullmatch(word) else word


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _with_payer(folder: Path, publisher: str, entry: str) -> dict[str, str]:
    """`payers.yaml` with the publisher in it, if it is not there; comments and entries stay as they are."""
    path = folder / "payers.yaml"
    if not path.exists():
        return {"payers.yaml": _PAYERS + entry}
    try:
        known = load_content(folder).payers
    except Faults as faults:
        raise ConfigurationError("the cards folder has faults. Run 'policy lint' and mend them first.") from faults
    if publisher in known:
        return {}
    text = path.read_text(encoding="utf-8")
    return {"payers.yaml": text + ("" if text.endswith("\n") else "\n") + entry}
