"""Insights: what became of the cards, from the ledger's de-identified counts; a demo has made-up data to show."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Response, render_template, request, url_for

from cds_service.errors import NotFound, RequestError
from cds_service.ledger.insights import Choices, Counts, of_ledger
from cds_service.ledger.metrics import Filters
from cds_service.web.hooks_api import ledger, runtime
from cds_service.web.pages import crd_numbers
from cds_service.web.pages.blueprint import pages
from cds_service.web.pages.charts import HALF, Series, bar, columns
from cds_service.web.pages.sample import sample

Json = dict[str, Any]
PERIODS = {"30": "Last 30 days", "90": "Last 90 days", "365": "Last 365 days", "all": "All time"}
OUTCOMES = (("supported", "c1"), ("not-supported", "c2"), ("needs-information", "c3"), ("not-addressed", "c4"))
TABLES = ("rules", "reasons", "determinations", "missing", "calls", "services", "crd")
SOURCES = {
    "orders": "orders", "active-orders": "active orders", "patient": "patient", "conditions": "problem list",
    "procedures": "procedures", "observations": "observations", "answers": "answer to a questionnaire",
    "coverage": "coverage",
}  # fmt: skip
_BY_DAY = 31


@dataclass(frozen=True)
class Asked:
    """What the page was asked for: `made_up` is true where sample data is shown instead of the ledger."""

    period: str
    filters: Filters
    made_up: bool

    @property
    def by_day(self) -> bool:
        """Short periods are counted by day, long ones by month: rows of years of days take too long to add up."""
        return self.period in ("30", "90")

    @property
    def query(self) -> dict[str, str]:
        """The query string that asks for the same."""
        chosen = {"hook": self.filters.hook, "payer": self.filters.payer, "policy": self.filters.policy}
        kept = {name: value for name, value in chosen.items() if value}
        return {"period": self.period, **kept, "data": "sample" if self.made_up else "ledger"}


@pages.get("/insights")
def insights() -> str:
    """The page; `period`, `hook`, `payer`, `policy` filter, `data` is `ledger` or (in a demo) `sample`."""
    asked = _asked()
    source = _source(asked.made_up)
    offered = source.choices()
    counted, per_service = source.read(asked.filters, days=asked.by_day)
    labels = _payer_labels(offered)
    return render_template(
        "insights.html",
        asked=asked,
        offered=offered,
        periods=PERIODS,
        counted=counted,
        services=per_service,
        crd=_crd(source.crd(asked.filters), labels),
        tiles=_tiles(counted),
        determined=_over_time(counted["determinations_by_day"]),
        calls=_calls(counted["answers"]["by_day"]),
        outcomes=OUTCOMES,
        bar=bar,
        labels=labels,
        rule_words=_rule_words,
        sources=SOURCES,
        titles={name: f.policy.short_title for name, f in runtime().book.rulebook.folders.items()},
        csv=lambda table: f"{url_for('pages.insights_csv', table=table)}?{urlencode(asked.query)}",
        switch=_switch(asked),
    )


@pages.get("/insights/<table>.csv")
def insights_csv(table: str) -> Response:
    """One table as CSV; made-up data says so in its name and in every row."""
    if table not in TABLES:
        raise NotFound("There is no such table.")
    asked = _asked()
    response = Response(
        _csv(_rows(table, asked), "sample" if asked.made_up else "ledger"), content_type="text/csv; charset=utf-8"
    )
    name = f"{'sample-' if asked.made_up else ''}{table}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


# --- what is asked, and where it is read ------------------------------------------------------------


def _asked() -> Asked:
    period = request.args.get("period", "90")
    if period not in PERIODS:
        raise RequestError(f"must be one of {', '.join(PERIODS)}", path="period", code="value")
    since = None if period == "all" else runtime().now().date() - timedelta(days=int(period) - 1)
    hook, payer, policy = (request.args.get(name) or None for name in ("hook", "payer", "policy"))
    return Asked(period, Filters(since=since, hook=hook, payer=payer, policy=policy), _made_up())


def _made_up() -> bool:
    """Sample data only in a demo: where it is asked for, or where the ledger is still empty."""
    if not runtime().settings.demo:
        return False
    wanted = request.args.get("data")
    if wanted in ("sample", "ledger"):
        return wanted == "sample"
    return _source(made_up=False).choices().answers == 0


def _source(made_up: bool) -> Counts:
    if made_up:
        return sample(runtime().book.rulebook, runtime().now().date())
    return of_ledger(ledger())


def _switch(asked: Asked) -> str | None:
    """Address of the other data set, in a demo."""
    if not runtime().settings.demo:
        return None
    query = {"period": asked.period, "data": "ledger" if asked.made_up else "sample"}
    return f"{url_for('pages.insights')}?{urlencode(query)}"


def _payer_labels(offered: Choices) -> dict[str, str]:
    known = runtime().book.rulebook.content.payers
    return {p: known[p].label if p in known else p for p in offered.payers}


# --- numbers to show --------------------------------------------------------------------------------


def _crd(found: Json, labels: Mapping[str, str]) -> Json:
    return {
        "calls": found["calls"],
        "lines": list(crd_numbers.lines(found)),
        "parts": crd_numbers.parts(found, {**labels, "unknown": "Not known"}),
        "heads": crd_numbers.HEADS,
        "outside": crd_numbers.OUTSIDE,
        "percent": crd_numbers.percent,
    }


def _rule_words(policy: str | None, version: str | None, rule: str | None) -> str:
    """Why the rule decides as it does, in the policy's words; its id where they are not known or not the only ones."""
    folder = runtime().book.rulebook.folders.get(policy or "")
    versions = (v for v in folder.policy.versions if v.version == version) if folder else ()
    found = {r.because for v in versions for item in v.orders.values() for r in item.rules if r.id == rule}
    return found.pop() if len(found) == 1 else f"Rule {rule}." if rule else "Several rules."


