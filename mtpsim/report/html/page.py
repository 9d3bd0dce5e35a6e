"""A result as one HTML file, which loads nothing from elsewhere.

Sentences and tables are those of the terminal.
"""

from __future__ import annotations

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import to_toml
from mtpsim.report.document import Adaptive, PointResult, ResultDocument, Robust, Uncertainty
from mtpsim.report.engine_flags import (
    EngineFlags,
    drafter_note,
    engine_flags,
    group_flags,
    point_flags,
)
from mtpsim.report.experiment_text import chapters
from mtpsim.report.formatting import (
    advised_depth,
    greatest_depth,
    indifference,
    legible,
    level,
    point_label,
    title,
    tolerance,
    uncertain_choice,
)
from mtpsim.report.html.sections import Section, Table
from mtpsim.report.html.svg import Picture, picture
from mtpsim.report.html.what_if import what_if
from mtpsim.report.tables import diagnostics
from mtpsim.report.tables import result as results
from mtpsim.report.tables.terminal import MARK, Column, Row, TextTable

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

PAGE = "report.html"
LONG = 40
"""A table of more rows scrolls in a box of its own."""
TEMPLATE, STYLE_SHEET, SCRIPT = "page.html.j2", "page.css", "page.js"
FRAGMENT = """\
{% from "parts.html.j2" import body %}
<style>.mtpsim .unseen { display: none } .mtpsim .best { font-weight: bold }</style>
<div class="mtpsim">
{% for part in parts %}{{ body(part, "mtpsim-" ~ part.key, 3) }}{% endfor %}
</div>
"""
PROVENANCE = {
    "seed": "seed",
    "started": "started",
    "seconds": "run time, s",
    "executor": "executor",
    "part": "part of the run",
    "hash": "hash of the experiment",
    "kernels": "hash of the kernels",
    "platform": "platform",
    "python": "Python",
    "numpy": "NumPy",
    "numba": "numba",
    "scipy": "SciPy",
}
LAYOUT = (
    *("objective", "speedup", "step", "verdict", "speedup.theory", "speedup.exact"),
    *("gain", "length", "time"),
)
"""Columns of a depth table, the most important first: a narrow window shows the left ones."""
MAIN = ("speedup", "marginal", "accepted", "theory", "latency")
ON_TOP = ("batch", "policies", "speedup")
"""Pictures that answer the question of a run: the first that there is stands beside the advice."""
DEPENDENCE, DEFINITIONS = "Dependence between rounds", "Definitions of the acceptance rate"
Pictures = Mapping[str, Picture]


def write_page(
    result: ResultDocument, experiment: Experiment, figures: Mapping[str, Figure], folder: Path
) -> Path:
    """Write ``report.html`` into a folder.

    Args:
        result: the result document.
        experiment: the experiment that the result is of.
        figures: of :func:`~.figures.gallery.figures`; their headings become text of the page.
        folder: an existing folder.
    """
    path = folder / PAGE
    path.write_text(render_page(result, experiment, figures), encoding="utf-8")
    return path


def render_page(
    result: ResultDocument, experiment: Experiment, figures: Mapping[str, Figure]
) -> str:
    """The page as HTML."""
    pictures = {
        name: picture(f"picture-{name}", figure, title(result)) for name, figure in figures.items()
    }
    parts = sections(result, pictures)
    toml, made = to_toml(experiment), result.provenance
    decision = experiment.decision
    inputs = what_if(result, essential=decision.essential, negligible=decision.negligible)
    *simulated, _ = chapters(experiment)  # the last one lists what the page itself shows
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title=title(result) or "An experiment without a title",
            sections=parts,
            what_if=json.dumps(inputs) if inputs else "",
            timed=bool(inputs and inputs["timed"]),
            objective=decision.objective,
            uncertain=any(point.uncertainty for point in result.points),
            complete=result.complete,
            flags=_flags(result),
            drafter=drafter_note(result.experiment, result.points),
            warned=next((len(part.text) for part in parts if part.key == "warnings"), 0),
            chapters=simulated,
            level=level(result),
            served=any(point.serving for point in result.points),
            tolerance=tolerance(result),
            essential=f"{100 * decision.essential:g} %",
            negligible=f"{100 * decision.negligible:g} %",
            sweep=len(result.points) > 1,
            version=result.mtpsim,
            provenance={name: made[k] for k, name in PROVENANCE.items() if made.get(k) is not None},
            command=shlex.join(made.get("command") or []),
            merged=made.get("merged") or [],
            reads_files='samples = "' in toml or 'file = "' in toml,
            toml=toml,
        )
    )


