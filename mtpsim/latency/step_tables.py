"""Measured step times: a pass by tokens, or by tokens and requests; drafting by requests.

Files are CSV, or what an engine prints or saves when it starts. SGLang prints "Verify cost (tokens:
ms) 8: 8.71, 16: 8.77. Draft cost (requests: ms) 1: 1.74"; vLLM saves a profile with "verify_curve"
and "draft_curve", and prints both tables at log level DEBUG.
"""

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationInfo, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.files import read_named_file, read_once
from mtpsim.common.section import Positive, Spec
from mtpsim.common.text import counted
from mtpsim.latency.times import Milliseconds, Times, describe

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Counts = Annotated[list[Count], Field(min_length=1)]
FALL = 0.05  # share by which more tokens may take less time, as noise of a measurement
Row = Annotated[list[Positive], Field(min_length=1)]
Curves = dict[int, tuple[list[int], list[float]]]  # row to its counts and ms, each [n]
OTHER_NAMES = {
    **dict.fromkeys(("num_tokens", "n_tokens"), "tokens"),
    **dict.fromkeys(("batch", "batch_size", "bs", "num_reqs"), "requests"),
    **dict.fromkeys(("time_ms", "verify", "verify_ms", "draft", "draft_ms", "step_ms"), "ms"),
    **dict.fromkeys(("k", "num_speculative_tokens"), "depth"),
}
_PAIR = r"[(\[]\s*\d+\s*,\s*[\d.eE+-]+\s*[)\]]"
_PRINTED = {
    "tokens": r"Verify cost \(tokens: ms\) ((?:\d+: [\d.]+(?:, )?)+)",
    "requests": r"Draft cost \(requests: ms\) ((?:\d+: [\d.]+(?:, )?)+)",
}
_SAVED = {
    "tokens": rf"verify_curve\W+({_PAIR}(?:\s*,\s*{_PAIR})*)",
    "requests": rf"draft_curve\W+({_PAIR}(?:\s*,\s*{_PAIR})*)",
}
_ARRAYS = re.compile(r"DSpark cost tables: \(array\(\[([^\]]*)\]\), array\(\[([^\]]*)\]\)\)")
_POINT = re.compile(r"(\d+)\s*[:,]\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")


def _shape(value: Any) -> str:
    return "rows" if isinstance(value, list) and value and isinstance(value[0], list) else "row"


Measured = Annotated[
    Annotated[Row, Tag("row")] | Annotated[list[Row], Tag("rows")], Discriminator(_shape)
]


class _Table(Spec):
    """Times by one count, or a row of them by another one, in the file or beside it.

    Attributes:
        axes: Keys of the count along a row, and of the count of the rows.
    """

    axes: ClassVar[tuple[str, str]]
    exclusive = (("file", "ms"),)

    ms: Measured | None = Field(None, description="measured ms, or a row per second count")
    file: str | None = Field(
        None, description="CSV file of the columns, or start-up log of an engine, in place of `ms`"
    )
    _curves: Curves = PrivateAttr()

    @model_validator(mode="after")
    def _complete(self, info: ValidationInfo) -> Self:
        if self.file is not None:
            path = Path((info.context or {}).get("folder", Path()), self.file)
            self._curves = read_curves(path, *self.axes)
            if any(vars(self).get(key) for key in self.axes):
                raise FieldError("the file has its own counts", key=self.axes[0])
            return self
        if self.ms is None:
            raise FieldError("is missing (give it or `file`)", key="ms", kind="missing")
        self._curves = self._given_curves()
        return self

    def _given_curves(self) -> Curves:
        along, across = (vars(self).get(key) for key in self.axes)
        rows: list[Any] = list(self.ms or [])
        if not isinstance(rows[0], list):
            rows = [rows]
            if across:
                raise FieldError(f"one list is given; `{self.axes[1]}` needs a row each", key="ms")
            across = [1]
        elif not across:
            across = self._default_rows(len(rows))
        if not along:
            raise FieldError("is missing", key=self.axes[0], kind="missing")
        for key, counts in zip(self.axes, (along, across), strict=True):
            if any(a >= b for a, b in pairwise(counts)):
                raise FieldError(f"`{key}` must ascend without repetition", key=key)
        if len(across) != len(rows):
            raise FieldError(f"{len(rows)} rows for {len(across)} {self.axes[1]}", key="ms")
        for row in rows:
            if len(row) != len(along):
                raise FieldError(
                    f"{counted(len(row), 'time', 'are')} given for {len(along)} {self.axes[0]}",
                    key="ms",
                )
        return {count: (along, row) for count, row in zip(across, rows, strict=True)}

    def _default_rows(self, rows: int) -> list[int]:
        raise FieldError("is missing: `ms` has rows", key=self.axes[1], kind="missing")

    @property
    def last(self) -> int:
        """Largest measured count along a row."""
        return max(counts[-1] for counts, _ in self._curves.values())

    @property
    def first(self) -> int:
        """Smallest measured count along a row."""
        return min(counts[0] for counts, _ in self._curves.values())

    @property
    def rows(self) -> Floats:
        """``[rows]`` counts of the rows, ascending."""
        return np.array(list(self._curves), float)


