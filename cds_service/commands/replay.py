"""`cds-service replay`: hook requests and charts from files, judged as HTTP would; two policy sets compared."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cds_service.commands.policy_output import reported
from cds_service.errors import (
    CdsServiceError,
    ConfigurationError,
    InputFileError,
    InternalFault,
    Unfinished,
    place_of,
)
from cds_service.policy.content import Faults
from cds_service.replay.options import Options
from cds_service.replay.outcome import Outcome
from cds_service.replay.places import check_report
from cds_service.replay.run import run
from cds_service.replay.summary import show

CHANGED = 1
INTERRUPTED = 130


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--service", metavar="ID", help="Service id; default: the advisor of each request's hook.")
@click.option("--cards", metavar="DIR", help="Folder or compiled file of policies; default: the bundled ones.")
@click.option("--baseline", metavar="DIR", help="Policies to compare with: tells what changes; exit code 1 if any.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", help="What does the work.")
@click.option("--out", metavar="FILE", help="Determinations as NDJSON; - is standard output. Spark: a folder.")
@click.option("--strict", is_flag=True, help="Exit code 11 when anything was not replayed.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run of the same --out.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, help="Processes of the local engine.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="A report with charts, as HTML.")
@reported
def replay(
    paths: tuple[str, ...], out: str | None, engine: str, strict: bool, report: Path | None, **more: Any
) -> None:
    """Replay hook requests (JSON, NDJSON), FHIR Bundles and Bulk Data folders, gzipped or not.

    PATH is a file, a folder or a glob. The orders of a chart become order-sign events per patient, encounter and
    signing day, with the chart as it was known on that day. In a story folder (request.json beside fhir/) only
    request.json is replayed.

    Exit code 14 means that the run could not go on, 15 that this program is at fault; docs/replay.md lists all.
    """
    options = Options(paths, out=Path(out) if out else None, report=report, **more)
    if options.resume and (options.journal is None or engine == "spark"):
        raise ConfigurationError("--resume needs --out FILE and the local engine.")
    if report is not None:
        check_report(report)
    told = Console(stderr=True, highlight=False)
    try:
        outcome = _engine(engine)(options, told)
        show(outcome, options.baseline is not None, told if out == "-" else _console())
        sys.stdout.flush()
        if report is not None:
            _report(report, outcome, options, engine)
    except KeyboardInterrupt:
        told.print(f"Interrupted.{_how_to_go_on(options)}")
        sys.exit(INTERRUPTED)
    except OSError as error:
        _give_up_stdout()
        raise Unfinished(f"the run could not go on: {error.strerror or error}.{_how_to_go_on(options)}") from error
    except Unfinished as error:
        raise Unfinished(f"{error}{_how_to_go_on(options)}") from error
    except (CdsServiceError, Faults):
        raise
    except Exception as error:
        if engine == "spark":  # what failed may be Spark, whose own words nobody else repeats
            traceback.print_exception(error)
        words = f"a fault that nobody foresaw: {place_of(error)}. Please report it.{_how_to_go_on(options)}"
        raise InternalFault(words) from error
    sys.exit(_exit_code(outcome, options.baseline is not None, strict))


def _how_to_go_on(options: Options) -> str:
    journal = options.journal
    return " --resume goes on where it stopped." if journal is not None and journal.path.exists() else ""


def _give_up_stdout() -> None:
    """What is buffered for a standard output that is full cannot be written at Python's end either."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Console:
    """Tables are as wide as the terminal; in a file or a log, wide enough to be read."""
    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=160)


def _engine(name: str) -> Any:
    if name == "local":
        return run
    from cds_service.replay.spark import run as run_on_spark

    return run_on_spark


def _report(path: Path, outcome: Outcome, options: Options, engine: str) -> None:
    from cds_service.replay.report import write

    about = {"Inputs": ", ".join(options.paths), "Policies": options.cards or "bundled", "Engine": engine}
    if options.baseline is not None:
        about["Baseline"] = options.baseline
    write(path, outcome, options.baseline is not None, about)


def _exit_code(outcome: Outcome, compared: bool, strict: bool) -> int:
    if outcome.tally.problems["internal"]:
        return InternalFault.exit_code
    if strict and outcome.tally.problems:
        return InputFileError.exit_code
    return CHANGED if compared and outcome.tally.shifts else 0
