"""Step times from a CSV file, or from what an engine prints or saves when it starts.

SGLang prints "Verify cost (tokens: ms) 8: 8.71, 16: 8.77. Draft cost (requests: ms) 1: 1.74"; vLLM
saves a profile with "verify_curve" and "draft_curve", and prints both tables at log level DEBUG.
"""

import csv
import re
from functools import lru_cache
from pathlib import Path

from mtpsim.common.files import check_named_file, read_named_file

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
    check_named_file(path)
    stamp = path.stat()
    return _read(path, along, across, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, along: str, across: str, modified: int, size: int) -> Curves:
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
