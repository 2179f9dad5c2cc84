"""One replay from start to end: inputs, policies, engine, output, journal."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from rich.console import Console

from cds_service.config import from_environment
from cds_service.content_files import bundled, load_content
from cds_service.errors import ConfigurationError, InputFileError, NotFound
from cds_service.hooks.crd_services import CRD_SERVICES
from cds_service.hooks.services import ADVISORS
from cds_service.policy.compiled import dump, load
from cds_service.replay.bulk import Export, Sorted
from cds_service.replay.inputs import Inputs, find
from cds_service.replay.journal import Journal, State, reopen
from cds_service.replay.judge import EXAMPLES, Result, Terms
from cds_service.replay.local import Engine, engine
from cds_service.replay.problems import Problem
from cds_service.replay.progress import Watch, watching
from cds_service.replay.tally import Tally
from cds_service.replay.work import work

KEPT = 1000  # problems kept for the end and the report


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    paths: tuple[str, ...]
    service: str | None = None
    cards: str | None = None
    baseline: str | None = None
    out: Path | None = None
    resume: bool = False
    processes: int = 1


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

    def note(self, found: list[Problem]) -> None:
        """Add problems that no piece of work has counted."""
        self.problems += found[: KEPT - len(self.problems)]
        self.tally.problems.update([p.kind for p in found])

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

    An interrupted run (KeyboardInterrupt) leaves its journal, so that `resume` goes on where it stopped.
    """
    inputs = find(options.paths)
    if not inputs.files and not inputs.problems:
        raise InputFileError("there is nothing to replay: no .json, .ndjson or .jsonl file (or .gz of these).")
    terms = terms_of(options.service, options.cards, options.baseline)
    with ExitStack() as stack:
        output = stack.enter_context(_output(options, terms, inputs))
        terms = replace(terms, received=datetime.fromisoformat(output.state.identity["received"]))
        place = stack.enter_context(_place(output.path, output.resumed))
        if output.state.finished:
            return output.outcome
        watch = stack.enter_context(watching(console, inputs.size))
        run_by = stack.enter_context(engine(terms, options.processes))
        _run(inputs, run_by, output, watch, place)
        return output.outcome


def _run(inputs: Inputs, by: Engine, output: Output, watch: Watch, place: Path) -> None:
    exports = [Export.plan(f, files, place / f"{n:03}") for n, (f, files) in enumerate(sorted(inputs.bulk.items()))]
    found = inputs.problems + _sorted(exports, by, watch, place)
    if not output.resumed:
        output.outcome.note(found)
        watch.problems(found)
        output.begin()
    for result in by.judge(islice(work(inputs, exports), output.state.done, None)):
        output.write(result)
        watch.problems(result.problems)
        watch.advance(result.weight, result.tally.orders)
    output.finish()


def _sorted(exports: list[Export], by: Engine, watch: Watch, place: Path) -> list[Problem]:
    """Sort the exports by patient, unless an interrupted run has done so."""
    if not exports:
        return []
    marker = place / "sorted.json"
    if marker.exists():
        return [Problem(*p) for p in orjson.loads(marker.read_bytes())]
    pieces = [piece for export in exports for piece in export.pieces()]
    problems: list[Problem] = []
    for number, sorted_ in enumerate(by.sort(pieces), 1):
        _numbered(sorted_, problems)
        watch.sorting(number, len(pieces))
    marker.write_bytes(orjson.dumps([[p.file, p.line, p.kind, p.text] for p in problems]))
    return problems


def _numbered(sorted_: Sorted, problems: list[Problem]) -> None:
    problems += sorted_.problems[: KEPT - len(problems)]


@contextmanager
def _place(out: Path | None, resumed: bool) -> Iterator[Path]:
    """Where exports are sorted: beside the output, so that a resumed run finds them, or a temporary folder."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="cds-replay-") as folder:
            yield Path(folder)
        return
    place = out.with_name(out.name + ".parts")
    if not resumed:
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    yield place
    shutil.rmtree(place)


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

    def begin(self) -> None:
        """From here on a run can be resumed."""
        self._vouch(now=True)

    def finish(self) -> None:
        """Everything is written."""
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


def changes_file(out: Path) -> Path:
    """Where the changes against a baseline are listed: beside the determinations."""
    return out.with_name(f"{out.name.removesuffix('.ndjson')}.changes.ndjson")


@contextmanager
def _output(options: Options, terms: Terms, inputs: Inputs) -> Iterator[Output]:
    identity = {
        "version": version("cds-service"),
        "inputs": inputs.fingerprint(),
        "cards": _revision(terms.cards),
        "baseline": _revision(terms.baseline) if terms.baseline is not None else "",
        "service": terms.service or "",
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
    if options.out is None:
        return Output({}, None, State(identity), None)
    if str(options.out) == "-":
        return Output({"lines": sys.stdout.buffer}, None, State(identity), None)
    journal = Journal(options.out)
    paths = {"lines": options.out}
    if options.baseline is not None:
        paths["changes"] = changes_file(options.out)
    state = journal.read() if options.resume else None
    if state is None:
        if options.resume and options.out.exists():
            raise InputFileError(
                f"{options.out} has no journal, so nothing is known of its run. Start again without --resume."
            )
        files = {name: stack.enter_context(_created(path)) for name, path in paths.items()}
        return Output(files, journal, State(identity), options.out)
    _same_run(state.identity, identity)
    files = {n: stack.enter_context(reopen(path, state.lengths[n])) for n, path in paths.items()}
    return Output(files, journal, state, options.out)


def _created(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error


def _same_run(was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Going on is only right with the same inputs and policies."""
    words = {"version": "this program", "inputs": "the inputs", "cards": "the policies",
             "baseline": "the baseline", "service": "the service"}  # fmt: skip
    changed = [words[name] for name in words if was.get(name) != now[name]]
    if changed:
        verb = "have" if len(changed) > 1 or changed[0].endswith("s") else "has"
        raise InputFileError(f"{' and '.join(changed)} {verb} changed since. Start again without --resume.")