def _tiles(counted: Json) -> list[tuple[str, str, str]]:
    shown = sum(r["shown"] for r in counted["rules"])
    accepted = sum(r["accepted"] for r in counted["rules"])
    overridden = sum(r["overridden"] for r in counted["rules"])
    latency = counted["latency_ms"]
    return [
        (f"{counted['answers']['total']:,}", "calls answered", ""),
        (f"{counted['cards']['shown']:,}", "cards shown", f"{shown:,} different findings"),
        (_share(accepted, shown), "accepted", f"{accepted:,} findings"),
        (_share(overridden, shown), "overridden", f"{overridden:,} findings"),
        (_ms(latency["p50"]), "median time", f"95% within {_ms(latency['p95'])}"),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def _over_time(rows: Iterable[Json]) -> Json:
    """Determinations of the deciding payer over time, as a chart and as rows of a table."""
    primary = [r for r in rows if r["role"] == "primary"]
    places, labels = _buckets([r["day"] for r in primary])
    counts: dict[str, list[int]] = {name: [0] * len(labels) for name, _ in OUTCOMES}
    for row in primary:
        if row["outcome"] in counts:
            counts[row["outcome"]][places[row["day"]]] += row["count"]
    series = [Series(name.replace("-", " "), tone, counts[name]) for name, tone in OUTCOMES]
    title = "Determinations of the deciding payer, by outcome"
    table = [(label, *(counts[name][i] for name, _ in OUTCOMES)) for i, label in enumerate(labels)]
    return {"chart": columns("determined", title, labels, series), "rows": table, "empty": not labels}


def _calls(rows: Sequence[Json]) -> Json:
    places, labels = _buckets([r["day"] for r in rows])
    values = [0] * len(labels)
    for row in rows:
        values[places[row["day"]]] += row["count"]
    chart = columns("calls", "Calls answered", labels, [Series("calls", "c1", values)], HALF)
    return {"chart": chart, "rows": list(zip(labels, values, strict=True)), "empty": not labels}


def _buckets(periods: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Place of each period, and the labels: days where they are few, weeks (by their Monday), or months."""
    known = sorted(set(periods))
    if any(len(p) == len("2026-02") for p in known):
        return _months(known)
    days = [date.fromisoformat(p) for p in known]
    if not days:
        return {}, []
    single = (days[-1] - days[0]).days <= _BY_DAY
    start = days[0] if single else days[0] - timedelta(days=days[0].weekday())
    width = 1 if single else 7
    count = (days[-1] - start).days // width + 1
    labels = [f"{start + timedelta(days=i * width):%-d %b}" for i in range(count)]
    return {d.isoformat(): (d - start).days // width for d in days}, labels


def _months(periods: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Months from the first to the last; days at the edges belong to theirs."""
    numbers = {p: int(p[:4]) * 12 + int(p[5:7]) - 1 for p in periods}
    first, last = min(numbers.values()), max(numbers.values())
    labels = [f"{date(n // 12, n % 12 + 1, 1):%b %Y}" for n in range(first, last + 1)]
    return {p: n - first for p, n in numbers.items()}, labels


# --- CSV --------------------------------------------------------------------------------------------


def _rows(table: str, asked: Asked) -> Sequence[Json]:
    source = _source(asked.made_up)
    if table == "crd":
        return list(crd_numbers.table(source.crd(asked.filters)))
    counted, per_service = source.read(asked.filters, days=asked.by_day)
    return per_service if table == "services" else list(_table(table, counted))


def _table(name: str, counted: Json) -> Iterator[Json]:
    if name == "rules":
        yield from ({k: v for k, v in r.items() if k != "reasons"} for r in counted["rules"])
    elif name == "reasons":
        for rule in counted["rules"]:
            names = {k: rule[k] for k in ("policy", "version", "rule")}
            yield from ({**names, **reason} for reason in rule["reasons"])
    elif name == "determinations":
        yield from counted["determinations"]
    elif name == "missing":
        yield from counted["missing"]
    else:
        yield from counted["answers"]["by_day"]


def _csv(rows: Sequence[Json], data: str) -> str:
    totals: dict[str, None] = defaultdict(None)
    for row in rows:
        totals.update(dict.fromkeys(row))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["data", *totals])
    writer.writerows([data, *(_cell(row.get(k)) for k in totals)] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Text that a client sent must not start a formula where the file is opened."""
    if isinstance(value, dict):
        value = " ".join(f"{k}: {v}" for k, v in value.items())
    return f"'{value}" if isinstance(value, str) and _starts_formula(value) else value


def _starts_formula(text: str) -> bool:
    """As spreadsheets see it, also in full-width signs and behind what they pass over."""
    seen = unicodedata.normalize("NFKC", text[:64])
    return seen[:1] in ("\t", "\r", "\n") or seen.lstrip()[:1] in ("=", "+", "-", "@")
