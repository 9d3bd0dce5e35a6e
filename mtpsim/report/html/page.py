"""One page of a result, to send to somebody: everything is in the file, and nothing is fetched."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtpsim.config.experiment import Experiment
from mtpsim.config.hashing import to_toml
from mtpsim.report.document import ResultDocument
from mtpsim.report.experiment_text import chapters
from mtpsim.report.formatting import legible, level, title, tolerance
from mtpsim.report.html.sections import sections
from mtpsim.report.html.svg import picture
from mtpsim.report.tables.table_model import MARK, Sheet

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

PAGE = "report.html"
LONG = 40
"""A table of more rows scrolls in a box of its own, so that what is below stays near."""
TEMPLATE, LOOK = "page.html.j2", "page.css"
GOOD = ("holds", "faster", "essential", "worthwhile")
BAD = ("fails", "slower", "harmful")
OPEN = ("undecided", "open", "marginal")
MADE_OF = {
    "seed": "seed",
    "started": "started",
    "seconds": "seconds it took",
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


def write_page(
    result: ResultDocument, experiment: Experiment, figures: Mapping[str, Figure], folder: Path
) -> Path:
    """Write ``report.html`` into a folder.

    Args:
        result: the result document.
        experiment: that it is of.
        figures: of :func:`~.figures.gallery.figures`; they lose their headings to the page.
        folder: that is there.

    """
    path = folder / PAGE
    path.write_text(render_page(result, experiment, figures), encoding="utf-8")
    return path


def render_page(
    result: ResultDocument, experiment: Experiment, figures: Mapping[str, Figure]
) -> str:
    """The page as HTML; it depends on its arguments alone."""
    pictures = {
        name: picture(f"picture-{name}", figure, title(result)) for name, figure in figures.items()
    }
    parts = sections(result, pictures)
    toml, made = to_toml(experiment), result.get("provenance") or {}
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title=title(result) or "An experiment without a title",
            sections=parts,
            warned=next((len(part.text) for part in parts if part.key == "warnings"), 0),
            chapters=_simulated(experiment),
            level=level(result),
            tolerance=tolerance(result),
            sweep=len(result["points"]) > 1,
            version=result.get("mtpsim", ""),
            provenance=_provenance(result),
            command=shlex.join(made.get("command") or []),
            merged=made.get("merged") or [],
            reads_files='samples = "' in toml or 'file = "' in toml,
            toml=toml,
        )
    )


def _simulated(experiment: Experiment) -> list[tuple[str, list[str]]]:
    """What was simulated; what is reported of it, the page itself shows."""
    *told, _ = chapters(experiment)
    return [(heading, [line.replace("+-", "±") for line in lines]) for heading, lines in told]


def _provenance(result: ResultDocument) -> list[tuple[str, str]]:
    made = result.get("provenance") or {}
    found = [(name, str(made[key])) for key, name in MADE_OF.items() if made.get(key) is not None]
    return [("mtpsim", str(result.get("mtpsim", ""))), *found]


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    room = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(room),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(prose=_prose, cells=_cells, headers=_headers, tone=_tone)
    environment.globals.update(MARK=MARK, LONG=LONG, look=(room / LOOK).read_text(encoding="utf-8"))
    return environment


def _clean(value: Any) -> Any:
    return legible(value) if type(value) is str else value


def _prose(text: str) -> str:
    """The text with numbers kept together with their percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _headers(sheet: Sheet) -> list[tuple[str, bool]]:
    """Headers with their side; a column that joins another one has none."""
    return [(column.name, column.left) for column in sheet.columns if not column.joins]


def _cells(cells: list[str], sheet: Sheet) -> list[tuple[list[str], str]]:
    """Texts of each cell, those that join it with it, and the class of its column."""
    found: list[tuple[list[str], str]] = []
    for text, column in zip(cells, sheet.columns, strict=True):
        if column.joins:
            found[-1][0].append(text)
            continue
        parts = {"left": column.left, "folds": column.folds, "faint": column.faint}
        found.append(([text], " ".join(name for name, so in parts.items() if so)))
    return found


def _tone(word: str) -> str:
    """The class of a word that is a verdict."""
    for name, words in (("good", GOOD), ("bad", BAD), ("open", OPEN)):
        if word in words:
            return name
    return ""
