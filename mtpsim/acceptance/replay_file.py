"""A file of replayed requests: several draws of what each text position would accept.

It is a NumPy archive (``numpy.load`` reads it): ``accepted`` ``[draws, positions]``, where each
request begins in ``offsets`` ``[requests + 1]``, the deepest draft ``depth``, and of the log the
``recorded_depth`` (0: several), its ``accept_length`` and its ``deepest`` draft. ``widening`` is a
factor on standard errors over requests.
"""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance.recording import Recording
from mtpsim.common.files import read_once

ZIP = b"PK\x03\x04"
MAX_BYTES = 1 << 30  # of the arrays
FIELDS = ("accepted", "offsets", "depth", "recorded_depth", "accept_length", "deepest", "widening")


@dataclass(frozen=True)
class ReplayFile:
    """Replayed requests.

    Attributes:
        accepted: ``[D, N]`` drafts that a round would accept which begins at each position, by
            draw.
        offsets: ``[R + 1]`` index of the first position of each request.
        depth: most drafts of a round.
        recorded_depth: depth of the rounds in the log; 0 if they have several.
        accept_length: accept length of the log.
        deepest: deepest draft of the log.
        widening: factor on standard errors over requests.
    """

    accepted: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    depth: int
    recorded_depth: int
    accept_length: float
    deepest: int
    widening: float

    def recording(self, depth: int, draw: int | None) -> Recording:
        """Return the requests of a draw, or those of all draws one after the other.

        Args:
            depth: most drafts of a round.
            draw: number of the draw, from 1; None: all.
        """
        chosen = self.accepted if draw is None else self.accepted[draw - 1 : draw]
        draws, positions = chosen.shape
        starts = self.offsets[:-1] + positions * np.arange(draws)[:, None]
        return Recording(
            np.minimum(chosen, depth).astype(np.int32).ravel(),
            np.append(starts.ravel(), draws * positions),
            depth,
            "token",
            draws=draws,
            recorded_depth=self.recorded_depth,
            recorded_length=self.accept_length,
            deepest=self.deepest,
            widening=self.widening,
            whole=True,
        )

    def write(self, path: Path) -> None:
        """Write the file."""
        content = io.BytesIO()
        np.savez_compressed(content, **{name: getattr(self, name) for name in FIELDS})
        path.write_bytes(content.getvalue())


def is_replay_file(path: Path) -> bool:
    """Return whether a file is an archive, as a log never is."""
    with path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP


@read_once(4)
def read_replay_file(path: Path) -> ReplayFile:
    """Read a file of replayed requests.

    Raises:
        ValueError: it is none, with what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"its arrays are larger than {MAX_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            accepted, offsets, *numbers = (arrays[name] for name in FIELDS)
        depth, recorded, length, deepest, widening = (float(one) for one in numbers)
        _check(accepted, offsets, int(depth))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a replay that `mtpsim fit` wrote: {error}") from None
    return ReplayFile(
        accepted,
        offsets,
        depth=int(depth),
        recorded_depth=int(recorded),
        accept_length=length,
        deepest=int(deepest),
        widening=widening,
    )


def _check(accepted: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], depth: int) -> None:
    """Check types and shapes, which the kernels rely on."""
    if accepted.dtype != np.uint8 or accepted.ndim != 2 or not accepted.size:
        raise ValueError("`accepted` must be bytes [draws, positions]")
    if offsets.dtype != np.int64 or offsets.ndim != 1 or offsets.size < 2:
        raise ValueError("`offsets` must be 64-bit integers [requests + 1]")
    if offsets[0] or offsets[-1] != accepted.shape[1] or (np.diff(offsets) < 1).any():
        raise ValueError("`offsets` must rise from 0 to the number of positions")
    if not 1 <= depth <= 64 or accepted.max() > depth:
        raise ValueError(f"`accepted` must be at most `depth`, {depth}, which is 1 to 64")
