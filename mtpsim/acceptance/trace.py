"""``trace``: recorded requests, drawn again with replacement and played as they were."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.read_trace import read_requests
from mtpsim.acceptance.recording import Recording
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth
from mtpsim.common.text import counted


class Trace(AcceptanceModel):
    """A bootstrap of whole requests.

    By ``round`` an entry is a round of the engine: it tells of shallower depths only what they
    would have accepted in the same rounds. By ``position`` an entry tells how many drafts a round
    would accept that begins there: any depth is then played exactly.
    """

    model: Literal["trace"]
    file: str = Field(
        description="a log that tells rounds one by one: JSON lines, CSV, an engine's"
    )
    by: Literal["round", "position"] = Field(
        "round", description="what an entry is: a round, or a position of the text"
    )
    depth: Depth | None = Field(
        None, description="drafts a round as recorded; needed where the file doesn't say"
    )
    _recording: Recording | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder", Path())
        found = read_requests(Path(folder, self.file), self.depth)
        shortest, longest = int(found.drafted.min()), int(found.drafted.max())
        if shortest != longest:
            raise FieldError(
                f"rounds of {shortest} to {longest} drafts are recorded; a replay "
                "needs one depth, as a short draft hides what a longer one would have accepted "
                "(mtpsim fit makes a model of such a log)",
                key="file",
            )
        if self.depth not in (None, longest):
            raise FieldError(
                f"{self.depth} is given, but the file has {counted(longest, 'draft')} a round",
                key="depth",
            )
        self._recording = Recording(
            found.accepted.astype(np.int32),
            found.begins,
            longest,
            "token" if self.by == "position" else "round",
        )
        return self

    def chain(self) -> Recording:
        """The requests as they were recorded."""
        assert self._recording is not None  # validation has read it
        return self._recording

    def warnings(self) -> list[str]:
        """Few recorded requests say little, however many are simulated."""
        count = self.chain().requests
        if count >= 30:
            return []
        return [
            f"{counted(count, 'recorded request', 'are')} drawn again and again: the intervals "
            "tell of these requests, not of the workload that they came from"
        ]
