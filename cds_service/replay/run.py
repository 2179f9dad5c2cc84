"""One replay from start to end: inputs, policies, engine, output, journal."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from rich.console import Console

from cds_service.errors import InputFileError
from cds_service.replay.bulk import Export, Sorted
from cds_service.replay.inputs import Inputs, find
from cds_service.replay.local import Engine, engine
from cds_service.replay.options import Options, terms_of
from cds_service.replay.outcome import Outcome
from cds_service.replay.output import Output, output_of
from cds_service.replay.places import check_places, parts
from cds_service.replay.problems import no_orders
from cds_service.replay.progress import Watch, watching
from cds_service.replay.unheard import unheard
from cds_service.replay.work import work


def run(options: Options, console: Console) -> Outcome:
    """Replay the inputs; progress and problems go to the console. Raises InputFileError or content faults.

    An interrupted run (KeyboardInterrupt) leaves its journal, so that `resume` goes on where it stopped; so does one
    that ends with an OSError, because the output could not be written.
    """
    inputs = find(options.paths)
    if not inputs.files and not inputs.problems:
        raise InputFileError("there is nothing to replay: no .json, .ndjson or .jsonl file (or .gz of these).")
    check_places(options, inputs)
    terms = terms_of(options.service, options.cards, options.baseline)
    with ExitStack() as stack:
        output = stack.enter_context(output_of(options, terms, inputs))
        terms = replace(terms, received=datetime.fromisoformat(output.state.identity["received"]))
        place = stack.enter_context(parts(output.path, output.resumed))
        if not output.state.finished:
            watch = stack.enter_context(watching(console, inputs.size))
            run_by = stack.enter_context(engine(terms, options.processes))
            _run(inputs, run_by, output, watch, place)
        output.outcome.unheard = unheard(terms.differing, output.outcome.tally)
        return output.outcome


def _run(inputs: Inputs, by: Engine, output: Output, watch: Watch, place: Path) -> None:
    exports = [Export.plan(f, files, place / f"{n:03}") for n, (f, files) in enumerate(sorted(inputs.bulk.items()))]
    if not output.resumed:
        output.note(Sorted(inputs.problems), watch)
    _sort(exports, by, output, watch, place)
    output.begin()
    for result in by.judge(islice(work(inputs, exports), output.state.done, None)):
        output.write(result)
        watch.problems(result.problems)
        watch.advance(result.weight, result.tally.orders)
    output.finish()


def _sort(exports: list[Export], by: Engine, output: Output, watch: Watch, place: Path) -> None:
    """Sort the exports by patient, unless an interrupted run has done so."""
    marker = place / "sorted"
    if not exports or marker.exists():
        return
    pieces = [piece for export in exports for piece in export.pieces()]
    orders = dict.fromkeys((export.name for export in exports), 0)
    for number, (piece, done) in enumerate(zip(pieces, by.sort(pieces), strict=True), 1):
        orders[piece.export.name] += done.orders
        if not output.resumed:
            output.note(done, watch)
        watch.sorting(number, len(pieces))
    if not output.resumed:
        output.note(Sorted([no_orders(name) for name, count in orders.items() if not count]), watch)
    marker.touch()
