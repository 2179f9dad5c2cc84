"""The same function over the same inputs on Apache Spark: policies are broadcast, Spark reads and writes.

Rows are those of the local engine; where they stand in the output is Spark's affair.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from rich.console import Console

from cds_service.errors import ConfigurationError, InputFileError
from cds_service.replay.bulk import SHARED, by_reference, home, resource_of
from cds_service.replay.charts import Chart, Entry, is_signed
from cds_service.replay.inputs import find
from cds_service.replay.judge import Desk, Result, Terms
from cds_service.replay.lines import MAX_DOCUMENT, name_of, unpacked
from cds_service.replay.options import Options, terms_of
from cds_service.replay.outcome import Outcome
from cds_service.replay.places import changes_file, check_apart
from cds_service.replay.problems import Problem, no_orders
from cds_service.replay.progress import watching
from cds_service.replay.unheard import unheard
from cds_service.replay.work import Files, Lines, Work, do

# pyspark is an extra: what it makes is named here, not imported.
RDD: TypeAlias = Any
SparkSession: TypeAlias = Any
Broadcast: TypeAlias = Any
Row = tuple[int, Any]
_LINE, _CHANGE, _COUNTED = range(3)
_GROUP = 64  # documents per piece of work
_COLUMNS = ("file", "line", "event", "order", "code", "policy", "version", "role", "outcome", "prior_authorization")
_NESTED = ("missing", "trace")  # JSON text in their columns


@dataclass
class Found:
    """Inputs as Spark reads them: (name as told, URL)."""

    documents: list[tuple[str, str]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    bulk: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def run(options: Options, console: Console) -> Outcome:
    """Replay the inputs on Spark. Determinations are written to a folder of text files, or as Parquet.

    Raises ConfigurationError without pyspark, or where the output exists.
    """
    _check(options)
    terms = terms_of(options.service, options.cards, options.baseline)
    with _session(options.processes) as spark:
        found = _find(options.paths, options.report, spark)
        rows = spark.sparkContext.union(list(_rows(found, spark, terms)))
        outcome = _written(rows, options, spark)
    outcome.note(found.problems)
    outcome.unheard = unheard(terms.differing, outcome.tally)
    with watching(console, 1) as watch:
        watch.problems(outcome.problems)
    return outcome


def _check(options: Options) -> None:
    try:
        import pyspark  # type: ignore[import-not-found,unused-ignore] # noqa: F401
    except ImportError:
        raise ConfigurationError("--engine spark needs pyspark: pip install 'cds-service[spark]'.") from None
    for path in () if options.out is None else (options.out, changes_file(options.out)):
        if path.exists():
            raise ConfigurationError(f"{path} exists. Spark writes a folder of its own: remove it, or name another.")


@contextmanager
def _session(processes: int) -> Iterator[SparkSession]:
    """The session that spark-submit has made, or a local one with so many threads."""
    from pyspark import SparkConf  # type: ignore[import-not-found,unused-ignore]
    from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = SparkConf().setAppName("cds-service replay")
    if not conf.contains("spark.master"):
        conf.setMaster(f"local[{processes}]")
        for name, value in (("driver.host", "127.0.0.1"), ("driver.bindAddress", "127.0.0.1"), ("ui.enabled", "false")):
            conf.setIfMissing(f"spark.{name}", value)
    spark = SparkSession.builder.config(conf=conf).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


# --- inputs -----------------------------------------------------------------------------------------


def _find(paths: Iterable[str], report: Path | None, spark: SparkSession) -> Found:
    paths = list(paths)
    remote = [p for p in paths if "://" in p]
    near = find(p for p in paths if p not in remote)
    check_apart([report] if report is not None else [], near.files)
    found = Found(problems=near.problems)
    found.documents = [(str(p), _url(p)) for p in near.documents]
    found.lines = [(name_of(p), _url(p)) for p in near.lines]
    found.bulk = {name_of(f): [(name_of(p), _url(p)) for p in files] for f, files in near.bulk.items()}
    for path in remote:
        _find_remote(path, spark, found)
    if not (found.documents or found.lines or found.bulk or found.problems):
        raise InputFileError("there is nothing to replay: no .json, .ndjson or .jsonl file (or .gz of these).")
    return found


def _url(path: Path) -> str:
    return path.resolve().as_uri()


def _find_remote(path: str, spark: SparkSession, found: Found) -> None:
    """Files that only Spark can read: by their names, and NDJSON by its first line."""
    listed = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path).select("path")
    for url in sorted(row.path for row in listed.collect()):
        ending = Path(url.lower().removesuffix(".gz")).suffix
        if ending == ".json":
            found.documents.append((url, url))
        elif ending in (".ndjson", ".jsonl"):
            _sort_remote(url, spark, found)


def _sort_remote(url: str, spark: SparkSession, found: Found) -> None:
    for line in spark.sparkContext.textFile(url).take(1):
        try:
            kind = resource_of(line.encode())["resourceType"]
        except ValueError:
            kind = "Bundle"
        if kind == "Bundle":
            found.lines.append((url, url))
        else:
            found.bulk.setdefault(url.rpartition("/")[0], []).append((url, url))


# --- work -------------------------------------------------------------------------------------------


def _rows(found: Found, spark: SparkSession, terms: Terms) -> Iterator[RDD]:
    context = spark.sparkContext
    policies = context.broadcast(terms)
    near = [Path(name) for name, url in found.documents if name != url]
    if near:
        pieces = [Files(tuple(near[at : at + _GROUP]), 0) for at in range(0, len(near), _GROUP)]
        yield context.parallelize(pieces, len(pieces)).mapPartitions(lambda some: _done(some, policies))
    for name, url in ((n, u) for n, u in found.documents if n == u):
        yield context.binaryFiles(url).mapPartitions(lambda some, n=name: _done(_whole(some, n), policies))
    for name, url in found.lines:
        numbered = context.textFile(url, use_unicode=False).zipWithIndex()
        yield numbered.mapPartitions(lambda some, n=name: _done(_grouped(some, n), policies))
    for folder, files in sorted(found.bulk.items()):
        yield from _export(folder, sorted(files), spark, policies)


@lru_cache(maxsize=1)
def _desk(terms: Terms) -> Desk:
    """One per Python process of an executor."""
    return Desk(terms)


def _done(pieces: Iterable[Work], policies: Broadcast) -> Iterator[Row]:
    desk = _desk(policies.value)
    for piece in pieces:
        yield from _told(do(desk, piece))


def _told(result: Result) -> Iterator[Row]:
    for kind, data in ((_LINE, result.lines), (_CHANGE, result.changes)):
        yield from ((kind, line) for line in bytes(data).splitlines())
    yield _COUNTED, Result(tally=result.tally, problems=result.problems, examples=result.examples)


def _grouped(numbered: Iterable[tuple[Any, int]], name: str) -> Iterator[Work]:
    lines = ((n + 1, _within(bytes(line).strip())) for line, n in numbered)
    told = ((n, line) for n, line in lines if line)
    while group := tuple(islice(told, _GROUP)):
        yield Lines(name, group, 0)


def _within(line: bytes) -> bytes | str:
    return line if len(line) <= MAX_DOCUMENT else f"is longer than {MAX_DOCUMENT >> 20} MiB"


def _whole(files: Iterable[tuple[str, bytes]], name: str) -> Iterator[Work]:
    for _, data in files:
        yield Lines(name, ((None, _within(unpacked(data))),), 0)


def _export(folder: str, files: list[tuple[str, str]], spark: SparkSession, policies: Any) -> Iterator[RDD]:
    """Resources of an export, brought together by patient."""
    context = spark.sparkContext
    read = [
        context.textFile(url, use_unicode=False).zipWithIndex().flatMap(lambda one, f=(at, name): _sorted(one, *f))
        for at, (name, url) in enumerate(files)
    ]
    resources = context.union(read).persist(_disk())
    common = context.broadcast(
        by_reference(resource_of(line) for _, (_, _, line) in resources.filter(lambda r: r[0] == SHARED).collect())
    )
    yield resources.filter(lambda r: r[0] == "").map(lambda r: (_COUNTED, r[1]))
    of_patients = resources.filter(lambda r: r[0].startswith("Patient/"))
    if of_patients.filter(lambda r: is_signed(resource_of(r[1][2]))).isEmpty():
        said = no_orders(folder)
        result = Result()
        result.problem(said.file, said.line, said.kind, said.text)
        yield context.parallelize([(_COUNTED, result)], 1)
    charts = of_patients.groupByKey()
    yield charts.mapPartitions(lambda some: _charts(some, folder, common.value, policies))


def _sorted(one: tuple[Any, int], at: int, name: str) -> Iterator[tuple[str, Any]]:
    line, number = bytes(one[0]).strip(), one[1]
    if not line:
        return
    try:
        where = home(resource_of(line))
        if where is not None:
            yield where, (at, number, line)
    except ValueError as error:
        result = Result()
        result.problem(name, number + 1, "faulty", str(error))
        yield "", result


def _charts(
    grouped: Iterable[tuple[str, Iterable[tuple[int, int, bytes]]]],
    folder: str,
    common: dict[str, Entry],
    policies: Broadcast,
) -> Iterator[Row]:
    desk = _desk(policies.value)
    for patient, lines in grouped:
        result = Result()
        entries = [Entry(resource_of(line)) for _, _, line in sorted(lines)]
        desk.chart(Chart(patient.removeprefix("Patient/"), entries, common), folder, None, result)
        yield from _told(result)


# --- output -----------------------------------------------------------------------------------------


def _disk() -> Any:
    from pyspark import StorageLevel  # type: ignore[import-not-found,unused-ignore]

    return StorageLevel.DISK_ONLY


def _written(rows: RDD, options: Options, spark: SparkSession) -> Outcome:
    rows = rows.persist(_disk())
    if options.out is not None:
        _write(rows.filter(lambda r: r[0] == _LINE).map(lambda r: r[1]), options.out, spark)
        if options.baseline is not None:
            changed = rows.filter(lambda r: r[0] == _CHANGE).map(lambda r: r[1].decode())
            changed.saveAsTextFile(_target(changes_file(options.out)))
    outcome = Outcome()
    for _, result in rows.filter(lambda r: r[0] == _COUNTED).toLocalIterator():
        outcome.add(result)
    return outcome


def _target(out: Path) -> str:
    """The output as an URL; a Path of `hdfs://host/x` has lost one slash, `file:/x` needs none."""
    scheme, _, rest = str(out).partition(":/")
    if not rest or len(scheme) < 2 or not scheme.isalnum():
        return _url(out)
    return str(out) if scheme == "file" else f"{scheme}://{rest}"


def _write(lines: RDD, out: Path, spark: SparkSession) -> None:
    if out.suffix != ".parquet":
        lines.map(lambda line: line.decode()).saveAsTextFile(_target(out))
        return
    schema = ", ".join(f"`{name}` {'bigint' if name == 'line' else 'string'}" for name in (*_COLUMNS, *_NESTED))
    spark.createDataFrame(lines.map(_columns), schema).write.parquet(_target(out))


def _columns(line: bytes) -> tuple[Any, ...]:
    entry = orjson.loads(line)
    return (*(entry[name] for name in _COLUMNS), *(orjson.dumps(entry[name]).decode() for name in _NESTED))