class VerifyTable(_Table):
    """Time of a pass of the target by its tokens, or by tokens and requests."""

    axes = ("tokens", "requests")

    tokens: Counts | None = Field(None, description="measured tokens per pass, ascending")
    requests: Counts | None = Field(
        None, description="measured requests per pass, ascending, if `ms` has a row for each"
    )
    limit: Count | None = Field(
        None, description="most tokens of a pass that replays a graph; larger ones run without"
    )
    beyond: Positive | None = Field(
        None, description="ms of a pass beyond `limit`, where no measured tokens are beyond it"
    )
    padded: bool = Field(
        False, description="passes up to `limit` are padded to the next measured tokens"
    )
    monotone: bool = Field(
        False, description="a pass takes at least the time of every measured pass of fewer tokens"
    )
    per_request: Milliseconds = Field(0.0, description="ms per request beside those of its tokens")
    per_cached: Milliseconds = Field(0.0, description="ms per cached token of the batch")
    per_cached_token: Milliseconds = Field(
        0.0, description="ms per cached token and token of the pass, if each token reads the cache"
    )

    @model_validator(mode="after")
    def _has_time_beyond(self) -> Self:
        measured = self.limit is not None and self.last > self.limit
        if self.limit is None and self.beyond is not None:
            raise FieldError("needs `limit`, the most tokens of a graph", key="beyond")
        if self.limit is not None and self.first > self.limit:
            raise FieldError(f"no measured tokens are within it, only {self.first:,}", key="limit")
        if measured and self.beyond is not None:
            raise FieldError("tokens beyond `limit` are measured; give one of both", key="beyond")
        if self.limit is not None and not measured and self.beyond is None:
            raise FieldError(
                "no measured tokens are beyond it: give `beyond`, the ms of such a pass",
                key="limit",
            )
        return self

    def pass_ms(self, tokens: Floats, requests: float) -> Floats:
        """Time ``[n]`` in ms of passes over ``tokens`` ``[n]`` of so many requests."""
        curves = np.array([self.curve(tokens, row) for row in range(self.rows.size)])
        place = float(np.interp(requests, self.rows, np.arange(self.rows.size)))
        low = min(int(place), max(self.rows.size - 2, 0))
        found = curves[low]
        if place > low:
            found = found + (place - low) * (curves[low + 1] - found)
        return np.asarray(found + self.per_request * requests)

    def curve(self, tokens: Floats, row: int) -> Floats:
        """Time ``[n]`` in ms of passes over ``tokens`` ``[n]``, of one row of the table."""
        counts, ms = map(np.array, list(self._curves.values())[row])
        if self.monotone:
            ms = np.maximum.accumulate(ms)
        if self.limit is None:
            return self._between(tokens, counts, ms)
        graph = counts <= self.limit
        within = self._between(tokens, counts[graph], ms[graph])
        if graph.all():
            after = np.maximum(self.beyond or 0.0, _line(tokens, counts[graph], ms[graph]))
        else:
            after = _line(tokens, counts[~graph], ms[~graph])
        return np.where(tokens <= self.limit, within, after)

    def _between(self, tokens: Floats, counts: Floats, ms: Floats) -> Floats:
        if not self.padded:
            return _line(tokens, counts, ms)
        at = np.searchsorted(counts, np.minimum(tokens, counts[-1]))
        return np.where(tokens > counts[-1], _line(tokens, counts, ms), ms[at])

    def warnings(self) -> list[str]:
        """Warnings about times that a pass hardly takes, one sentence each."""
        found, (counts, ms) = [], self._curves[min(self._curves)]
        falls = [n for n, (a, b) in enumerate(pairwise(ms)) if b < a * (1 - FALL)]
        if falls and not self.monotone:
            one, two = falls[0], falls[0] + 1
            found.append(
                f"latency.verify: {counts[two]:,} tokens take {ms[two]:g} ms, fewer "
                f"({counts[one]:,}) take {ms[one]:g} ms; monotone = true counts the longer time"
            )
        if self.beyond is not None and self.beyond < ms[-1]:
            found.append(
                f"latency.verify.beyond: {self.beyond:g} ms is less than the {ms[-1]:g} ms of "
                f"{counts[-1]:,} tokens, so it has no effect"
            )
        return found

    def most_depth(self, batch: float) -> int | None:
        """Greatest depth at which a batch replays a graph; None without a limit, -1 if none."""
        return None if self.limit is None else int(self.limit // batch) - 1

    def describe(self) -> str:
        """The table as text."""
        by = f"{self.first:,} to {self.last:,} tokens"
        if self.rows.size > 1:
            by += f" and {self.rows[0]:,.0f} to {self.rows[-1]:,.0f} requests"
        text = f"measured at {by}, {'padded to the next' if self.padded else 'linear between'}"
        text += ", never falling" * self.monotone
        if self.limit is not None:
            text += f"; graphs end at {self.limit:,} tokens"
            text += f", beyond it {self.beyond:g} ms or more" if self.beyond else ""
        return text


class DraftTable(_Table):
    """Time of drafting by the number of requests, or by depth and requests."""

    axes = ("requests", "depth")

    requests: Counts | None = Field(None, description="measured requests, ascending")
    per_token: bool = Field(
        False, description="`ms` is that of one drafted token; else of all drafts of a round"
    )

    def _default_rows(self, rows: int) -> list[int]:
        return list(range(1, rows + 1))

    @property
    def depth(self) -> int | None:
        """Greatest measured depth; None if the time is the same at every depth."""
        return int(self.rows[-1]) if self.rows.size > 1 else None

    def times(self, batch: float, depth: int) -> Floats:
        """Time ``[depth]`` in ms of drafting at depths 1 to ``depth`` for a batch."""
        rows = (map(np.array, row) for row in self._curves.values())
        found = np.array([_line(np.array([batch]), *row)[0] for row in rows])
        depths = np.arange(1.0, depth + 1.0)
        if found.size == 1:
            return depths * found[0] if self.per_token else np.full(depth, found[0])
        return np.asarray(np.interp(depths, self.rows, found))

    def describe(self) -> str:
        """The table as text."""
        text = f"measured at {self.first:,} to {self.last:,} requests"
        text += f" and depths 1 to {self.depth}" if self.depth else ""
        return text + ", per drafted token" * self.per_token


def _line(at: Floats, counts: Floats, ms: Floats) -> Floats:
    """Linear interpolation; constant below the first count, its last slope beyond the last."""
    found = np.interp(at, counts, ms)
    if counts.size > 1:
        slope = max((ms[-1] - ms[-2]) / (counts[-1] - counts[-2]), 0.0)
        found = found + slope * np.maximum(at - counts[-1], 0.0)
    return np.asarray(found)


def _form(value: Any) -> str:
    table = isinstance(value, dict) and bool({"requests", "file", "ms"} & value.keys())
    return "drafttable" if table or isinstance(value, DraftTable) else "times"


Drafting = Annotated[
    Annotated[Times, Tag("times")] | Annotated[DraftTable, Tag("drafttable")], Discriminator(_form)
]


def describe_drafting(draft: Times | DraftTable) -> str:
    """The time of drafting as text."""
    return draft.describe() if isinstance(draft, DraftTable) else describe(draft)


@read_once(64)
def read_curves(path: Path, along: str, across: str) -> Curves:
    """Read the times of a table.

    Args:
        path (Path): CSV file with the columns ``along``, ``ms`` and, for several rows, ``across``;
            or a log or profile of an engine.
        along (str): Count along a row: ``tokens`` of a pass, or ``requests`` of drafting.
        across (str): Count of the rows.

    Returns:
        Curves: Counts and ms of each row, ascending.

    Raises:
        ValueError: The file can't be read, or holds no such times; with path and line.
    """
    text = read_named_file(path)
    points = _from_engine(path, text, along)
    rows = {1: points} if points else _from_csv(path, text, along, across)
    curves = {}
    for row, times in sorted(rows.items()):
        ordered = dict(sorted(times.items()))
        if min(ordered) < 1 or not all(0 < ms < 1e12 for ms in ordered.values()):
            raise ValueError(f"{path}: counts must be at least 1, and times positive and finite")
        curves[row] = list(ordered), list(ordered.values())
    return curves


def _from_engine(path: Path, text: str, along: str) -> dict[int, float]:
    """Times by count of the last start that a log shows; empty if it shows none."""
    for pattern in (_PRINTED[along], _SAVED[along]):
        if found := re.findall(pattern, text):
            return {int(count): float(ms) for count, ms in _POINT.findall(found[-1])}
    if arrays := _ARRAYS.findall(text):
        values = arrays[-1][("requests", "tokens").index(along)]
        if "..." in values:
            raise ValueError(
                f"{path}: vLLM shortened the table of {along} to '...'; give a CSV file with "
                f"{along} and ms instead"
            )
        times = [float(value) for value in values.replace(",", " ").split()]
        return dict(enumerate(times[1:], 1))
    return {}


def _from_csv(path: Path, text: str, along: str, across: str) -> dict[int, dict[int, float]]:
    """Times by row and count."""
    lines = text.splitlines()
    delimiter = next((mark for mark in ";\t" if lines and mark in lines[0]), ",")
    try:
        names, *rows = csv.reader(lines, delimiter=delimiter)
    except (csv.Error, ValueError):
        names, rows = [], []
    header = [OTHER_NAMES.get(name.strip().lower(), name.strip().lower()) for name in names]
    if not {along, "ms"} <= set(header):
        raise ValueError(
            f"{path} has neither the columns {along} and ms nor an engine's table of {along}"
        )
    found: dict[int, dict[int, float]] = {}
    for line, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            cells = dict(zip(header, map(float, row), strict=True))
            count, other = cells[along], cells.get(across, 1.0)
            if count % 1 or other % 1:
                raise ValueError
        except ValueError:
            raise ValueError(f"{path}:{line}: {len(header)} numbers are needed") from None
        if int(count) in found.setdefault(int(other), {}):
            raise ValueError(f"{path}:{line}: {along} {count:g} is given twice")
        found[int(other)][int(count)] = cells["ms"]
    if not found:
        raise ValueError(f"{path} has a header but no times")
    return found
