"""Measured times or counts from a file: one number per line, or a column of a CSV file."""

from pathlib import Path

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.files import csv_rows, read_once

Lines = list[tuple[int, list[str]]]  # number in the file, from 1, and cells


@read_once(64)
def read_samples(path: Path, column: str | None = None, *, counts: bool = False) -> Floats:
    """Read positive times, or counts.

    Args:
        path (Path): UTF-8 text: one number per line, or CSV with a header.
        column (str | None): Name of the CSV column; required if there are several.
        counts (bool): Whether the numbers are whole and may be 0.

    Returns:
        Floats: ``[n]`` numbers in the order of the file.

    Raises:
        ValueError: The file can't be read, or a number is invalid; with path and line.
    """
    lines = csv_rows(path)
    if not lines:
        raise ValueError(f"{path} is empty; it needs at least one {'count' if counts else 'time'}")
    index, lines = _find_column(path, lines, column)
    values = np.array([_value(path, number, row, index, counts) for number, row in lines])
    if not values.size:
        raise ValueError(f"{path} has a header but no {'counts' if counts else 'times'}")
    return values


def _find_column(path: Path, lines: Lines, column: str | None) -> tuple[int, Lines]:
    """Index of the column, and the lines without the header."""
    first = [cell.strip() for cell in lines[0][1]]
    has_header = any(_number(cell) is None for cell in first)
    if column is None:
        if len(first) > 1:
            header = "of its header" if has_header else "(it has no header to name them)"
            message = f"{path} has {len(first)} columns; say which one with `column`"
            raise ValueError(f"{message} {header}")
        return 0, lines[1:] if has_header and len(lines) > 1 else lines
    if not has_header or column not in first:
        known = f"its header names {len(first)}" if has_header else "the file has no header"
        raise ValueError(f"{path} has no column {column!r}: {known}")
    return first.index(column), lines[1:]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _value(path: Path, number: int, row: list[str], index: int, counts: bool) -> float:
    text = row[index].strip() if index < len(row) else ""
    value = _number(text)
    if value is None:
        raise ValueError(f"{path}:{number}: not a number")
    if counts:
        if not 0 <= value < np.inf or value % 1:
            raise ValueError(f"{path}:{number}: a count must be a whole number, 0 or more")
    elif not np.isfinite(value) or value <= 0:
        raise ValueError(f"{path}:{number}: a time must be positive and finite")
    return value
