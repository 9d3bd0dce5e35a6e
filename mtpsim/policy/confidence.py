"""Laws of the draft's confidence in an accepted and in a rejected draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import NonNegative, Positive, Probability, Spec
from mtpsim.common.text import counted

CELLS = 4096  # of a quantile table; a mass at one is right to half a cell
VALUES = 1024  # equally likely ones that stand for a law
NODES = 20_001  # of the logits that a law is summed over
AUC = 0.8  # default
MARGIN = 1e-9  # rates are clipped to this distance from 0 and 1 to compute odds
Auc = Annotated[float, Field(ge=0.5, lt=1)]
Floats32 = npt.NDArray[np.float32]
Counts = list[NonNegative]


class LawKeys(Spec):
    """Confidence by outcome: histograms of both, or a normal law of its logit."""

    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (("edges", "mean"), ("edges", "sd"))
    edges: list[Probability] = Field(
        default_factory=list, description="ends of the bins of two histograms, ascending"
    )
    accepted: Counts = Field(
        default_factory=list, description="accepted drafts by bin: numbers or shares"
    )
    rejected: Counts = Field(default_factory=list, description="rejected drafts by bin")
    mean: float | None = Field(None, description="mean of the logit of the confidence, not at one")
    sd: Positive | None = Field(None, description="standard deviation of this logit")
    shift: Annotated[float, Field(ge=-20, le=20)] = Field(
        0.0,
        description="logit of the acceptance rate minus that of the confidence; below 0 the draft "
        "is overconfident",
    )
    at_one: list[Probability] = Field(
        default_factory=lambda: [0.0, 0.0],
        min_length=2,
        max_length=2,
        description="shares of accepted and of rejected drafts with a confidence of exactly 1, "
        "beside the law",
    )

    def check(self) -> None:
        """Check that there is one law.

        Raises:
            FieldError: None or two, or histograms that don't fit their edges.
        """
        normal = self.mean is not None or self.sd is not None
        certain = self.at_one == [1.0, 1.0]
        if (self.mean is None) != (self.sd is None) or not (self.edges or normal or certain):
            raise FieldError(
                "give `edges`, `accepted` and `rejected`, or `mean` and `sd`; neither only where "
                "at_one = [1.0, 1.0]"
            )
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise FieldError("must ascend without repetition", key="edges")
        bins = max(len(self.edges) - 1, 0)
        for key in ("accepted", "rejected"):
            counts = getattr(self, key)
            if len(counts) != bins or (counts and not sum(counts)):
                raise FieldError(
                    f"must be {counted(bins, 'number')}, not all 0: one per bin of `edges`", key=key
                )

    def quantiles(self) -> Floats:
        """Confidence at evenly spaced probabilities, ``[2, CELLS + 1]``: rejected, accepted."""
        grid = np.linspace(0, 1, CELLS + 1)
        return np.array(
            [self._quantiles(grid, accepted, self.at_one[1 - accepted]) for accepted in (0, 1)]
        )

    def _quantiles(self, grid: Floats, accepted: int, at_one: float) -> Floats:
        from mtpsim.common.special import expit, ndtri

        if at_one >= 1:
            return np.ones(grid.size)
        if self.edges:
            mass = np.array(self.accepted if accepted else self.rejected, float)
            full = np.flatnonzero(mass)  # an empty bin is a jump from the end before to the next
            ends = np.stack([full, full + 1], -1).ravel()
            values = np.array(self.edges)[ends]
            below = np.append(0.0, np.cumsum(mass) / mass.sum())[ends]
        else:
            logits = (self.mean or 0.0) + (self.sd or 0.0) * ndtri((np.arange(NODES) + 0.5) / NODES)
            values, rate = expit(logits), expit(logits + self.shift)
            mass = rate if accepted else 1 - rate
            below = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
            rising = np.append(True, np.diff(below) > 0)
            values, below = values[rising], below[rising]
        found = np.interp(grid / (1 - at_one), below, values)
        return np.where(grid >= 1 - at_one, 1.0, found) if at_one else found

    def acceptance_rate(self) -> float:
        """Acceptance rate at which a normal law and its shift agree."""
        from mtpsim.common.special import expit, ndtri

        nodes = ndtri((np.arange(NODES) + 0.5) / NODES)
        return float(expit((self.mean or 0.0) + (self.sd or 0.0) * nodes + self.shift).mean())


class ConfidenceLaw(LawKeys):
    """The law of a position, or of a hidden state."""

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        self.check()
        return self


class Confidence(LawKeys):
    """The draft's confidence: one law, or a law by position or hidden state, or its own rate."""

    own_rate: bool = Field(
        False,
        description="the confidence is the acceptance rate of the draft in its hidden state and "
        "position, without an error",
    )
    positions: list[ConfidenceLaw] = Field(
        default_factory=list, max_length=64, description="a law for each position"
    )
    states: list[ConfidenceLaw] = Field(
        default_factory=list,
        max_length=1024,
        description="a law for each hidden state of the acceptance model",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        several = [key for key in ("positions", "states", "own_rate") if getattr(self, key)]
        own = sorted(self.model_fields_set - {"positions", "states", "own_rate"})
        if len(several) > 1 or (several and own):
            given = ", ".join(several + own)
            raise FieldError(
                f"give only one of a law, `positions`, `states` and `own_rate`; given {given}"
            )
        if not several:
            self.check()
        return self

    def tables(self, rates: Floats | None = None) -> Floats:
        """Quantiles ``[2, P, S, CELLS + 1]``; P and S are 1 where laws do not differ by them.

        Args:
            rates: ``[S, P]`` acceptance rates by hidden state and position, for ``own_rate``.
        """
        if self.own_rate and rates is not None:
            return np.tile(rates.T[None, :, :, None], (2, 1, 1, 2))
        laws: Sequence[LawKeys] = self.positions or self.states or [self]
        found = np.array([law.quantiles() for law in laws]).swapaxes(0, 1)
        return found[:, :, None] if self.positions else found[:, None]

    def mismatch(self, depth: int, states: int, *, modelled: bool) -> str | None:
        """Why an acceptance model with these positions and states can't use it, or None.

        Args:
            depth: greatest depth of the model.
            states: number of its hidden states.
            modelled: whether the rates of its states are known, unlike those of recorded requests.
        """
        if self.own_rate and not modelled:
            return "`own_rate` needs a model of hidden states; recorded requests have no such rates"
        for name, found, needed in (
            ("positions", len(self.positions), depth),
            ("states", len(self.states), states),
        ):
            if found and found != needed:
                return f"{found} {name} are given, but the acceptance model has {needed}"
        return None


def separation(auc: float | None) -> float:
    """Distance of the means of two normal distributions of variance 1 with this AUC.

    Args:
        auc: probability that a draw of one exceeds a draw of the other; None: the default.
    """
    from mtpsim.common.special import ndtri

    return float(np.sqrt(2) * ndtri(auc or AUC))


def auc_tables(auc: float | None, rates: Floats) -> Floats:
    """Quantiles of a calibrated confidence, ``[2, P, 1, CELLS + 1]``: rejected, accepted.

    Args:
        auc: probability that an accepted draft has a higher confidence than a rejected one; None:
            the default.
        rates: ``[P]`` acceptance rates by position.
    """
    from mtpsim.common.special import expit, logit, ndtri

    apart, grid = separation(auc), np.linspace(0, 1, CELLS + 1)
    grid[[0, -1]] = 0.25 / CELLS, 1 - 0.25 / CELLS
    scores = ndtri(grid) + apart * np.arange(2)[:, None]
    prior = logit(np.clip(rates, MARGIN, 1 - MARGIN))
    found: Floats = expit(prior[:, None] + apart * (scores[:, None] - apart / 2))
    return found[:, :, None]


def laws_by_outcome(tables: Floats, rates: Floats) -> Floats32:
    """Equally likely confidences, ``[3, P, S, VALUES]``: rejected, accepted, after a rejection.

    A draft after the first rejection continues a text that is discarded. Its confidence is that of
    a draft which is accepted at the rate of its position, and of its state where laws differ by it.

    Args:
        tables: ``[2, P, S, CELLS + 1]`` quantiles: rejected, accepted.
        rates: ``[S, P]`` acceptance rates; S is 1 where laws do not differ by state.
    """
    middles = (np.arange(VALUES) + 0.5) / VALUES
    grid = np.linspace(0, 1, tables.shape[-1])
    known = np.apply_along_axis(lambda law: np.interp(middles, grid, law), -1, tables)
    shape = (2, rates.shape[1], max(rates.shape[0], tables.shape[2]), VALUES)
    rejected, accepted = np.broadcast_to(known, shape)
    both = np.concatenate([rejected, accepted], -1)
    shares = np.broadcast_to(rates.T[..., None], (*shape[1:3], 1))
    weights = np.repeat(np.concatenate([1 - shares, shares], -1) / VALUES, VALUES, -1)
    order = both.argsort(-1, kind="stable")
    both, weights = (np.take_along_axis(x, order, -1) for x in (both, weights))
    below = weights.cumsum(-1) - 0.5 * weights
    after = [
        np.interp(middles, p, values)
        for p, values in zip(
            below.reshape(-1, 2 * VALUES), both.reshape(-1, 2 * VALUES), strict=True
        )
    ]
    return np.stack([rejected, accepted, np.reshape(after, shape[1:])]).astype(np.float32)
