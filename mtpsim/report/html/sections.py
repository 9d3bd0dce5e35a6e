"""What stands on the page of a result: sections with sentences, tables and pictures.

The sentences and rows are those of the terminal; here they are put in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.formatting import greatest_depth, point_label
from mtpsim.report.html.svg import Picture
from mtpsim.report.tables import policies
from mtpsim.report.tables import request_text as requests
from mtpsim.report.tables import uncertainty as uncertain_table
from mtpsim.report.tables.batch_text import batch_sentences, group_label, sweep_heading
from mtpsim.report.tables.break_even_text import margins
from mtpsim.report.tables.definitions import (
    SWEEP_SENTENCE,
    definitions,
    depths_of,
    findings,
    sweep_trial_sheet,
    trial_sentence,
    trial_sheet,
)
from mtpsim.report.tables.dependence import dependence_sheet, rates_sheet
from mtpsim.report.tables.result import (
    MOST_TABLES,
    depth_sheet,
    judged_together,
    sample_sentence,
    summary_sheet,
    undecided_sentence,
    warnings_of_points,
)
from mtpsim.report.tables.table_model import Column, Row, Sheet

LAYOUT = (
    *("speedup±", "advice", "verdict", "speedup.theory", "speedup.exact"),
    *("gain±", "break-even", "length±", "time±"),
)
"""What decides stands first: a narrow window shows the columns on the left."""
MAIN = ("speedup", "marginal", "accepted", "theory", "latency")
TRIAL = "Had you plugged in other rates"
Pictures = Mapping[str, Picture]


@dataclass(frozen=True)
class Table:
    """A table with what it is called."""

    caption: str
    sheet: Sheet


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order in which its fields are shown.

    Attributes:
        key: unique among its neighbours, fit for an id.
        heading: its title.
        lead: sentences that stand out.
        text: others.
        tables: with their captions.
        notes: sentences on how to read the tables.
        pictures: figures.
        inner: sections that are folded until they are wanted.

    """

    key: str
    heading: str
    lead: Sequence[str] = ()
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    inner: Sequence[Section] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        parts = self.lead, self.text, self.tables, self.notes, self.pictures, self.inner
        return not any(parts)


def sections(result: ResultDocument, pictures: Pictures) -> list[Section]:
    """Everything that the document has to say, the most wanted first."""
    points = result["points"]
    some = {name: pictures[name] for name in MAIN if name in pictures}
    shown = Section("pictures", "Pictures", pictures=list(some.values()))
    if len(points) == 1:
        first, *rest = point_sections(result, points[0], pictures)
        trial = [s for s in rest if s.key == "trial"]
        found = [_advice(points[0]), first, *trial, shown]
        found += [section for section in rest if section.key != "trial"]
    else:
        found = [*_sweep(result), shown, *_over_points(result, pictures)]
    return [section for section in [*found, _warnings(result)] if not section.empty]


def _advice(point: PointResult) -> Section:
    advice = point.get("advice") or {}
    lead = [advice["sentence"]] if advice.get("sentence") else []
    why = [f"Why: {advice['why']}."] if advice.get("why") else []
    why = [text.replace("..", ".") for text in why]
    return Section("advice", "Advice", lead, [*why, *margins(point)])


def point_sections(
    result: ResultDocument, point: PointResult, pictures: Pictures | None = None
) -> list[Section]:
    """What a point has: its depths first, then the rest."""
    drawn = pictures or {}
    table = Table("Depths, the one to run marked", depth_sheet(point, LAYOUT))
    after = [text for text in [undecided_sentence(point)] if text]
    sample = [sample_sentence(result, point) + "."]
    return [
        Section("depths", "Depth by depth", text=sample, tables=[table], notes=after),
        _trial(point),
        *_adaptive(point, drawn),
        *_uncertain(point, drawn),
        _robust(point),
        _requests(point, drawn),
        _diagnostics(point, drawn),
        _variance(point),
    ]


def _some(drawn: Pictures, *names: str) -> list[Picture]:
    return [drawn[name] for name in names if name in drawn]


def _trial(point: PointResult) -> Section:
    trial = point.get("trial")
    if not trial:
        return Section("trial", TRIAL)
    table = Table("Error of the predicted speedup, %", trial_sheet(trial, depths_of(trial)))
    return Section("trial", TRIAL, text=[trial_sentence(trial)], tables=[table])


def _adaptive(point: PointResult, drawn: Pictures) -> list[Section]:
    adaptive = point.get("adaptive")
    if not adaptive:
        return []
    table = Table("Policies", policies.policy_sheet(adaptive, policies.LAYOUTS[0]))
    lead, notes = [policies.verdict(adaptive)], [policies.reading(adaptive)]
    shown = _some(drawn, "policies", "timeline", "learning")
    return [
        Section("policies", "Adaptive depth", lead, tables=[table], notes=notes, pictures=shown)
    ]


def _uncertain(point: PointResult, drawn: Pictures) -> list[Section]:
    found = point.get("uncertainty")
    if not found:
        return []
    tables = [
        Table("Depths over uncertain inputs", uncertain_table.uncertain_sheet(found)),
        Table("Inputs, by what it is worth to know them", uncertain_table.input_sheet(found)),
    ]
    lead = [uncertain_table.uncertain_sentence(found)]
    notes = [uncertain_table.worth_sentence(found)]
    shown = _some(drawn, "uncertainty")
    return [
        Section("uncertainty", "Uncertain inputs", lead, tables=tables, notes=notes, pictures=shown)
    ]


