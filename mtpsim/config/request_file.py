"""Recorded requests of a server: a CSV file with prompt and output tokens, and arrival times."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats
from mtpsim.common.files import csv_rows, read_once

ARRIVALS = {"arrival_s": 1000.0, "arrival_ms": 1.0}  # columns, and ms per unit
MOST_TOKENS = 1 << 30


class RequestFile(NamedTuple):
    """Requests in the order of the file.

    Attributes:
        tokens (npt.NDArray[np.int32]): ``[N, 2]`` prompt and output tokens.
        arrival_ms (Floats): ``[N]`` arrival times from the first one on; empty without a column.
    """

    tokens: npt.NDArray[np.int32]
    arrival_ms: Floats


@read_once(16)
def read_request_file(path: Path) -> RequestFile:
    """Read a CSV file with the columns ``prompt``, ``output`` and, for a trace, ``arrival_s``.

    Args:
        path (Path): UTF-8 text with a header; ``arrival_ms`` may stand for ``arrival_s``.

    Returns:
        RequestFile: At least one request.

    Raises:
        ValueError: The file can't be read, or a row is invalid; with path and line.
    """
    lines = csv_rows(path)
    if len(lines) < 2:
        raise ValueError(f"{path} has no requests: it needs a header and a line per request")
    header, lines = lines[0][1], lines[1:]
    for name in ("prompt", "output"):
        if name not in header:
            raise ValueError(
                f"{path} has no column {name!r}; it needs prompt and output, in tokens, and for a "
                "trace arrival_s or arrival_ms"
            )
    tokens = [
        [_tokens(path, line, header, name) for name in ("prompt", "output")] for line in lines
    ]
    clock = next((name for name in ARRIVALS if name in header), None)
    times = [_number(path, line, header, clock) for line in lines] if clock else []
    for (number, _), before, time in zip(lines[1:], times, times[1:], strict=False):
        if time < before:
            raise ValueError(
                f"{path}:{number}: {clock} goes back from {before:g} to {time:g}; requests must be "
                "in the order of their arrival"
            )
    arrival_ms = np.array(times) * ARRIVALS[clock] if clock else np.zeros(0)
    return RequestFile(np.array(tokens, np.int32), arrival_ms - arrival_ms[:1].sum())


def _tokens(path: Path, line: tuple[int, list[str]], header: list[str], name: str) -> int:
    value = _number(path, line, header, name)
    if value != int(value) or not 1 <= value <= MOST_TOKENS:
        raise ValueError(
            f"{path}:{line[0]}: {name} is {value:g}; it must be a whole number of tokens, 1 or more"
        )
    return int(value)


def _number(path: Path, line: tuple[int, list[str]], header: list[str], name: str) -> float:
    place, (number, cells) = header.index(name), line
    try:
        value = float(cells[place])
    except (IndexError, ValueError):
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{path}:{number}: {name} is not a number")
    return value
