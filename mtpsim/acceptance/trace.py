"""``trace``: recorded requests, resampled with replacement."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.recording import Recording
from mtpsim.common.errors import FieldError, InputError, Problem
from mtpsim.common.files import check_named_file
from mtpsim.common.section import Depth
from mtpsim.common.text import counted

if TYPE_CHECKING:
    from mtpsim.logs import Rounds

QUOTED = re.compile(r"(?s)['\"](.*?)['\"]")
FIELDS = ("request", "accepted", "drafted", "seconds")  # names that are not content
EVERY = 2**62  # requests to keep: all


class Trace(AcceptanceModel):
    """A bootstrap of whole requests.

    With ``by = "round"`` an entry is a round of the engine; lower depths are evaluated on the same
    rounds, which is an approximation. With ``by = "position"`` an entry is the number of drafts
    that a round beginning at this text position would accept; every depth is then exact.
    """

    model: Literal["trace"]
    file: str = Field(
        description="log with one entry per round: JSON lines, CSV or an engine's log"
    )
    by: Literal["round", "position"] = Field(
        "round", description="whether an entry of the log is a round or a text position"
    )
    depth: Depth | None = Field(
        None, description="recorded drafts per round; required if the file does not contain it"
    )
    _recording: Recording | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder", Path())
        found = read_requests(Path(folder, self.file), self.depth)
        shortest, longest = int(found.drafted.min()), int(found.drafted.max())
        if shortest != longest:
            raise FieldError(
                f"rounds of {shortest} to {longest} drafts are recorded; a replay requires one "
                "depth, since a shorter draft does not show what a longer one would have accepted "
                "(use mtpsim fit for such a log)",
                key="file",
            )
        if self.depth not in (None, longest):
            raise FieldError(
                f"{self.depth} is given, but the file has {counted(longest, 'draft')} per round",
                key="depth",
            )
        self._recording = Recording(
            found.accepted.astype(np.int32),
            found.offsets,
            longest,
            "token" if self.by == "position" else "round",
        )
        return self

    def chain(self) -> Recording:
        """The requests as they were recorded."""
        assert self._recording is not None  # validation has read it
        return self._recording

    def warnings(self) -> list[str]:
        """Warn of few recorded requests: more simulated ones add no information."""
        count = self.chain().requests
        if count >= 30:
            return []
        return [
            f"only {counted(count, 'recorded request', 'are')} resampled: the intervals describe "
            "these requests, not the workload they came from"
        ]


def read_requests(path: Path, depth: int | None) -> "Rounds":
    """Read recorded requests, in the order of the file.

    Args:
        path: JSON lines, CSV, or the log of an engine; see :mod:`mtpsim.logs`.
        depth: drafts per round; used where the file does not state it.

    Raises:
        ValueError: what is wrong with the file, with its path and line.
    """
    check_named_file(path)
    stamp = path.stat()
    return _read(path, depth, stamp.st_mtime_ns, stamp.st_size)


def _without_content(problem: Problem) -> Problem:
    """A problem of a log without what is in the log."""
    key = "depth" if problem.key == "--depth" else problem.key
    message = QUOTED.sub(lambda found: found[0] if found[1] in FIELDS else "'…'", problem.message)
    return replace(problem, key=key, message=message, given=None, suggestion=None)


@lru_cache(maxsize=8)
def _read(path: Path, depth: int | None, modified: int, size: int) -> "Rounds":
    from mtpsim.logs import Answers, read_logs  # imported only if a log is replayed

    try:
        log = read_logs([path], Answers(depth=depth), keep=EVERY)
    except InputError as error:
        raise ValueError("; ".join(str(_without_content(p)) for p in error.problems)) from None
    if log.level != "rounds" or log.sequence is None:
        (file,) = log.files
        raise ValueError(
            f"{path} is a {file.format} log of granularity {log.level}; a trace needs rounds in "
            "order (mtpsim fit makes a model of it)"
        )
    return log.sequence