def _robust(point: PointResult) -> Section:
    declared, heading = point.get("robust"), "Declared scenarios"
    if not declared:
        return Section("robust", heading)
    table = Table("Each depth in its worst scenario", uncertain_table.robust_sheet(declared))
    return Section("robust", heading, [uncertain_table.robust_sentence(declared)], tables=[table])


def _requests(point: PointResult, drawn: Pictures) -> Section:
    heading = "Single requests"
    if not all(depth.get("request_time") for depth in point["depths"]):
        return Section("requests", heading)
    tables = [Table("Quantiles of requests by depth", requests.tail_sheet(point))]
    played: Any = point.get("adaptive") or {"policies": []}
    if any(policy.get("request_time") for policy in played["policies"]):
        tables.append(Table("Quantiles by policy", requests.policy_tail_sheet(played)))
    told = [requests.tail_sentence(point), requests.policy_tail_sentence(point)]
    told.append(requests.length_sentence(point))
    text = [sentence for sentence in told if sentence]
    return Section("requests", heading, text=text, tables=tables, pictures=_some(drawn, "requests"))


def _diagnostics(point: PointResult, drawn: Pictures) -> Section:
    found, heading = point.get("diagnostics"), "How rounds depend on each other"
    if not found:
        return Section("diagnostics", heading)
    tables = [
        Table("Dependence of rounds", dependence_sheet(found)),
        Table("Conditional rates, by the depth they are measured at", rates_sheet(found)),
    ]
    tables = [table for table in tables if table.sheet.rows]
    shown = _some(drawn, "dependence")
    return Section("diagnostics", heading, text=findings(point), tables=tables, pictures=shown)


def _variance(point: PointResult) -> Section:
    found, heading = point.get("variance"), "How the simulation saved rounds"
    sentence = requests.variance_sentence(point)
    if not found or not sentence:
        return Section("variance", heading)
    table = Table("Rounds saved, by step of depth", requests.variance_sheet(found))
    return Section("variance", heading, text=[sentence], tables=[table])


def _sweep(result: ResultDocument) -> list[Section]:
    """What stands above the pictures of a sweep: advice, all points, the theory at each."""
    advice = Section("advice", "Advice", [f"{sweep_heading(result)}."], batch_sentences(result))
    total = len(result["points"])
    table = Table("Best depth of every point", _with_advice(result))
    notes = [judged_together(result)]
    every = Section("points", f"All {total:,} points", tables=[table], notes=notes)
    shown = definitions(result)
    if not shown:
        return [advice, every]
    trial = Table("Error of the predicted speedup, %", sweep_trial_sheet(result, shown))
    text = [f"{SWEEP_SENTENCE}."]
    return [advice, every, Section("trial", TRIAL, text=text, tables=[trial])]


def _with_advice(result: ResultDocument) -> Sheet:
    """The summary of a sweep, and the advice of each point in words."""
    sheet = summary_sheet(result, "±")
    told = [(point.get("advice") or {}).get("sentence") or "" for point in result["points"]]
    rows = [Row([*row.cells, text]) for row, text in zip(sheet.rows, told, strict=True)]
    return Sheet([*sheet.columns, Column("advice", left=True, folds=True)], rows)


def _over_points(result: ResultDocument, drawn: Pictures) -> list[Section]:
    """What stands below the pictures of a sweep."""
    found = [_batches(result, drawn)]
    if any(point.get("adaptive") for point in result["points"]):
        table = Table("Adapting, point by point", policies.sweep_policy_sheet(result))
        shown = _some(drawn, "policies", "timeline", "learning")
        found.append(Section("policies", "Adaptive depth", tables=[table], pictures=shown))
    for key, name, heading in (
        ("uncertainty", "uncertainty", "Uncertain inputs"),
        ("requests", "requests", "Single requests"),
        ("diagnostics", "dependence", "How rounds depend on each other"),
    ):
        found.append(Section(key, heading, pictures=_some(drawn, name)))
    return [*found, _each_point(result)]


def _batches(result: ResultDocument, drawn: Pictures) -> Section:
    groups = result.get("by_batch") or []
    tables = []
    for group in groups:
        label = group_label(group)
        rows = []
        for entry in group["schedule"]:
            depth = f"depth {entry['depth']}" if entry["depth"] else "off"
            rows.append(Row([f"{entry['from']:,}", f"{entry['to']:,}", depth]))
        columns = [Column("from batch"), Column("to batch"), Column("run", left=True)]
        tables.append(Table(f"By batch{', ' * bool(label)}{label}", Sheet(columns, rows)))
    text = batch_sentences(result)
    return Section("batches", "By batch", text=text, tables=tables, pictures=_some(drawn, "batch"))


def _each_point(result: ResultDocument) -> Section:
    points, heading = result["points"], "Point by point"
    if len(points) > MOST_TABLES:
        text = f"More than {MOST_TABLES} points: result.csv has the numbers of each depth."
        return Section("each", heading, text=[text])
    inner = []
    for number, point in enumerate(points):
        parts = [s for s in [_advice(point), *point_sections(result, point)] if not s.empty]
        label = point_label(result, point) or f"point {number + 1}"
        inner.append(Section(f"point-{number + 1}", label, inner=parts))
    depths = sorted({greatest_depth(point) for point in points})
    reach = " or ".join(map(str, depths[:3]))
    return Section("each", heading, text=[f"Depths 0 to {reach} at each point."], inner=inner)


def _warnings(result: ResultDocument) -> Section:
    found = list(result.get("warnings") or [])
    found += [f"failed: {text}" for text in result.get("failures") or []]
    if result.get("complete") is False:
        found.append("the run was interrupted before it was complete")
    points = result["points"]
    found += warnings_of_points(result) if len(points) > 1 else points[0].get("warnings") or []
    return Section("warnings", "Warnings", text=found)