def _flags(result: ResultDocument) -> list[EngineFlags]:
    """Settings for the depth that every point recommends, or for schedules by batch.

    Of servers and trees they are those of each point. Empty where a point recommends no depth, and
    where a sweep without a batch has several.
    """
    if any(point.serving or (point.tree and not point.tree.is_chain) for point in result.points):
        return point_flags(result)
    depths = {advised_depth(point) for point in result.points}
    if None in depths:
        return []
    if len(depths) == 1:
        return engine_flags(depths.pop() or 0)
    return group_flags(result.by_batch)


def fragment(result: ResultDocument) -> str:
    """The first sections of the page, advice and tables, as HTML for a notebook."""
    parts = sections(result, {})[:2]
    return _environment().from_string(FRAGMENT).render(parts=parts)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(prose=_prose, cells=_cells, headers=_headers)
    style, script = ((folder / name).read_text(encoding="utf-8") for name in (STYLE_SHEET, SCRIPT))
    digest = b64encode(sha256(f"\n{script}".encode()).digest()).decode()
    environment.globals.update(MARK=MARK, LONG=LONG, style_sheet=style, script=script)
    environment.globals.update(script_hash=f"sha256-{digest}")
    return environment


def _clean(value: Any) -> Any:
    return legible(value) if type(value) is str else value


