"""Writes synthetic charts as Bundles, as a Bulk Data export, or as hook requests; one patient at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from cds_service.errors import ConfigurationError
from cds_service.replay.charts import charts_of, events
from cds_service.replay.synth import charts, payers

Json = dict[str, Any]
FOLDER = 1000  # Bundles in one folder
FILE = 20_000  # hook requests in one file
_TYPES = ("Patient", "Coverage", "Encounter", "Condition", "ServiceRequest", "Procedure", "Observation")


def _line(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def bundle(chart: Iterable[Json]) -> Json:
    """A chart as a collection Bundle, with the payers it refers to."""
    resources = list(chart)
    named = {p["reference"] for r in resources for p in r.get("payor", ())}
    resources += [o for o in payers() if f"Organization/{o['id']}" in named]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def write_bundles(found: Iterator[list[Json]], out: Path) -> int:
    """One file per patient, a thousand to a folder."""
    number = 0
    for number, chart in enumerate(found, 1):
        folder = out / f"{(number - 1) // FOLDER:05}"
        if number % FOLDER == 1:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{chart[0]['id']}.json").write_bytes(_line(bundle(chart)))
    return number


def write_bulk(found: Iterator[list[Json]], out: Path) -> int:
    """One NDJSON file per type, as a Bulk Data export has."""
    number = 0
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {
            kind: stack.enter_context((out / f"{kind}.ndjson").open("wb")) for kind in (*_TYPES, "Organization")
        }
        for payer in payers():
            files["Organization"].write(_line(payer))
        for number, chart in enumerate(found, 1):  # noqa: B007
            for resource in chart:
                files[resource["resourceType"]].write(_line(resource))
    return number


def write_requests(found: Iterator[list[Json]], out: Path) -> int:
    """Hook requests, one a line: the events that a replay makes of the charts."""
    number, written = 0, 0
    with ExitStack() as stack:
        file: BinaryIO | None = None
        for number, chart in enumerate(found, 1):  # noqa: B007
            for one in charts_of(bundle(chart))[0]:
                for event in events(one):
                    if file is None or written % FILE == 0:
                        stack.close()
                        file = stack.enter_context((out / f"requests-{written // FILE:05}.ndjson").open("wb"))
                    file.write(_line(event.body))
                    written += 1
    return number


FORMATS: dict[str, Callable[[Iterator[list[Json]], Path], int]] = {
    "bundles": write_bundles,
    "bulk": write_bulk,
    "requests": write_requests,
}


def write(patients: int, seed: int, out: Path, form: str) -> int:
    """Write the charts of `patients` patients below `out`, a folder that is new or empty. Raises ConfigurationError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigurationError(f"{out} is not empty: its files would mix with the new ones. Name another folder.")
        return FORMATS[form](charts(patients, seed), out)
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written: {error.strerror}.") from error
