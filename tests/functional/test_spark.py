"""Spark gives what the local engine gives, row for row.

pyspark is an extra. Where the Makefile has installed it (CDS_TEST_SPARK=1) its absence is a failure, not a skip.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.paths import ROOT

from tests.functional.replay_runs import STORIES, bundle_of, clean, command, ndjson, policies, rows, run, told

MISSING = [
    name
    for name, there in (
        ("pyspark (pip install 'cds-service[spark]')", importlib.util.find_spec("pyspark") is not None),
        ("Java 17 (apt-get install openjdk-17-jre-headless)", shutil.which("java") is not None),
    )
    if not there
]


@pytest.fixture(autouse=True)
def _installed() -> None:
    if MISSING:
        told = f"Spark tests need {' and '.join(MISSING)}"
        if os.environ.get("CDS_TEST_SPARK") == "1":
            pytest.fail(told)
        pytest.skip(told)


def on_spark(*words: object, seconds: float = 300, code: int = 0) -> str:
    """A replay on Spark, in a process of its own: a JVM does not end before the process does."""
    done = subprocess.run(command("replay", *words, "--engine", "spark", "--processes", 2), cwd=ROOT, env=clean(),
                          capture_output=True, text=True, timeout=seconds, check=False)  # fmt: skip
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def lines(path: Path) -> list[str]:
    files = sorted(path.glob("part-*")) if path.is_dir() else [path]
    return sorted(line for file in files for line in file.read_text(encoding="utf-8").splitlines())


def test_rows_equal_the_local_engines(tmp_path: Path) -> None:
    """All kinds of input at once, broken ones among them, against a baseline."""
    cards = policies(tmp_path)
    fewer = tmp_path / "fewer"
    shutil.copytree(ROOT / "cards", fewer)
    shutil.rmtree(fewer / "aetna" / "bone-graft-adjuncts")
    made = tmp_path / "in"
    for form in ("bulk", "requests"):
        run("synth", "--patients", 15, "--seed", 13, "--out", made / form, "--format", form)
    orders = made / "bulk" / "ServiceRequest.ndjson"
    orders.write_text("{broken\n" + orders.read_text())
    ndjson(made / "lines.ndjson", bundle_of("cervical-fusion"), "no JSON", {"resourceType": "Patient"})
    (made / "bundle.json").write_text(json.dumps(bundle_of("marrow-only-graft"), indent=1))
    words = (made, STORIES / "cervical-fusion", "--cards", cards, "--baseline", fewer)
    local = run("replay", *words, "--out", tmp_path / "local.ndjson", code=1)
    spark = on_spark(*words, "--out", tmp_path / "spark", code=1)
    assert lines(tmp_path / "spark") == lines(tmp_path / "local.ndjson")
    assert lines(tmp_path / "spark.changes.ndjson") == lines(tmp_path / "local.changes.ndjson")
    assert len(lines(tmp_path / "local.changes.ndjson")) > 0

    def said(text: str) -> set[str]:
        return {line for line in text.splitlines() if line.startswith(str(tmp_path)) or "orders" in line}

    assert said(spark) == said(local.stdout + local.stderr)
    assert len([x for x in said(spark) if ": faulty: " in x]) == 2


def test_an_output_that_exists_is_not_touched(tmp_path: Path) -> None:
    kept = ndjson(tmp_path / "o.ndjson", "kept")
    assert "exists. Spark writes a folder of its own" in on_spark(STORIES, "--out", kept, code=2)
    assert kept.read_text() == "kept\n"


@pytest.mark.verify
def test_rows_equal_the_local_engines_on_100000_orders(tmp_path: Path) -> None:
    cards = policies(tmp_path)
    run("synth", "--patients", 25_500, "--seed", 17, "--out", tmp_path / "in", "--format", "bulk")
    words = (tmp_path / "in", "--cards", cards)
    run("replay", *words, "--out", tmp_path / "local.ndjson", "--processes", 2)
    on_spark(*words, "--out", tmp_path / "spark", seconds=3600)
    assert lines(tmp_path / "spark") == lines(tmp_path / "local.ndjson")
    assert len({(r["event"], r["order"]) for r in rows(tmp_path / "local.ndjson")}) >= 100_000


@pytest.mark.verify
def test_inputs_and_outputs_by_url(tmp_path: Path) -> None:
    """What only Spark can list and read: here file://, elsewhere hdfs:// or s3a://."""
    cards = policies(tmp_path)
    run("synth", "--patients", 10, "--seed", 19, "--out", tmp_path / "in" / "bulk", "--format", "bulk")
    ndjson(tmp_path / "in" / "lines.ndjson", bundle_of("cervical-fusion"))
    packed = gzip.compress(json.dumps(bundle_of("marrow-only-graft")).encode())
    (tmp_path / "in" / "bundle.json.gz").write_bytes(packed)
    run("replay", tmp_path / "in", "--cards", cards, "--out", tmp_path / "local.ndjson")
    on_spark((tmp_path / "in").as_uri(), "--cards", cards, "--out", (tmp_path / "spark").as_uri())
    assert told(tmp_path / "spark") == told(tmp_path / "local.ndjson")


@pytest.mark.verify
def test_parquet_holds_the_same_rows(tmp_path: Path) -> None:
    from pyspark.sql import SparkSession

    words = (STORIES, "--cards", policies(tmp_path))
    run("replay", *words, "--out", tmp_path / "local.ndjson")
    on_spark(*words, "--out", tmp_path / "o.parquet")
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        found = [row.asDict() for row in spark.read.parquet(str(tmp_path / "o.parquet")).collect()]
    finally:
        spark.stop()
    for row in found:
        row["missing"], row["trace"] = json.loads(row["missing"]), json.loads(row["trace"])
    expected = rows(tmp_path / "local.ndjson")
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, expected))
