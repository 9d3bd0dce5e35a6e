"""Measured times from a file: one number per line, or a column of a CSV file."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import nearest, nearest_file

Lines = list[tuple[int, list[str]]]  # number in the file, from 1, and cells


def read_samples(path: Path, column: str | None = None) -> Floats:
    """Read positive times.

    Args:
        path (Path): UTF-8 text: one number per line, or CSV with a header.
        column (str | None): Name of the CSV column; required if there are several.

    Returns:
        Floats: ``[n]`` times in the order of the file.

    Raises:
        ValueError: The file can't be read, or a time is invalid; with path and line.
    """
    try:
        stamp = path.stat()
        return _read(path, column, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}{nearest_file(path)}") from None


@lru_cache(maxsize=64)
def _read(path: Path, column: str | None, modified: int, size: int) -> Floats:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from None
    lines = [(n, row) for n, row in enumerate(csv.reader(text.splitlines()), 1) if any(row)]
    if not lines:
        raise ValueError(f"{path} is empty; it needs at least one time")
    index, lines = _find_column(path, lines, column)
    values = np.array([_time(path, number, row, index) for number, row in lines])
    if not values.size:
        raise ValueError(f"{path} has a header but no times")
    return values


def _find_column(path: Path, lines: Lines, column: str | None) -> tuple[int, Lines]:
    """Index of the column, and the lines without the header."""
    first = [cell.strip() for cell in lines[0][1]]
    has_header = any(_number(cell) is None for cell in first)
    if column is None:
        if len(first) > 1:
            names = f": {', '.join(first)}" if has_header else " (it has no header to name them)"
            raise ValueError(f"{path} has {len(first)} columns; say which one with `column`{names}")
        return 0, lines[1:] if has_header and len(lines) > 1 else lines
    if not has_header or column not in first:
        hint = nearest(column, first) if has_header else ""
        known = ", ".join(first) if has_header else "none: the file has no header"
        raise ValueError(f"{path} has no column {column!r} (columns: {known}){hint}")
    return first.index(column), lines[1:]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time(path: Path, number: int, row: list[str], index: int) -> float:
    text = row[index].strip() if index < len(row) else ""
    value = _number(text)
    if value is None:
        raise ValueError(f"{path}:{number}: {text!r} is not a number")
    if not np.isfinite(value) or value <= 0:
        raise ValueError(f"{path}:{number}: {text} is given; a time must be positive and finite")
    return value
