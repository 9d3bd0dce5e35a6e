"""The result document of a run (docs/result.md), and an object to look at it with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.text import counted
from mtpsim.config.hashing import seal
from mtpsim.report.columns import LAYOUT, by_point
from mtpsim.report.document import (
    DepthResult,
    ResultDocument,
)
from mtpsim.report.serialization import from_json, rows, to_json

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from mtpsim.config.experiment import Experiment


@dataclass(frozen=True)
class Result:
    """What a run found; :func:`mtpsim.run` returns it.

    Attributes:
        data (ResultDocument): The result document, typed.
        round_times (Sequence[list[Floats]]): ``[points][K + 1]`` samples of round times in ms, for
            the figures; may be empty.

    Examples:
        >>> import mtpsim
        >>> experiment = mtpsim.load("experiments/article.toml", ["simulation.requests=200"])
        >>> result = mtpsim.run(experiment)
        >>> result
        <mtpsim.Result 'Production MTP head, depth 1-3', 1 point, depth 2>
        >>> round(result.depth(2).speedup.exact, 4)
        1.5406
        >>> sorted(result.rows()[0])[:4]
        ['depth', 'exact', 'high', 'low']
    """

    data: ResultDocument
    round_times: Sequence[list[Floats]] = field(default=(), repr=False)

    @classmethod
    def of(cls, document: JsonDict, round_times: Sequence[list[Floats]] = ()) -> Result:
        """The result that a document states, as read from ``result.json``.

        Args:
            document (dict): The result document, as plain data.
            round_times (Sequence[list[Floats]]): ``[points][K + 1]`` samples of round times in ms.

        Returns:
            Result: The result, without the experiment.

        Raises:
            ValueError: a key is missing, a value has the wrong type, or the document has a key
                ``check`` that does not match the rest: it was edited.
        """
        if "check" in document and document["check"] != seal(document):
            raise ValueError("its checksum does not match: it was edited or damaged")
        result = cls(from_json(by_point(document)))
        if LAYOUT not in document:
            result.__dict__["document"] = document  # as it was written, its seal included
        return result.with_round_times(round_times)

    def with_round_times(self, round_times: Sequence[list[Floats]]) -> Result:
        """The same result with samples of round times.

        Args:
            round_times (Sequence[list[Floats]]): ``[points][K + 1]`` samples of round times in ms.

        Returns:
            Result: A result that shares its data with this one.
        """
        result = replace(self, round_times=round_times)
        if "document" in vars(self):
            result.__dict__["document"] = self.document
        return result

    @cached_property
    def document(self) -> JsonDict:
        """The result document as plain data (dict), as in ``result.json`` (docs/result.md)."""
        return to_json(self.data)

    @property
    def points(self) -> list[JsonDict]:
        """The documents of the points, as plain data (list of dicts); one without a sweep."""
        points: list[JsonDict] = self.document["points"]
        return points

    @property
    def advice(self) -> str:
        """The advice for a run of one point, a sentence or two; of a server over all loads.

        Of a sweep it is that of the first point, with a warning: ``data.points[i].advice.sentence``
        is that of another one.
        """
        first, loads = self.data.points[0], self.data.by_load
        if not loads:
            self._warn_of_first("advice is", "data.points[i].advice.sentence")
        found = loads[0] if loads else first.serving or first.advice
        return found.sentence if found else ""

    def rows(self) -> list[JsonDict]:
        """Tidy rows, one per point, depth and quantity, as in ``result.csv``.

        Returns:
            list[dict]: Rows with the keys ``point``, the swept keys, ``depth``, ``quantity``,
            ``theory``, ``exact``, ``mean``, ``low``, ``high`` and ``verdict``; times are in ms.
        """
        return rows(self.data)

    def to_frame(self) -> Any:
        """:meth:`rows` as a data frame; the extra ``pandas`` installs what it needs.

        Returns:
            pandas.DataFrame: A row per point, depth and quantity.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            if error.name != "pandas":  # a broken pandas has its own message
                raise
            message = (
                "to_frame() needs pandas, which is not installed: pip install pandas, or mtpsim "
                "with its extra, pip install 'mtpsim[pandas]'; rows() gives the same without it"
            )
            raise ImportError(message, name="pandas") from None
        return pandas.DataFrame(self.rows())

    def depth(self, depth: int, point: int | None = None) -> DepthResult:
        """What one depth yields: ``result.depth(2).speedup.mean``.

        Args:
            depth (int): Drafts per round; 0 is plain decoding.
            point (int | None): Number of the point of a sweep, from 0; None: the first, with a
                warning if there are others.

        Returns:
            DepthResult: Accept length, round time in ms, speedup and verdicts of the depth.

        Raises:
            ValueError: There is no such depth or point.
        """
        if point is None:
            self._warn_of_first(f"depth({depth}) is", f"depth({depth}, point=i)")
            point = 0
        if not 0 <= point < len(self.data.points):
            last = len(self.data.points) - 1
            raise ValueError(f"point {point} is given; points 0 to {last} were simulated")
        if not (depths := self.data.points[point].depths):
            raise ValueError("a server has data.points[i].serving.arm(name), such as 'depth 2'")
        if not 0 <= depth < len(depths):
            raise ValueError(
                f"depth {depth} is given; depths 0 to {len(depths) - 1} were simulated"
            )
        return depths[depth]

    def _warn_of_first(self, what: str, instead: str) -> None:
        """Warn that an answer is that of the first of several points."""
        if (many := len(self.data.points)) > 1:
            label = ", ".join(f"{key} = {value}" for key, value in self.data.points[0].set.items())
            text = f"{what} that of the first of {many:,} points ({label}); point i has {instead}"
            warnings.warn(text, UserWarning, stacklevel=3)

    def plot(self, name: str = "speedup") -> Figure:
        """A figure of the result; by default speedup by depth over the closed form.

        Args:
            name (str): Name of one of the run's PNG files, such as ``"batch"``.

        Returns:
            Figure: A matplotlib figure.

        Raises:
            ValueError: The result has no such figure.
        """
        from mtpsim.report.figures.gallery import figure

        return figure(self.data, self.round_times, name)

    def __repr__(self) -> str:
        """Title, number of points and the recommended depth, on one line."""
        title = str(self.data.experiment.get("title") or "without a title")
        points = self.data.points
        advice, served = (points[0].advice, points[0].serving) if len(points) == 1 else (None, None)
        known = advice is not None and advice.recommended is not None
        depth = f", depth {advice.depth}" if advice and known else served and f", {served.best}"
        return f"<mtpsim.Result {title!r}, {counted(len(points), 'point')}{depth or ''}>"

    def _repr_html_(self) -> str:
        """Advice and tables for a notebook."""
        from mtpsim.report.html.page import fragment

        return fragment(self.data)

    def save_plots(self, folder: Path) -> list[Path]:
        """Write every figure as a PNG file.

        Args:
            folder (Path): Created if missing.

        Returns:
            list[Path]: The files written.
        """
        from mtpsim.report.figures.gallery import save_plots

        return save_plots(self.data, self.round_times, folder)

    def save_report(self, experiment: Experiment, folder: Path) -> list[Path]:
        """Write every figure and ``report.html``, which shows all of the result.

        Args:
            experiment (Experiment): The experiment that the result is of.
            folder (Path): Created if missing.

        Returns:
            list[Path]: The files written.
        """
        from mtpsim.report.figures.gallery import figures, save_figures
        from mtpsim.report.html.page import write_page

        drawn = figures(self.data, self.round_times)
        paths = save_figures(drawn, folder)  # first: the page takes the headings off the figures
        return [*paths, write_page(self.data, experiment, drawn, folder)]

    def __str__(self) -> str:
        """The tables and the advice, as the command prints them."""
        from io import StringIO

        from rich.console import Console

        from mtpsim.report.tables.result import render

        # In a notebook rich would display HTML instead, and Jupyter asks for colours.
        console = Console(
            file=StringIO(),
            width=100,
            no_color=True,
            force_jupyter=False,
            force_terminal=False,
            markup=False,
            emoji=False,
        )
        render(self.data, console)
        return str(console.file.getvalue()).rstrip()  # type: ignore[attr-defined]
