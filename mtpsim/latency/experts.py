"""Experts that a pass of a mixture of experts reads, if neighbouring tokens share some of them."""

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.latency.step_costs import StepCosts

OVERLAP = "share of its experts that a token has in common with the token before; else by chance"


def experts_hit(
    experts: int, active: int, tokens: Floats, requests: float = 0.0, overlap: float | None = None
) -> Floats:
    """Expected number of experts per layer that a pass reads.

    Args:
        experts (int): Routed experts per layer.
        active (int): Routed experts that each token activates.
        tokens (Floats): ``[n]`` tokens of the pass.
        requests (float): Requests that the tokens belong to; only used with ``overlap``.
        overlap (float | None): Share of its experts that a token has in common with the token
            before it in the same request; None: all tokens choose independently.

    Returns:
        Floats: ``[n]`` experts.
    """
    if overlap is None:
        return np.asarray(experts * (1 - (1 - active / experts) ** tokens))
    first, next_one = _missing(experts, active, overlap)
    return np.asarray(experts * (1 - first**requests * next_one ** (tokens - requests)))


def _missing(experts: int, active: int, overlap: float) -> tuple[float, float]:
    """Probability that a token does not activate an expert: its first one, and each next one."""
    share = active / experts
    if share == 1:
        return 0.0, 1.0
    return 1 - share, 1 - share * (1 - overlap) / (1 - share)


def overlap_text(overlap: float | None) -> str:
    """The overlap of experts as text; empty if tokens choose independently."""
    return "" if overlap is None else f", {100 * overlap:g} % of them those of the token before"


def check_overlap(experts: int, active: int, overlap: float | None) -> None:
    """Refuse an overlap that so many active experts can't have.

    Raises:
        FieldError: It is too small.
    """
    least = max(2 - experts / active, 0)
    if overlap is not None and overlap < least:
        raise FieldError(
            f"{overlap:g} is given; {active} of {experts} experts share at least {least:.3g}",
            key="expert_overlap",
        )


def add_experts(
    costs: StepCosts, per_expert: float, experts: int, active: int, overlap: float | None
) -> StepCosts:
    """Add the time to read experts to the costs of a pass.

    Args:
        costs (StepCosts): Costs without experts.
        per_expert (float): ms to read one expert, over all layers.
        experts (int): Routed experts per layer.
        active (int): Routed experts that each token activates.
        overlap (float | None): As of :func:`experts_hit`.

    Returns:
        StepCosts: Costs with experts.
    """
    tokens = np.arange(float(costs.compute.size))
    if overlap is None:
        read = per_expert * experts_hit(experts, active, tokens)
        return costs._replace(memory=costs.memory + read)
    first, next_one = _missing(experts, active, overlap)
    return costs._replace(
        memory=costs.memory + per_expert * experts,
        unread_by_tokens=per_expert * experts * next_one**tokens,
        unread_by_requests=(first / next_one) ** np.arange(float(costs.row.size)),
    )
