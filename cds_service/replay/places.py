"""Where a run writes: never over what it reads, never over what is not its own, one run at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cds_service.errors import ConfigurationError
from cds_service.replay.inputs import Inputs
from cds_service.replay.journal import Journal
from cds_service.replay.options import Options

_MARK = "made-by-cds-replay"  # in a folder of parts: it may be deleted


def check_places(options: Options, inputs: Inputs) -> None:
    """Refuse, before anything is written, to write over what is read or is not ours."""
    outputs = written(options.out, options.report, options.baseline is not None)
    check_apart(outputs, [*inputs.files, *_policy_files(options)])
    if options.journal is not None and options.out is not None:
        check_outside(options.out, options.paths)
        parts_folder(options.out)


def _policy_files(options: Options) -> Iterator[Path]:
    for path in (Path(cards) for cards in (options.cards, options.baseline) if cards):
        yield from (f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path] if path.exists() else []


def changes_file(out: Path) -> Path:
    """Where the changes against a baseline are listed: beside the determinations."""
    return out.with_name(f"{out.name.removesuffix('.ndjson')}.changes.ndjson")


def written(out: Path | None, report: Path | None, compared: bool) -> list[Path]:
    """The files that a run of the local engine writes."""
    files = [report] if report is not None else []
    if out is not None and str(out) != "-":
        journal = Journal(out)
        files += [out, journal.path, journal.fresh, *([changes_file(out)] if compared else [])]
    return files


def check_apart(outputs: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise ConfigurationError where an output is an input under whatever name, is another output, or is no file."""
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise ConfigurationError("two outputs are the same file. Choose another --out or --report.")
    there = {_identity(path): path for path in outputs if path.exists()}
    for path in there.values():
        if not path.is_file():
            raise ConfigurationError(f"{path} must be a regular file; --out - is standard output.")
    if there:
        for path in inputs:
            if (found := there.get(_identity(path))) is not None:
                raise ConfigurationError(f"{found} is read by this run, and would be written over. Choose another.")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def check_report(report: Path) -> None:
    """Raise ConfigurationError where a report cannot be written: better before the work than after it."""
    if not report.parent.is_dir():
        raise ConfigurationError(f"{report} cannot be written: the folder {report.parent} does not exist.")
    if not os.access(report if report.exists() else report.parent, os.W_OK):
        raise ConfigurationError(f"{report} cannot be written: permission denied.")


def check_outside(out: Path, paths: Iterable[str]) -> None:
    """Raise ConfigurationError where the output would be among the inputs of the next run, also one that goes on."""
    if out.suffix.lower() not in (".ndjson", ".jsonl", ".json"):
        return
    for path in map(Path, paths):
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise ConfigurationError(f"{out} lies in {path}, which is replayed: the next run would read it.")


# --- parts ------------------------------------------------------------------------------------------


def parts_folder(out: Path) -> Path:
    """Where exports are sorted: beside the output, so that a resumed run finds them. Raises ConfigurationError."""
    place = out.with_name(out.name + ".parts")
    if place.is_symlink() or (place.exists() and not _is_ours(place)):
        raise ConfigurationError(f"{place} was not made by a replay. Move it away, or choose another --out.")
    return place


def _is_ours(place: Path) -> bool:
    return place.is_dir() and ((place / _MARK).exists() or not any(place.iterdir()))


@contextmanager
def parts(out: Path | None, resumed: bool) -> Iterator[Path]:
    """A folder for the parts of exports; it ends with the run, but not with one that was interrupted."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="cds-replay-") as folder:
            yield Path(folder)
        return
    place = parts_folder(out)
    if not resumed and place.exists():
        shutil.rmtree(place)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)  # charts, as long as the run takes
    (place / _MARK).touch()
    yield place
    shutil.rmtree(place)
