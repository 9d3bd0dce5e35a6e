"""Recorded requests played without chance: each once, round by round, at one depth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance.recording import Recording

Ints = npt.NDArray[np.int32]


def play(
    recording: Recording, requests: slice, depth: int, *, rounds: int = 0, tokens: int = 0
) -> Ints:
    """Play recorded requests at ``depth``.

    Args:
        recording: what was recorded.
        requests: which of its requests.
        depth: 0..K.
        rounds: horizon in rounds, or
        tokens: in tokens. With neither a request ends with its record. One that is longer than
            its record goes on from the record's beginning.

    Returns:
        ``[n, rounds]`` accepted drafts of each round; -1 after a request's last one.

    """
    first = recording.begins[:-1][requests]
    length = recording.lengths[requests]
    by_position = recording.clock == "token"
    most_tokens = tokens or (length if by_position and not rounds else np.inf)
    most_rounds = rounds or (length if not (by_position or tokens) else np.inf)
    at, made = np.zeros(first.size, np.int64), np.zeros(first.size, np.int64)
    played: list[Ints] = []
    while (live := (made < most_tokens) & (len(played) < most_rounds)).any():
        accepted = np.minimum(recording.accepted[first + at % length], depth)
        played.append(np.where(live, accepted, -1).astype(np.int32))
        made += accepted + 1
        at += accepted + 1 if by_position else 1
    return np.stack(played, axis=1)
