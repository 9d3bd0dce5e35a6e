"""``trace``: recorded requests, drawn again with replacement and played as they were."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.recording import Recording
from mtpsim.acceptance.records import Request, read_requests
from mtpsim.spec import Depth


class Trace(AcceptanceModel):
    """A bootstrap of whole requests.

    By ``round`` an entry is a round of the engine: it tells of shallower depths only what they
    would have accepted in the same rounds. By ``position`` an entry tells how many drafts a round
    would accept that begins there: any depth is then played exactly.
    """

    model: Literal["trace"]
    file: str = Field(description="JSON lines or CSV of recorded requests")
    by: Literal["round", "position"] = Field(
        "round", description="what an entry is: a round, or a position of the text"
    )
    depth: Depth | None = Field(
        None, description="drafts a round as recorded; needed where the file doesn't say"
    )
    _requests: tuple[Request, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder", Path())
        self._requests = read_requests(Path(folder, self.file))
        drafted = {d for _, drafts in self._requests for d in drafts or ()}
        known = all(drafts for _, drafts in self._requests)
        if len(drafted) > 1:
            raise ValueError(
                f"`file`: rounds of {min(drafted)} to {max(drafted)} drafts are recorded; a replay "
                "needs one depth, as a short draft hides what a longer one would have accepted"
            )
        if self.depth is None and not (known and drafted):
            raise ValueError('`depth` is missing, and the file has no "drafted" to tell it')
        if drafted and self.depth not in (None, *drafted):
            raise ValueError(
                f"`depth`: {self.depth} is given, but the file has {min(drafted)} drafts a round"
            )
        if drafted and not 1 <= min(drafted) <= 64:
            raise ValueError(f"`file`: {min(drafted)} drafts a round; 1 to 64 are possible")
        self._check_counts(self.depth or min(drafted))
        return self

    def _check_counts(self, depth: int) -> None:
        for number, (accepted, _) in enumerate(self._requests, 1):
            if max(accepted) > depth:
                entry = next(n for n, a in enumerate(accepted, 1) if a > depth)
                raise ValueError(
                    f"`file`: request {number} accepts {accepted[entry - 1]} drafts in entry "
                    f"{entry}, but the depth is {depth}"
                )

    def chain(self) -> Recording:
        """The requests as they were recorded."""
        lengths = [len(accepted) for accepted, _ in self._requests]
        drafted = self._requests[0][1]
        return Recording(
            np.concatenate([np.array(accepted, np.int32) for accepted, _ in self._requests]),
            np.concatenate([[0], np.cumsum(lengths)]),
            self.depth or (drafted or [0])[0],
            "token" if self.by == "position" else "round",
        )

    def warnings(self) -> list[str]:
        """Few recorded requests say little, however many are simulated."""
        count = len(self._requests)
        if count >= 30:
            return []
        return [
            f"{count} recorded requests are drawn again and again: the intervals tell of these "
            "requests, not of the workload that they came from"
        ]
