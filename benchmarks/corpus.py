"""Every answer of before is the answer of after: requests are written once, answered by two commits, and compared.

    python benchmarks/corpus.py requests OUT [--synthetic N]
    python benchmarks/corpus.py answers REQUESTS OUT    with PYTHONPATH on the commit that shall answer
    python benchmarks/corpus.py compare OLD NEW

Requests are those of the fixtures and stories, of every worked case, and of synthetic charts, some of them with data
left out, failed or wrong. Each is asked of the advisors and of CRD. Compared are the response or the refusal,
determinations, findings, what was not used, and the explanations; ids are counted, because they are made anew.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import orjson

Json = dict[str, Any]
NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
SIGN, SELECT, CRD = "order-sign-advisor", "order-select-advisor", "order-sign-crd"
GUIDES = ("2.0", "2.1", "2.2")
CONFIGURATION = "davinci-crd.configuration"
BILLING = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
SHOWN = 10


# --- requests ---------------------------------------------------------------------------------------


def requests(synthetic: int, seed: int) -> Iterator[Json]:
    """`{"name", "service", "guide", "live", "body"}` of each call."""
    for name, body in (*_fixtures(), *_worked()):
        yield from _asked(name, body, every=True)
    random = Random(seed)
    for number, body in enumerate(_synthetic(synthetic, seed)):
        yield from _asked(f"synthetic/{number}", _troubled(body, random), every=False)


def _asked(name: str, body: Json, *, every: bool) -> Iterator[Json]:
    """One body as each service is asked it. Of synthetic ones, each is asked of one version of the guide."""
    if "draftOrders" not in body["context"]:
        yield {"name": name, "service": "patient-view-advisor", "guide": "2.2", "live": False, "body": body}
        return
    signed = {**body, "hook": "order-sign"}
    yield {"name": name, "service": SIGN, "guide": "2.2", "live": False, "body": signed}
    ids = [
        e["resource"] for e in body["context"]["draftOrders"].get("entry", ()) if isinstance(e.get("resource"), dict)
    ]
    chosen = [f"{r.get('resourceType')}/{r.get('id')}" for r in ids[: (len(ids) + 1) // 2]]
    selected = {**body, "hook": "order-select", "context": {**body["context"], "selections": chosen}}
    yield {"name": name, "service": SELECT, "guide": "2.2", "live": False, "body": selected}
    if every:
        signed = deepcopy(signed)
        _require(signed)
    for guide in GUIDES if every else (GUIDES[len(name) % 3],):
        yield {"name": name, "service": CRD, "guide": guide, "live": True, "body": signed}


def _fixtures() -> Iterator[tuple[str, Json]]:
    for path in sorted(Path("fhir_fixtures").rglob("request*.json")):
        yield path.as_posix(), orjson.loads(path.read_bytes())


def _worked() -> Iterator[tuple[str, Json]]:
    from cds_service.config import Settings
    from cds_service.hooks.runtime import Runtime
    from cds_service.web.pages.case_request import request_of

    book = Runtime.build(Settings(demo=True)).book.rulebook
    for policy, folder in sorted(book.folders.items()):
        for case in folder.cases.cases if folder.cases else ():
            yield f"{policy}:{case.id}", request_of(folder, case, book)


def _synthetic(most: int, seed: int) -> Iterator[Json]:
    """Bodies of synthetic charts, each with the orders of one day."""
    from cds_service.replay.charts import charts_of, events
    from cds_service.replay.synth import charts
    from cds_service.replay.synth_files import bundle

    made = count()
    for chart in charts(most, seed):
        for one in charts_of(bundle(chart))[0]:
            for event in events(one):
                if next(made) >= most:
                    return
                yield event.body


def _troubled(body: Json, random: Random) -> Json:
    """A body as it is, or (two of three) with one or two things wrong as they are wrong in the field."""
    body = deepcopy(body)
    for change in random.sample(_TROUBLES, random.choice((0, 1, 2))):
        change(body, random)
    return body


def _drop(body: Json, random: Random) -> None:
    prefetch = body.get("prefetch") or {}
    if prefetch:
        prefetch.pop(random.choice(sorted(prefetch)))


def _fail(body: Json, random: Random) -> None:
    prefetch = body.get("prefetch") or {}
    if prefetch:
        prefetch[random.choice(sorted(prefetch))] = FAILED


def _orders(body: Json) -> list[Json]:
    return [e.get("resource") for e in body["context"].get("draftOrders", {}).get("entry", ())]


def _word(body: Json, random: Random) -> None:
    for order in random.sample(_orders(body), k=min(1, len(_orders(body)))):
        code = order.get("code") or {}
        text = random.choice(("rhBMP-2 on a sponge", "possibly marrow aspirate", "donor bone C5-C6", "bone stimulator"))
        order["code"] = {**code, "text": text} if random.random() < 0.5 else {"text": text}


def _bill(body: Json, random: Random) -> None:
    for order in random.sample(_orders(body), k=min(1, len(_orders(body)))):
        codes = random.sample(("20930", "20936", "20939", "20974", "22551"), k=2)
        concepts = [{"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": c}]} for c in codes]
        options = [{"url": BILLING, "valueCodeableConcept": concept} for concept in concepts]
        order["extension"] = [*order.get("extension", ()), *options]


def _break(body: Json, random: Random) -> None:
    for order in random.sample(_orders(body), k=min(1, len(_orders(body)))):
        order[random.choice(("occurrenceDateTime", "authoredOn", "reasonCode", "status", "quantityQuantity"))] = 7


def _modify(body: Json, random: Random) -> None:
    for order in random.sample(_orders(body), k=min(1, len(_orders(body)))):
        order["modifierExtension"] = [{"url": "http://example.org/unknown", "valueBoolean": True}]


def _require(body: Json, _random: Random | None = None) -> None:
    """What the guide demands of orders, and worked cases and charts leave out."""
    for order in filter(lambda o: isinstance(o, dict), _orders(body)):
        order.setdefault("authoredOn", "2026-10-01")
        order.setdefault("requester", {"reference": "Practitioner/p"})


def _quiet(body: Json, random: Random) -> None:
    """What a CRD client may switch off."""
    options = {"max-cards": random.choice((0, 1, 2)), "coverage-info": random.random() < 0.5}
    body["extension"] = {**(body.get("extension") or {}), CONFIGURATION: options}


_TROUBLES = (_drop, _fail, _word, _bill, _break, _modify, _require, _require, _quiet)


# --- answers ----------------------------------------------------------------------------------------


def answers(rows: Iterable[Json]) -> Iterator[Json]:
    """What this checkout says to each request."""
    from cds_service.config import Settings
    from cds_service.errors import RequestError
    from cds_service.hooks import answer as hooks
    from cds_service.hooks.request import validate
    from cds_service.hooks.runtime import Caller, Runtime

    runtime = Runtime.build(Settings(demo=True, public_url="http://127.0.0.1:8140"))
    runtime = replace(runtime, now=lambda: NOW)
    for row in rows:
        service = runtime.services[row["service"]]
        key = {n: row[n] for n in ("name", "service", "guide")}
        numbers = count(1)
        own = replace(runtime, new_id=lambda n=numbers: f"00000000-0000-4000-8000-{next(n):012}")
        try:
            raw = orjson.dumps(row["body"])
            request = validate(orjson.loads(raw), service, raw)
            done = hooks.answer(request, service, own, Caller("corpus", crd_version=row["guide"]), live=row["live"])
        except RequestError as error:
            issues = [[i.path, i.code, i.text] for i in error.issues]
            yield {**key, "refused": error.http_status, "issues": issues}
            continue
        told = {
            "response": done.response,
            "determinations": hooks.determinations(done),
            "findings": hooks.findings(done),
            "not_used": hooks.not_used(done),
            "explanations": list(done.explanations.values()),
        }
        yield {**key, **_counted(told)}


def _counted(value: Any) -> Any:
    """Ids made in this call, numbered in the order in which they stand in the answer."""
    known: dict[str, str] = {}
    text = orjson.dumps(value, default=str).decode()
    parts = text.split("00000000-0000-4000-8000-")
    done = [parts[0]]
    for part in parts[1:]:
        done.append(known.setdefault(part[:12], f"id-{len(known) + 1}") + part[12:])
    return orjson.loads("".join(done))


# --- comparison -------------------------------------------------------------------------------------


def compare(old: Path, new: Path) -> int:
    """Print what differs, by field; 1 if anything does."""
    fields: Counter[str] = Counter()
    examples: dict[str, str] = {}
    calls = differ = 0
    with old.open("rb") as before, new.open("rb") as after:
        for was_line, now_line in zip(before, after, strict=True):
            calls += 1
            if was_line == now_line:
                continue
            was, now = orjson.loads(was_line), orjson.loads(now_line)
            differ += 1
            for place, one, other in _differences(was, now, ""):
                kind = "".join("*" if c.isdigit() else c for c in place)
                fields[kind] += 1
                name = f"{was['name']} {was['service']} {was['guide']}"
                examples.setdefault(kind, f"{name}\n      was {str(one)[:300]}\n      now {str(other)[:300]}")
    print(f"{calls} calls, {differ} differ")
    for kind, n in fields.most_common(40):
        print(f"  {n:6} {kind}\n      {examples[kind]}")
    return 1 if differ else 0


def _differences(was: Any, now: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*was, *now)):
            yield from _differences(was.get(name), now.get(name), f"{place}.{name}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for n, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(one, other, f"{place}[{n}]")
    elif was != now:
        yield place, was, now


def _write(rows: Iterable[Json], out: Path) -> None:
    with out.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("requests", "answers", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--synthetic", type=int, default=300)
    parser.add_argument("--seed", type=int, default=16)
    given = parser.parse_args()
    if given.what == "compare":
        return compare(*given.files)
    if given.what == "requests":
        _write(requests(given.synthetic, given.seed), given.files[0])
    else:
        with given.files[0].open("rb") as file:
            _write(answers(orjson.loads(line) for line in file), given.files[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