def _prose(text: str) -> str:
    """The text with no line break before a percent sign, or within ``k-1`` or ``k - 1``."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%").replace("k-1", "k\N{NON-BREAKING HYPHEN}1")
    return text.replace("k - 1", "k\N{NO-BREAK SPACE}\N{NON-BREAKING HYPHEN}\N{NO-BREAK SPACE}1")


def _headers(table: TextTable) -> list[tuple[str, bool]]:
    """Headers, and whether they are aligned to the left; a column that joins another has none."""
    return [(column.name, column.left) for column in table.columns if not column.joins]


def _cells(cells: Sequence[str], table: TextTable) -> list[tuple[list[tuple[str, str]], str]]:
    """The texts of each cell with the tones of their verdicts, and the class of its column."""
    found: list[tuple[list[tuple[str, str]], str]] = []
    for text, column in zip(cells, table.columns, strict=True):
        part = (str(text), getattr(text, "tone", ""))
        if column.joins:
            found[-1][0].append(part)
            continue
        kinds = {"left": column.left, "folds": column.folds, "faint": column.faint}
        found.append(([part], " ".join(name for name, applies in kinds.items() if applies)))
    return found


def sections(result: ResultDocument, pictures: Pictures) -> list[Section]:
    """The whole document as sections, the most important first."""
    points = result.points
    if any(point.serving for point in points):
        from mtpsim.report.html.serving import served_sections

        return served_sections(result, pictures)
    top = next((name for name in ON_TOP if name in pictures), "")
    rest = {name: drawn for name, drawn in pictures.items() if name != top}
    main = Section("pictures", "Figures", pictures=_some(rest, *MAIN))
    if len(points) == 1:
        first, definitions, *others = point_sections(result, points[0], rest)
        advice = _advice(result, points[0], _some(pictures, top))
        found = [advice, first, main, definitions, *others]
    else:
        advice, *tables = _sweep(result, _some(pictures, top))
        found = [advice, main, *tables, *_over_points(result, rest), _each_point(result)]
    found += [_shapes(result, rest), _warnings(result)]
    return [section for section in found if not section.empty]


def _shapes(result: ResultDocument, drawn: Pictures) -> Section:
    from mtpsim.report.tables import shapes

    text = [shapes.shapes_sentence(found) for found in [result.shapes] if found]
    tables = [Table(*shapes.titled_table(found)) for found in [result.shapes] if found]
    return Section("shapes", "Shape of the drafts", (), text, tables, (), _some(drawn, "tree"))


def _some(drawn: Pictures, *names: str) -> list[Picture]:
    return [drawn[name] for name in names if name in drawn]


def _advice(
    result: ResultDocument, point: PointResult, pictures: Sequence[Picture] = ()
) -> Section:
    """The answer: the advice, the verdict on each step, and what adapting and inputs change."""
    if not point.advice:
        return Section("advice", "Advice", pictures=pictures)
    lead, *rest = re.split(r"(?<=\.) (?=[A-Z])", point.advice.sentence, maxsplit=1)
    table = results.step_table(point)
    few = len(table.rows) < len(point.depths) - 1
    return Section(
        "advice",
        "Advice",
        [lead],
        [*rest, f"Why: {point.advice.why}", *_findings(result, point)],
        tables=[Table("Steps near this depth" if few else "Steps", table)] if table.rows else [],
        pictures=pictures,
    )


def _findings(result: ResultDocument, point: PointResult) -> list[str]:
    """What adaptive policies gain, and what uncertain inputs and scenarios mean."""
    from mtpsim.report.tables import policies, uncertainty

    found = []
    if point.adaptive:
        found.append(policies.verdict(point.adaptive, indifference(result, point)))
    if uncertain := uncertain_choice(point):
        found.append(uncertainty.uncertain_sentence(point, uncertain))
    if point.robust:
        found.append(uncertainty.robust_sentence(point.robust))
    return found


def point_sections(
    result: ResultDocument, point: PointResult, drawn: Pictures | None = None
) -> list[Section]:
    """The sections of a point: its depths, definitions of the rates, then the rest."""
    drawn = drawn or {}
    found = [_depths(result, point), _definitions(point)]
    if point.adaptive:
        found.append(_policies(point.adaptive, indifference(result, point), drawn))
    if uncertain := uncertain_choice(point):
        found.append(_uncertain(point, uncertain, drawn))
    if point.robust:
        found.append(_robust(point.robust))
    if all(depth.request_time for depth in point.depths):
        found.append(_requests(point, drawn))
    if point.diagnostics:
        tables = [
            Table("Dependence of rounds", diagnostics.dependence_table(point.diagnostics)),
            Table("Conditional rates by depth", diagnostics.rates_table(point.diagnostics)),
        ]
        found.append(
            Section(
                "diagnostics",
                DEPENDENCE,
                text=diagnostics.dependence_sentences(point),
                tables=[table for table in tables if table.content.rows],
                pictures=_some(drawn, "dependence"),
            )
        )
    if point.variance and (sentence := diagnostics.variance_sentence(point)):
        table = Table("Variance reduction by step", diagnostics.variance_table(point.variance))
        found.append(Section("variance", "Variance reduction", text=[sentence], tables=[table]))
    return found


def _depths(result: ResultDocument, point: PointResult) -> Section:
    marked = "; the advised one is marked" * (advised_depth(point) is not None)
    tables = [
        Table(f"Depths{marked}", results.depth_table(point, LAYOUT)),
        Table(results.BREAK_EVEN, results.break_even_table(point)),
    ]
    return Section(
        "depths",
        "Results by depth",
        text=[results.sample_sentence(result, point) + "."],
        tables=[table for table in tables if table.content.rows],
        notes=list(filter(None, [results.undecided_sentence(point)])),
    )


def _definitions(point: PointResult) -> Section:
    tables = []
    if point.trial:
        caption = diagnostics.definitions_title(point.trial)
        tables = [Table(caption, diagnostics.definitions_table(point.trial))]
    return Section("trial", DEFINITIONS, tables=tables)


def _policies(adaptive: Adaptive, limit: float, drawn: Pictures) -> Section:
    from mtpsim.report.tables import policies

    return Section(
        "policies",
        "Adaptive depth",
        [policies.verdict(adaptive, limit)],
        tables=[Table("Policies", policies.policy_table(adaptive))],
        notes=[policies.reading(adaptive)],
        pictures=_some(drawn, "policies", "timeline", "learning"),
    )


def _uncertain(point: PointResult, found: Uncertainty, drawn: Pictures) -> Section:
    from mtpsim.report.tables import uncertainty

    inputs = uncertainty.input_table(found)
    return Section(
        "uncertainty",
        "Uncertain inputs",
        [uncertainty.uncertain_sentence(point, found)],
        tables=[
            Table("Depths over uncertain inputs", uncertainty.uncertain_table(point, found)),
            *([Table("Inputs by value of information", inputs)] if found.inputs else []),
        ],
        notes=[uncertainty.worth_sentence(found)],
        pictures=_some(drawn, "uncertainty"),
    )


def _robust(declared: Robust) -> Section:
    from mtpsim.report.tables import uncertainty

    table = Table("Each depth in its worst scenario", uncertainty.robust_table(declared))
    lead = [uncertainty.robust_sentence(declared)]
    return Section("robust", "Declared scenarios", lead, tables=[table])


def _requests(point: PointResult, drawn: Pictures) -> Section:
    tables = [Table("Quantiles of requests by depth", diagnostics.requests_table(point))]
    text = [diagnostics.request_sentence(point), diagnostics.mean_sentence(point)]
    if point.adaptive and any(policy.request_time for policy in point.adaptive.policies):
        from mtpsim.report.tables.policies import best_policy

        best = best_policy(point.adaptive)
        table = diagnostics.policy_requests_table(point.adaptive, best)
        tables.append(Table("Quantiles of requests by policy", table))
        text.append(diagnostics.policy_request_sentence(best))
    text.append(diagnostics.length_sentence(point))
    return Section(
        "requests",
        "Single requests",
        text=list(filter(None, text)),
        tables=tables,
        pictures=_some(drawn, "requests"),
    )


def _sweep(result: ResultDocument, pictures: Sequence[Picture]) -> list[Section]:
    """The answer of a sweep, all points, and the closed form at each."""
    from mtpsim.report.tables import shapes, sweep

    lead = [f"{sweep.sweep_heading(result)}."]
    text = sweep.batch_sentences(result)
    if result.shapes and any(point.advice and point.advice.faster_shape for point in result.points):
        text.append(shapes.shapes_sentence(result.shapes))
    advice = Section("advice", "Advice", lead, text, pictures=pictures)
    summary = sweep.summary_table(result)
    sentences = [point.advice.sentence if point.advice else "" for point in result.points]
    rows = [Row([*row.cells, text]) for row, text in zip(summary.rows, sentences, strict=True)]
    table = TextTable([*summary.columns, Column("advice", left=True, folds=True)], rows)
    every = Section(
        "points",
        f"All {len(result.points):,} points",
        tables=[Table("Best depth of every point", table)],
        notes=[sweep.judged_together(result)],
    )
    shown = sweep.definition_columns(result)
    tables = [Table(sweep.DEFINITIONS, sweep.definitions_table(result, shown))] if shown else []
    return [advice, every, Section("trial", DEFINITIONS, tables=tables)]


def _over_points(result: ResultDocument, drawn: Pictures) -> list[Section]:
    """Sections below the pictures of a sweep."""
    found = [_batches(result, drawn)]
    if any(point.adaptive for point in result.points):
        from mtpsim.report.tables.policies import policy_summary_table

        table = Table("Adaptive depth at each point", policy_summary_table(result))
        shown = _some(drawn, "policies", "timeline", "learning")
        found.append(Section("policies", "Adaptive depth", tables=[table], pictures=shown))
    for key, name, heading in (
        ("uncertainty", "uncertainty", "Uncertain inputs"),
        ("requests", "requests", "Single requests"),
        ("diagnostics", "dependence", DEPENDENCE),
    ):
        found.append(Section(key, heading, pictures=_some(drawn, name)))
    return found


def _batches(result: ResultDocument, drawn: Pictures) -> Section:
    from mtpsim.report.tables import sweep

    columns = [Column("from batch"), Column("to batch"), Column("run", left=True)]
    tables = []
    for group in result.by_batch:
        rows = [
            Row([f"{e.from_:,}", f"{e.to:,}", f"depth {e.depth}" if e.depth else "off"])
            for e in group.schedule
        ]
        caption = ", ".join(filter(None, ["By batch", sweep.group_label(group)]))
        tables.append(Table(caption, TextTable(columns, rows)))
    text = sweep.batch_sentences(result)
    return Section("batches", "By batch", text=text, tables=tables, pictures=_some(drawn, "batch"))


def _each_point(result: ResultDocument) -> Section:
    points, heading = result.points, "Point by point"
    if len(points) > results.MOST_TABLES:
        text = f"More than {results.MOST_TABLES} points: result.csv has the numbers of each depth."
        return Section("each", heading, text=[text])
    inner = []
    for number, point in enumerate(points, 1):
        parts = [s for s in [_advice(result, point), *point_sections(result, point)] if not s.empty]
        label = point_label(result, point) or f"point {number}"
        inner.append(Section(f"point-{number}", label, inner=parts))
    depths = sorted({greatest_depth(point) for point in points})
    reach = " or ".join(map(str, depths[:3]))
    return Section("each", heading, text=[f"Depths 0 to {reach} at each point."], inner=inner)


def _warnings(result: ResultDocument) -> Section:
    found = [*(result.warnings or []), *(f"failed: {text}" for text in result.failures)]
    if not result.complete:
        found.append("the run was interrupted before it was complete")
    if len(result.points) > 1:
        from mtpsim.report.tables.sweep import warnings_of_points

        found += warnings_of_points(result)
    else:
        found += result.points[0].warnings
    return Section("warnings", "Warnings", text=found)
