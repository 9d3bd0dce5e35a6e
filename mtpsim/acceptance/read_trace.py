"""Recorded requests from a file, for a trace: any log that tells rounds one by one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mtpsim.common.errors import InputError, nearest_file

if TYPE_CHECKING:
    from mtpsim.logs import Rounds

EVERY = 2**62  # requests to keep: all


def read_requests(path: Path, depth: int | None) -> Rounds:
    """Read recorded requests, in the order of the file.

    Args:
        path: JSON lines, CSV, or the log of an engine; see :mod:`mtpsim.logs`.
        depth: drafts a round, where the file does not tell.

    Raises:
        ValueError: what is wrong with the file, with its path and line.

    """
    try:
        stamp = path.stat()
        return _read(path, depth, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}{nearest_file(path)}") from None


@lru_cache(maxsize=8)
def _read(path: Path, depth: int | None, modified: int, size: int) -> Rounds:
    from mtpsim.logs import Answers, read_logs  # only who replays a log pays for its readers

    try:
        log = read_logs([path], Answers(depth=depth), keep=EVERY)
    except InputError as error:
        told = "; ".join(map(str, error.problems))
        raise ValueError(told.replace("say --depth K", "give `depth`")) from None
    if log.level != "rounds" or log.sequence is None:
        (source,) = log.sources
        raise ValueError(
            f"{path} is a log of {source.format} that has {log.level}; a trace needs rounds one by "
            "one (mtpsim fit makes a model of it)"
        )
    return log.sequence
