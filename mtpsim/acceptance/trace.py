"""``trace``: recorded requests, resampled with replacement or played in order."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.recording import Recording
from mtpsim.acceptance.replay_file import is_replay_file, read_replay_file
from mtpsim.common.errors import FieldError, InputError, Problem
from mtpsim.common.files import check_named_file, read_once
from mtpsim.common.section import Depth
from mtpsim.common.text import counted

if TYPE_CHECKING:
    from mtpsim.logs import Rounds

QUOTED = re.compile(r"(?s)['\"](.*?)['\"]")
FIELDS = ("request", "accepted", "drafted", "seconds", "confidence")  # names that are not content
EVERY = 2**62  # requests to keep: all


class Trace(AcceptanceModel):
    """A bootstrap of whole requests, or each of them once.

    With ``by = "round"`` an entry is a round of the engine; lower depths are evaluated on the same
    rounds, which is an approximation. With ``by = "position"`` an entry is the number of drafts
    that a round beginning at this text position would accept; every depth is then exact.
    """

    model: Literal["trace"]
    file: str = Field(
        description="log with one entry per round: JSON lines, CSV or an engine's log; or a "
        "replay that `mtpsim fit` wrote"
    )
    by: Literal["round", "position"] = Field(
        "round", description="whether an entry of the log is a round or a text position"
    )
    depth: Depth | None = Field(
        None,
        description="recorded drafts per round; required if the file does not contain it; of a "
        "replay, the most drafts of a round",
    )
    order: Literal["resampled", "recorded"] = Field(
        "resampled",
        description="whether each simulated request is drawn at random, with replacement, or they "
        "are those of the file in turn: as many `requests` as the file has play each once",
    )
    draw: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="which draw of a replay is played, from 1; default: all, which differ in what "
        "the log does not show",
    )
    _recording: Recording | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        path = Path((info.context or {}).get("folder", Path()), self.file)
        check_named_file(path)
        found = self._replay(path) if is_replay_file(path) else self._log(path)
        self._recording = replace(found, in_order=self.order == "recorded")
        return self

    def _replay(self, path: Path) -> Recording:
        replay = read_replay_file(path)
        if self.by != "position":
            raise FieldError(f'"{self.by}" is given, but a replay is by "position"', key="by")
        depth, draws = self.depth or replay.depth, len(replay.accepted)
        for key, given, most in (("depth", depth, replay.depth), ("draw", self.draw or 1, draws)):
            if given > most:
                raise FieldError(f"{given} is given; it is at most {most} in the file", key=key)
        return replay.recording(depth, self.draw)

    def _log(self, path: Path) -> Recording:
        if self.draw is not None:
            raise FieldError("only a replay that `mtpsim fit` wrote has draws", key="draw")
        found = read_requests(path, self.depth)
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
        confidence = found.confidence
        if confidence is not None and np.isnan(confidence).any():  # some requests have none
            confidence = None
        by_position, depth = self.by == "position", 0 if self.by == "position" else longest
        return Recording(
            found.accepted.astype(np.int32),
            found.offsets,
            longest,
            "token" if by_position else "round",
            recorded_depth=depth,
            recorded_length=float(1 + found.accepted.mean()),
            confidence=confidence,
        )

    def chain(self) -> Recording:
        """The requests as they were recorded."""
        assert self._recording is not None  # validation has read it
        return self._recording

    def warnings(self) -> list[str]:
        """Warn of few recorded requests, and of depths that were not recorded."""
        source, found = self.chain(), []
        count = source.requests // source.draws
        if count < 30:
            found.append(
                f"only {counted(count, 'recorded request', 'are')} "
                f"{'played' if source.in_order else 'resampled'}: the intervals describe these "
                "requests, not the workload they came from"
            )
        if 0 < source.deepest < source.depth:
            found.append(
                f"depths above {source.deepest} are deeper than recorded: the replay "
                "extrapolates them"
            )
        return found


def _without_content(problem: Problem) -> Problem:
    """A problem of a log without what is in the log."""
    key = "depth" if problem.key == "--depth" else problem.key
    message = QUOTED.sub(lambda found: found[0] if found[1] in FIELDS else "'…'", problem.message)
    return replace(problem, key=key, message=message, given=None, suggestion=None)


@read_once(8)
def read_requests(path: Path, depth: int | None) -> "Rounds":
    """Read recorded requests, in the order of the file.

    Args:
        path: JSON lines, CSV, or the log of an engine; see :mod:`mtpsim.logs`.
        depth: drafts per round; used where the file does not state it.

    Raises:
        ValueError: what is wrong with the file, with its path and line.
    """
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
