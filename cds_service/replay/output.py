"""The output of a run, and the journal beside it: new, or those of an interrupted run of the same, to go on with."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from cds_service.errors import InputFileError
from cds_service.replay.bulk import Sorted
from cds_service.replay.inputs import Inputs
from cds_service.replay.journal import Journal, State, create, reopen
from cds_service.replay.judge import Result, Terms
from cds_service.replay.options import Options
from cds_service.replay.outcome import Outcome
from cds_service.replay.places import changes_file
from cds_service.replay.progress import Watch

# Settings that decide what an event gets; in a replay all policies fire, for all payers.
_DECIDING = ("default_payer", "services")


class Output:
    """The output files and the journal that vouches for them."""

    def __init__(self, files: dict[str, BinaryIO], journal: Journal | None, state: State, path: Path | None) -> None:
        self._files, self._journal, self.path = files, journal, path
        self.state, self.resumed = state, bool(state.counted)
        self.outcome = Outcome.from_json(state.counted) if state.counted else Outcome()
        self._whole = True  # what is written is counted

    def write(self, result: Result) -> None:
        """Write the lines of one piece of work, and count it."""
        self._whole = False
        for name, data in (("lines", result.lines), ("changes", result.changes)):
            if name in self._files:
                self._files[name].write(data)
        self.outcome.add(result)
        self.state.done += 1
        self._whole = True
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
        """Vouch for what is there, so that nothing is done twice; not for a piece that is half written or counted.

        Then what the journal said last stands, and going on cuts the output back to it.
        """
        if self.state.counted and self._whole:
            self._vouch(now=True)


@contextmanager
def output_of(options: Options, terms: Terms, inputs: Inputs) -> Iterator[Output]:
    """The output, open until the block ends; an interrupted run vouches for what it has written."""
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
    if state is not None:
        _same_run(state.identity, identity)
        return _reopened(paths, journal, state, stack)
    if options.resume and options.out.exists():
        raise InputFileError(
            f"{options.out} has no journal, so nothing is known of its run. Start again without --resume."
        )
    return _created(paths, journal, State(identity), stack)


def _created(paths: Mapping[str, Path], journal: Journal, state: State, stack: ExitStack) -> Output:
    """New output; files are emptied when the journal of a former run is gone, which vouches for them until then."""
    files = {name: stack.enter_context(create(path)) for name, path in paths.items()}
    journal.clear()
    for file in files.values():
        file.truncate(0)
    return Output(files, journal, state, paths["lines"])


def _reopened(paths: Mapping[str, Path], journal: Journal, state: State, stack: ExitStack) -> Output:
    """The output so far, cut back to what the journal vouches for."""
    try:
        files = {name: stack.enter_context(reopen(path, state.lengths[name])) for name, path in paths.items()}
        return Output(files, journal, state, paths["lines"])
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
