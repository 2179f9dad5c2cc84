"""One replay from start to end: inputs, policies, engine, output, journal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console

from cds_service.config import from_environment
from cds_service.content_files import bundled, load_content
from cds_service.errors import InputFileError, NotFound
from cds_service.hooks.crd_services import CRD_SERVICES
from cds_service.hooks.services import ADVISORS
from cds_service.policy.compiled import dump, load
from cds_service.replay.bulk import Export, Sorted
from cds_service.replay.inputs import Inputs, find
from cds_service.replay.journal import Journal, State, create, reopen
from cds_service.replay.judge import EXAMPLES, Result, Terms
from cds_service.replay.local import Engine, engine
from cds_service.replay.output import changes_file, check_apart, check_outside, parts, parts_folder, written
from cds_service.replay.problems import KEPT, Problem
from cds_service.replay.progress import Watch, watching
from cds_service.replay.tally import Tally
from cds_service.replay.work import work

# Settings that decide what an event gets; in a replay all policies fire, for all payers.
_DECIDING = ("default_payer", "services")


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    paths: tuple[str, ...]
    service: str | None = None
    cards: str | None = None
    baseline: str | None = None
    out: Path | None = None
    report: Path | None = None
    resume: bool = False
    processes: int = 1

    @property
    def journal(self) -> Journal | None:
        """The journal beside the output; None where the output is no file."""
        return None if self.out is None or str(self.out) == "-" else Journal(self.out)


@dataclass
class Outcome:
    """What a run came to."""

    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add what one piece of work came to."""
        self.tally.add(result.tally)
        self.problems += result.problems[: KEPT - len(self.problems)]
        self.examples += result.examples[: EXAMPLES - len(self.examples)]

    def note(self, found: list[Problem], more: int = 0) -> None:
        """Add problems that no piece of work has counted, and how many `more` were faulty."""
        self.problems += found[: KEPT - len(self.problems)]
        self.tally.problems.update([p.kind for p in found])
        if more:
            self.tally.problems["faulty"] += more

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the journal."""
        problems = [[p.file, p.line, p.kind, p.text] for p in self.problems]
        return {"tally": self.tally.to_json(), "problems": problems, "examples": self.examples}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Outcome:
        """The outcome so far, as the journal tells of it."""
        problems = [Problem(*p) for p in plain["problems"]]
        return cls(Tally.from_json(plain["tally"]), problems, list(plain["examples"]))


def terms_of(service: str | None, cards: str | None, baseline: str | None) -> Terms:
    """The policies and the service to judge by. Policies that are not approved fire, as in `evaluate`."""
    known = {s.id for s in (*ADVISORS, *CRD_SERVICES)}
    if service is not None and service not in known:
        raise NotFound(f"There is no service '{service}'. Offered: {', '.join(sorted(known))}.")
    settings = from_environment(demo=True, cards=cards)
    compiled = _compiled(settings.cards)
    before = _compiled(baseline) if baseline is not None else None
    return Terms(compiled, datetime.now(UTC), settings, before, service)


def _compiled(cards: str) -> bytes:
    path = Path(cards) if cards else bundled("cards")
    if path.is_file():
        compiled = path.read_bytes()
        load(compiled, str(path))  # raises ContentError with this path, before the run begins
        return compiled
    return dump(load_content(path))


def run(options: Options, console: Console) -> Outcome:
    """Replay the inputs; progress and problems go to the console. Raises InputFileError or content faults.

    An interrupted run (KeyboardInterrupt) leaves its journal, so that `resume` goes on where it stopped; so does one
    that ends with an OSError, because the output could not be written.
    """
    inputs = find(options.paths)
    if not inputs.files and not inputs.problems:
        raise InputFileError("there is nothing to replay: no .json, .ndjson or .jsonl file (or .gz of these).")
    _check_places(options, inputs)
    terms = terms_of(options.service, options.cards, options.baseline)
    with ExitStack() as stack:
        output = stack.enter_context(_output(options, terms, inputs))
        terms = replace(terms, received=datetime.fromisoformat(output.state.identity["received"]))
        place = stack.enter_context(parts(output.path, output.resumed))
        if output.state.finished:
            return output.outcome
        watch = stack.enter_context(watching(console, inputs.size))
        run_by = stack.enter_context(engine(terms, options.processes))
        _run(inputs, run_by, output, watch, place)
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


def no_orders(export: str) -> Problem:
    """What is said of an export from which no event can be made."""
    return Problem(export, None, "skipped", "an export that holds no orders")


# --- output -----------------------------------------------------------------------------------------


class Output:
    """The output files and the journal that vouches for them."""

    def __init__(self, files: dict[str, BinaryIO], journal: Journal | None, state: State, path: Path | None) -> None:
        self._files, self._journal, self.path = files, journal, path
        self.state, self.resumed = state, bool(state.counted)
        self.outcome = Outcome.from_json(state.counted) if state.counted else Outcome()

    def write(self, result: Result) -> None:
        """Write the lines of one piece of work, and count it."""
        for name, data in (("lines", result.lines), ("changes", result.changes)):
            if name in self._files:
                self._files[name].write(data)
        self.outcome.add(result)
        self.state.done += 1
        self._vouch()

    def note(self, done: Sorted, watch: Watch) -> None:
        """Count and tell what was found before the work begins."""
        self.outcome.note(done.problems, done.more)
        watch.problems(done.problems, done.more)

    def begin(self) -> None:
        """From here on a run can be resumed."""
        self._vouch(now=True)

    def finish(self) -> None:
        """Everything is written."""
        for file in self._files.values():
            file.flush()
        self.state.finished = True
        self._vouch(now=True)

    def _vouch(self, *, now: bool = False) -> None:
        if self._journal is not None and (now or self._journal.due):
            self.state.counted = self.outcome.to_json()
            self._journal.write(self.state, self._files)

    def interrupted(self) -> None:
        """Vouch for what is there, so that nothing is done twice."""
        if self.state.counted:
            self._vouch(now=True)


def _check_places(options: Options, inputs: Inputs) -> None:
    """Refuse, before anything is written, to write over what is read or is not ours."""
    outputs = written(options.out, options.report, options.baseline is not None)
    check_apart(outputs, [*inputs.files, *_policy_files(options)])
    if options.journal is not None and options.out is not None:
        check_outside(options.out, options.paths)
        parts_folder(options.out)


def _policy_files(options: Options) -> Iterator[Path]:
    for path in (Path(cards) for cards in (options.cards, options.baseline) if cards):
        yield from (f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path] if path.exists() else []


@contextmanager
def _output(options: Options, terms: Terms, inputs: Inputs) -> Iterator[Output]:
    identity = {
        "version": version("cds-service"),
        "inputs": inputs.fingerprint(),
        "cards": _revision(terms.cards),
        "baseline": _revision(terms.baseline) if terms.baseline is not None else "",
        "service": terms.service or "",
        "settings": [getattr(terms.settings, name) for name in _DECIDING],
        "received": terms.received.isoformat(),
    }
    with ExitStack() as stack:
        output = _opened(options, identity, stack)
        try:
            yield output
        except KeyboardInterrupt:
            output.interrupted()
            raise


def _revision(compiled: bytes) -> str:
    """The hash in the first line of a compiled file."""
    return compiled.partition(b"\n")[0].decode("ascii", "replace")[-64:]


def _opened(options: Options, identity: dict[str, Any], stack: ExitStack) -> Output:
    journal = options.journal
    if options.out is None or journal is None:
        return Output({"lines": sys.stdout.buffer} if options.out else {}, None, State(identity), None)
    paths = {"lines": options.out}
    if options.baseline is not None:
        paths["changes"] = changes_file(options.out)
    state = journal.read() if options.resume else None
    if state is None:
        if options.resume and options.out.exists():
            raise InputFileError(
                f"{options.out} has no journal, so nothing is known of its run. Start again without --resume."
            )
        files = {name: stack.enter_context(create(path)) for name, path in paths.items()}
        journal.clear()
        for file in files.values():
            file.truncate(0)
        return Output(files, journal, State(identity), options.out)
    _same_run(state.identity, identity)
    try:
        files = {n: stack.enter_context(reopen(path, state.lengths[n])) for n, path in paths.items()}
        return Output(files, journal, state, options.out)
    except (KeyError, TypeError, ValueError) as error:
        raise journal.foreign() from error


def _same_run(was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Going on is only right with the same inputs and policies."""
    words = {"version": "this program", "inputs": "the inputs", "cards": "the policies",
             "baseline": "the baseline", "service": "the service",
             "settings": "CDS_DEFAULT_PAYER or CDS_SERVICES"}  # fmt: skip
    changed = [words[name] for name in words if was.get(name) != now[name]]
    if changed:
        verb = "have" if len(changed) > 1 or changed[0].endswith("s") else "has"
        raise InputFileError(f"{' and '.join(changed)} {verb} changed since. Start again without --resume.")
