"""Times of an engine's step by tokens, requests and cached tokens, as arrays for the kernels."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats


class StepCosts(NamedTuple):
    """One form for all cost models: a look-up by whole tokens and requests.

    A pass takes ``overhead + per_request R + max(memory(tokens, R) + reading, compute(tokens))``.

    Attributes:
        draft (Floats): ``[K + 1, R + 1]`` ms of drafting by depth and requests; 0 at depth 0 and
            without requests.
        memory (Floats): ``[rows, T + 1]`` ms of the memory-bound part by tokens of the pass; a row
            per measured number of requests.
        row (npt.NDArray[np.intp]): ``[R + 1]`` row below a number of requests.
        share (Floats): ``[R + 1]`` share of the next row, in [0, 1].
        compute (Floats): ``[T + 1]`` ms of the arithmetic by tokens of the pass.
        unread_by_tokens (Floats): ``[T + 1]`` ms; times the factor by requests, the time of the
            experts that no token of the pass activates.
        unread_by_requests (Floats): ``[R + 1]`` that factor.
        overhead (float): ms of every pass.
        per_request (float): ms per request of the pass.
        per_cached (float): ms per cached token, read once per pass.
        per_cached_token (float): ms per cached token and token of its request, if each token of the
            pass reads the context.
        overhead_off (float): Share by which a step without drafts takes longer in an engine that
            has speculation enabled.
        ranks (int): Data-parallel ranks that share the requests; the fullest one sets the time.
        overlap (bool): Whether the next drafts are made during the verify pass.
    """

    draft: Floats
    memory: Floats
    row: npt.NDArray[np.intp]
    share: Floats
    compute: Floats
    unread_by_tokens: Floats
    unread_by_requests: Floats
    overhead: float = 0.0
    per_request: float = 0.0
    per_cached: float = 0.0
    per_cached_token: float = 0.0
    overhead_off: float = 0.0
    ranks: int = 1
    overlap: bool = False


def new_costs(draft: Floats, memory: Floats, requests: Floats | None = None) -> StepCosts:
    """Step costs of a memory-bound pass; `_replace` sets the other parts.

    Args:
        draft (Floats): ``[K + 1, R + 1]`` ms of drafting by depth and requests.
        memory (Floats): ``[rows, T + 1]`` ms of a pass by tokens, a row per entry of ``requests``.
        requests (Floats | None): ``[rows]`` requests of the rows, ascending; None for one row.
    """
    nodes = np.ones(1) if requests is None else np.asarray(requests, float)
    counts = np.arange(draft.shape[1], dtype=float)
    place = np.interp(counts, nodes, np.arange(nodes.size, dtype=float))
    row = np.clip(np.floor(place).astype(np.intp), 0, max(nodes.size - 2, 0))
    return StepCosts(
        draft=np.ascontiguousarray(draft, float),
        memory=np.ascontiguousarray(memory, float),
        row=row,
        share=place - row,
        compute=np.zeros(memory.shape[1]),
        unread_by_tokens=np.zeros(memory.shape[1]),
        unread_by_requests=np.zeros(draft.shape[1]),
    )
