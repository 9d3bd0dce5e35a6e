"""All figures of a result, and their PNG files."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from mtpsim.common.errors import nearest
from mtpsim.report.document import ResultDocument
from mtpsim.report.figures.batch import batch_figure
from mtpsim.report.figures.distributions import (
    RoundTimes,
    accepted_figure,
    latency_figure,
    requests_figure,
)
from mtpsim.report.figures.policies import learning_figure, policies_figure, timeline_figure
from mtpsim.report.figures.serving import served_figures
from mtpsim.report.figures.speedup import (
    dependence_figure,
    marginal_figure,
    speedup_figure,
    theory_figure,
)
from mtpsim.report.figures.style import save
from mtpsim.report.figures.tree import tree_figure
from mtpsim.report.figures.uncertainty import uncertainty_figure
from mtpsim.report.formatting import times_known

DPI = 150
DEFAULT = "speedup"


def save_plots(result: ResultDocument, round_times: RoundTimes, folder: Path | str) -> list[Path]:
    """Write ``speedup.png``, ``theory.png``, ``dependence.png`` and the others as PNG files.

    Args:
        result: the result document.
        round_times: a sample of round times in ms for each point and depth; without any, there is
            no ``latency.png``.
        folder: created if missing.
    """
    return save_figures(figures(result, round_times), folder)


def save_figures(drawn: Mapping[str, Figure], folder: Path | str) -> list[Path]:
    """Write figures as PNG files; ``folder`` is created if missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / f"{name}.png": figure for name, figure in drawn.items()}
    for file, figure in files.items():
        # Weak compression takes half the time, and the files are small.
        save(figure, file, dpi=DPI, pil_kwargs={"compress_level": 2})
    return list(files)


def figure(result: ResultDocument, round_times: RoundTimes, name: str) -> Figure:
    """One figure by its name.

    Raises:
        ValueError: The result has no such figure.
    """
    drawn = figures(result, round_times)
    if name == DEFAULT and any(point.serving for point in result.points):
        name = next(iter(drawn))
    if name not in drawn:
        raise ValueError(f"no figure {name!r}; figures: {', '.join(drawn)}{nearest(name, drawn)}")
    return drawn[name]


def figures(result: ResultDocument, round_times: RoundTimes) -> dict[str, Figure]:
    """Every figure that the result has numbers for, by name."""
    if any(point.serving for point in result.points):
        return served_figures(result)
    found = {
        "speedup": speedup_figure(result),
        "marginal": marginal_figure(result),
        "accepted": accepted_figure(result),
    }
    if all(point.trial and point.diagnostics for point in result.points):
        found["theory"] = theory_figure(result)
        found["dependence"] = dependence_figure(result)
    timed = any(map(times_known, result.points))
    if timed and all(point.depths[0].request_speed for point in result.points):
        found["requests"] = requests_figure(result)
    if result.by_batch:
        found["batch"] = batch_figure(result)
    if any(point.tree for point in result.points):
        found["tree"] = tree_figure(result)
    if any(point.adaptive for point in result.points):
        found["policies"] = policies_figure(result)
        found["timeline"] = timeline_figure(result)
        curves = learning_figure(result)
        if curves is not None:
            found["learning"] = curves
    if any(point.uncertainty and point.uncertainty.inputs for point in result.points):
        found["uncertainty"] = uncertainty_figure(result)
    if timed and len(round_times):
        found["latency"] = latency_figure(result, round_times)
    return found
