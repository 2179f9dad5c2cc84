"""Commands for policy authors: `cds-service policy new | lint | test | explain | diff | build | ...`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cds_service.commands import policy_attributes, policy_explain, policy_schema, policy_unmapped
from cds_service.commands.policy_cases import report_json, run_policy, show_report
from cds_service.commands.policy_diff import Judged, changes_of, show_changes, silent, versions_of
from cds_service.commands.policy_explain import decided_json, worked_case
from cds_service.commands.policy_lint import lint_folder
from cds_service.commands.policy_new import scaffold
from cds_service.commands.policy_output import console, counted, reported, say_json, show_remarks
from cds_service.commands.policy_requests import Requested, Worked, inputs, request_of
from cds_service.content_files import bundled, load_content, load_rulebook
from cds_service.errors import ContentError, InputFileError, NotFound, RequestError
from cds_service.policy.compiled import dump
from cds_service.policy.content import Content
from cds_service.policy.rulebook import compile_content


class _Day(click.ParamType[date]):
    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """A day, as YYYY-MM-DD."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"'{value}' is not a date. Write it as YYYY-MM-DD.", param, ctx)


DIR = click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
CARDS = click.option(
    "--cards", type=click.Path(path_type=Path), help="Cards folder or compiled file. Default: bundled."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
FILE = click.Path(path_type=Path, exists=True)
TODAY = click.option("--today", type=_Day(), help="The day to reckon from (YYYY-MM-DD). Default: today.")


@click.group("policy")
def policy_group() -> None:
    """Write, check and compare policies."""


@policy_group.command("lint")
@DIR
@click.option("--strict", is_flag=True, help="Exit 1 when there are warnings.")
@TODAY
@JSON
@reported
def lint(folder: Path | None, strict: bool, today: date | None, as_json: bool) -> None:
    """Check all content below DIR (default: the bundled cards): every fault and doubt with its place and cure."""
    remarks = lint_folder(folder or bundled("cards"), today or date.today())
    errors = sum(r.severity == "error" for r in remarks)
    warnings = len(remarks) - errors
    if as_json:
        say_json({"errors": errors, "warnings": warnings, "remarks": [r.to_json() for r in remarks]})
    else:
        show_remarks(remarks, console())
        verdict = "No faults" if not remarks else f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
        console().print(Text(f"{verdict}.", "green" if not remarks else "bold"))
    sys.exit(ContentError.exit_code if errors else 1 if warnings and strict else 0)


@policy_group.command("test")
@DIR
@click.option("--policy", "only", help="Test this policy alone.")
@JSON
@reported
def test(folder: Path | None, only: str | None, as_json: bool) -> None:
    """Run the worked cases beside each policy below DIR (default: the bundled cards).

    Names rules and outcomes that no case reaches.
    """
    content = load_content(folder)
    rulebook = compile_content(content)
    chosen = {i: f for i, f in sorted(content.policies.items()) if only in (None, i)}
    if not chosen:
        raise NotFound(f"there is no policy '{only}'." if only else "there is no policy in this folder.")
    reports = [run_policy(f, rulebook) for f in chosen.values()]
    if as_json:
        say_json([report_json(r) for r in reports])
    else:
        for report in reports:
            show_report(report)
        cases, failed = sum(len(r.cases) for r in reports), sum(r.failed for r in reports)
        ending = f"{counted(failed, 'policy').replace('policys', 'policies')} failed" if failed else "all pass"
        console().print(Text(f"{counted(cases, 'case')}: {ending}.", "red" if failed else "green"))
    sys.exit(1 if any(r.failed for r in reports) else 0)


@policy_group.command("schema")
@DIR
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is out of date.")
@reported
def schema(folder: Path | None, check: bool) -> None:
    """Write the JSON Schemas that editors use for completion into DIR/_schema (default: the bundled cards)."""
    target = (folder or bundled("cards")) / "_schema"
    stale = [n for n, t in policy_schema.schemas().items() if not _same(target / n, t)]
    if not check:
        target.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (target / name).write_text(policy_schema.schemas()[name], encoding="utf-8")
    for name in stale:
        click.echo(f"{'out of date' if check else 'wrote'} {target / name}")
    sys.exit(1 if check and stale else 0)


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


@policy_group.command("list")
@DIR
@JSON
@reported
def list_policies(folder: Path | None, as_json: bool) -> None:
    """List every policy version: days in force, review status, what it speaks to.

    DIR is a cards folder or compiled file. Default: the bundled cards.
    """
    rulebook = load_rulebook(folder)
    rows = [
        {
            "policy": v.policy.id,
            "version": v.version.version,
            "kind": v.policy.kind,
            "from": str(v.version.effective.from_ or ""),
            "to": str(v.version.effective.to or ""),
            "review": v.version.review.status,
            "title": v.policy.short_title,
            "items": list(v.version.orders) or [f.id for f in v.version.findings],
        }
        for v in rulebook.versions
    ]
    if as_json:
        say_json({"revision": rulebook.revision, "policies": rows})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "version", "kind", "from", "to", "review", "title", "items"):
        table.add_column(name)
    for row in rows:
        table.add_row(*(str(len(v)) if isinstance(v, list) else str(v) for v in row.values()))
    console().print(table)


