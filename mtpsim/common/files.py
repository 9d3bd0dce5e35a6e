"""Files that an experiment names: read with limits, and never repeated in messages.

An experiment received from elsewhere may name any file of its reader.
"""

import csv
import stat
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from mtpsim.common.errors import nearest_file

P = ParamSpec("P")
Found = TypeVar("Found")
MAX_BYTES = 1 << 26  # of a file of numbers; 64 MiB are five million times


def check_named_file(path: Path) -> None:
    """Check that a path is a file, and not a device or a pipe, which may never end.

    Raises:
        ValueError: It is not; the message names the path.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"can't read {path}: {reason}{nearest_file(path)}") from None
    if not stat.S_ISREG(mode):
        reason = "Is a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise ValueError(f"can't read {path}: {reason}")


def read_named_file(path: Path) -> str:
    """Text of a file of numbers.

    Raises:
        ValueError: It can't be read, is larger than ``MAX_BYTES`` or is not UTF-8; the message
            names the path and holds nothing of the file.
    """
    check_named_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from None


def csv_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Rows of a CSV file that have a cell, each with its line, from 1.

    Raises:
        ValueError: As of :func:`read_named_file`, or a line is not CSV.
    """
    rows = csv.reader(read_named_file(path).splitlines())
    try:
        return [(rows.line_num, [cell.strip() for cell in row]) for row in rows if any(row)]
    except csv.Error:  # as of a cell of more than 131,072 characters
        raise ValueError(f"{path}:{rows.line_num}: not a CSV line") from None


def read_once(files: int) -> Callable[[Callable[P, Found]], Callable[P, Found]]:
    """Let a function, whose first argument is a path, keep what it returns until the file changes.

    Args:
        files (int): Most files and further arguments, which are hashable, with a kept result.
    """

    def decorate(function: Callable[P, Found]) -> Callable[P, Found]:
        @lru_cache(files)
        def kept(modified: int, size: int, *args: Any, **keywords: Any) -> Found:
            return function(*args, **keywords)

        @wraps(function)
        def read(*args: P.args, **keywords: P.kwargs) -> Found:
            path = args[0]
            assert isinstance(path, Path)
            check_named_file(path)
            status, named = path.stat(), cast("dict[str, Any]", keywords)
            return kept(status.st_mtime_ns, status.st_size, *args, **named)

        return read

    return decorate