@policy_group.command("new")
@click.argument("policy_id", metavar="PUBLISHER/NAME")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("cards"), show_default=True)
@click.option("--code", default="72148", show_default=True, help="CPT code of the order it speaks to.")
@TODAY
@reported
def new(policy_id: str, folder: Path, code: str, today: date | None) -> None:
    """Start a policy: files that lint and pass, to be rewritten line by line."""
    for path in scaffold(folder, policy_id, code, today or date.today()):
        click.echo(f"wrote {path.as_posix()}")
    click.echo(f"Next: cds-service policy lint {folder.as_posix()}; cds-service policy test {folder.as_posix()}")


@policy_group.command("explain")
@click.argument("request_file", metavar="[REQUEST.json]", required=False, type=FILE)
@click.option("--case", "case_name", metavar="PUBLISHER/NAME:CASE", help="A worked case instead of a request.")
@click.option("--why-not", is_flag=True, help="Only what stands between the case and support.")
@click.option("--service", help="Service id. Default: the advisor of the request's hook.")
@click.option("--as-of", type=_Day(), help="Judge as of this day.")
@CARDS
@JSON
@reported
def explain(
    request_file: Path | None,
    case_name: str | None,
    why_not: bool,
    service: str | None,
    as_of: date | None,
    cards: Path | None,
    as_json: bool,
) -> None:
    """Show, criterion by criterion, why each order of REQUEST.json (or of a worked case) got its outcome."""
    rulebook = load_rulebook(cards)
    source: Worked | Requested
    if request_file is None and case_name is not None:
        source = worked_case(case_name, rulebook)
    elif request_file is not None and case_name is None:
        source = request_of(request_file, service, as_of)
    else:
        raise click.UsageError("Name one REQUEST.json, or one worked case with --case.")
    decision = source.decision(rulebook)
    if as_json:
        say_json([decided_json(d, rulebook.folders, why_not) for d in decision.orders])
        return
    out = console()
    for tree in policy_explain.explain(decision, rulebook.folders, why_not):
        out.print(tree)
    out.print(Text("Decision support, not a coverage decision.", "dim"))


@policy_group.command("diff")
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option(
    "--on", "files", multiple=True, required=True, type=FILE, help="Hook requests, cases.yaml, or folders of them."
)
@click.option("--as-of", type=_Day(), help="Judge all inputs as of this day, such as the first of a new version.")
@JSON
@reported
def diff(old: Path, new: Path, files: tuple[Path, ...], as_of: date | None, as_json: bool) -> None:
    """Show which determinations change from the policies in OLD to those in NEW, and what changed them."""
    before, after = load_rulebook(old), load_rulebook(new)
    folders = {**before.folders, **after.folders}
    items, passed = inputs(files, folders, as_of)
    for name in passed:
        click.echo(f"passed over {name}: no advisor answers its hook.", err=True)
    if not items:
        raise InputFileError("there is no cases.yaml and no request to compare on.")
    changes = []
    judged: set[str] = set()
    for item in items:
        try:
            decision = item.decision(after)
            old_, new_ = Judged(item.decision(before), before.folders), Judged(decision, after.folders)
            changes += changes_of(item.name, old_, new_)
            judged |= versions_of(decision)
        except RequestError as error:
            click.echo(f"passed over {item.name}: {error}", err=True)
    for text in silent(before, after, judged):
        click.echo(f"note: {text}", err=True)
    if as_json:
        say_json([vars(c) for c in changes])
    else:
        show_changes(changes, len(items))


@policy_group.command("build")
@DIR
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@reported
def build(folder: Path | None, out: Path) -> None:
    """Compile DIR into one content-hashed file that loads fast; `--cards FILE` and CDS_CARDS accept it.

    DIR is a cards folder. Default: the bundled cards.
    """
    content = load_content(folder)
    data = dump(content)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise InputFileError(f"{out} cannot be written: {type(error).__name__}.") from error
    number = counted(len(content.policies), "policy").replace("policys", "policies")
    click.echo(f"wrote {out}: {number}, {len(data)} bytes, revision {content.revision}")


@policy_group.command("attributes")
@DIR
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead of JSON.")
@reported
def attributes(folder: Path | None, as_markdown: bool) -> None:
    """Print each policy's source attributes for certification: 45 CFR 170.315(b)(11).

    DIR is a cards folder or compiled file. Default: the bundled cards.
    """
    entries = policy_attributes.attributes(_content(folder))
    if as_markdown:
        click.echo(policy_attributes.markdown(entries), nl=False)
    else:
        say_json(entries)


def _content(folder: Path | None) -> Content:
    return load_rulebook(folder).content


@policy_group.command("unmapped")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--client-table", type=FILE, help="The client's own code table (YAML), as code_map in the clients file.")
@CARDS
@JSON
@reported
def unmapped(files: tuple[Path, ...], client_table: Path | None, cards: Path | None, as_json: bool) -> None:
    """Count the codes in hook requests that nothing maps, most frequent first.

    Codes without a code system are among them, and how many orders are in words only.

    FILES are JSON, NDJSON (one request a line), or folders of them.
    """
    paths = policy_unmapped.files_of(files)
    table = policy_unmapped.client_table(client_table)
    found = policy_unmapped.unmapped(paths, load_rulebook(cards), table)
    rows = sorted(found.items(), key=lambda r: (-r[1], str(r[0][0])))
    if as_json:
        say_json([{"system": c.system, "code": c.code, "resource": kind, "count": n} for (c, kind), n in rows])
        return
    for (code, kind), number in rows:
        click.echo(f"{number:6}  {str(code).strip()}  ({kind})")
    click.echo(f"{counted(len(rows), 'code')} unmapped, in {counted(len(paths), 'file')}.")


if __name__ == "__main__":
    policy_group()
