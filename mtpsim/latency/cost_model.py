"""The base class of cost models: the time of a step by batch size and depth.

A verify at depth k is one pass of the target over ``batch * (k + 1)`` tokens; a plain step is the
same pass at depth 0. One line or curve therefore gives all times, and a sweep over
``latency.batch`` shows the batch size beyond which drafting is slower than plain decoding.
"""

from abc import abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative
from mtpsim.latency.stated_times import LatencySpec
from mtpsim.latency.step_costs import StepCosts, new_costs
from mtpsim.latency.times import Milliseconds, Times, by_depth, describe, tokens_by_depth

TokenCount = Annotated[float, Field(ge=0, le=1e9)]
POOR_FIT = 0.03  # relative error of a fitted step above which differences are not reliable
EVERY_REQUEST, FINER = 32, 1.09  # rows of a sampled law: each request up to 32, then 9 % apart


class CostModel(LatencySpec):
    """Step times of a batch of requests that decode together.

    A subclass gives the time of a pass of the target: :meth:`step` and, as text, :meth:`formula`.
    """

    batch: Annotated[float, Field(ge=1, le=1e6)] = Field(
        1.0, description="number of requests that decode together"
    )
    draft: Times = Field(
        description="drafting, ms: a number, a list by depth, or { base, per_token }"
    )
    draft_per_request: Milliseconds = Field(
        0.0, description="ms per drafted token and request of the batch"
    )
    draft_overlap: bool = Field(
        False, description="the next drafts are made during the verify; the longer one counts"
    )
    ranks: Annotated[int, Field(ge=1, le=4096)] = Field(
        1, description="data-parallel ranks that share the requests; the fullest sets the time"
    )
    fit_error: NonNegative = Field(
        0.0, description="largest relative error at a measured step, if the model was fitted"
    )

    def warnings(self) -> list[str]:
        """Warnings for a reader of the results, without repetition."""
        if self.fit_error <= POOR_FIT:
            return super().warnings()
        return [
            f"the {type(self).__name__.lower()} cost model is off by "
            f"{100 * self.fit_error:.2g} % at a measured step, so smaller "
            "differences between depths are not reliable; the latency model 'table' uses "
            "measured times as they are",
            *super().warnings(),
        ]

    @abstractmethod
    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step of the target.

        Args:
            batch (float): Number of requests that decode together.
            depth (Floats): ``[n]`` depths; 0 is a plain step.

        Returns:
            Floats: ``[n]`` ms.
        """

    def times(self, depth: int, drafted: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean times for depths 0 to ``depth``; ``drafted`` as of :class:`LatencySpec`."""
        batch = self.rank_batch(self.batch)
        verify = self.step(batch, tokens_by_depth(depth, drafted))
        draft = self.draft_times(batch, depth, drafted)
        return verify, np.maximum(draft - verify, 0.0) if self.draft_overlap else draft

    def rank_batch(self, batch: float) -> float:
        """Requests of the fullest of the data-parallel ranks."""
        return batch if self.ranks == 1 else float(np.ceil(batch / self.ranks))

    def round_times(
        self, depth: int, drafted: Floats | None = None, block: int | None = None
    ) -> tuple[Floats, Floats]:
        """:meth:`times` of a drafter that pays for ``block`` drafts at every depth from 1 on."""
        verify, draft = super().round_times(depth, drafted, block)
        if block and self.draft_overlap:
            draft[1:] = np.maximum(draft[1:] - verify[1:], 0.0)
        return verify, draft

    def draft_time(self, passes: int) -> float:
        """Mean time in ms of a round's drafts in so many passes."""
        return float(self.draft_times(self.rank_batch(self.batch), passes)[-1])

    def draft_times(self, batch: float, depth: int, drafted: Floats | None = None) -> Floats:
        """Time of drafting for ``batch`` requests at depths 0 to ``depth``, ``[depth + 1]`` ms."""
        tokens = tokens_by_depth(depth, drafted)[1:]
        draft = by_depth(self.draft, depth) + self.draft_per_request * batch * tokens
        return np.append(0.0, draft)

    def step_costs(
        self,
        depth: int,
        max_tokens: int,
        max_requests: int,
        drafted: Floats | None = None,
        block: int | None = None,
    ) -> StepCosts:
        """Step times for an engine whose steps differ in tokens, requests and cached tokens.

        Args:
            depth (int): Greatest depth of a draft.
            max_tokens (int): Most tokens of a pass.
            max_requests (int): Most requests of a pass.
            drafted (Floats | None): Drafted tokens by depth, as of :meth:`times`.
            block (int | None): Drafts that are paid for at every depth, as of :meth:`round_times`.
        """
        requests = range(max_requests + 1)
        draft = np.array([self.draft_times(float(n), depth, drafted) for n in requests]).T
        if block:
            draft[1:] = [self.draft_times(float(n), block)[-1] for n in requests]
        costs = self.pass_costs(draft, np.arange(max_tokens + 1.0))
        return costs._replace(
            overhead_off=self.overhead_off, ranks=self.ranks, overlap=self.draft_overlap
        )

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``; here :meth:`step` is sampled.

        Args:
            draft (Floats): ``[K + 1, R + 1]`` ms by depth and requests.
            tokens (Floats): ``[T + 1]`` 0 to the most tokens of a pass.
        """
        most = draft.shape[1] - 1
        coarse = max(np.ceil(np.log(max(most / EVERY_REQUEST, 1)) / np.log(FINER)), 1)
        nodes = np.geomspace(min(most, EVERY_REQUEST), most, int(coarse) + 1)
        nodes = np.unique(np.append(np.arange(1, min(most, EVERY_REQUEST)), np.rint(nodes)))
        times = [self.step(float(count), tokens / count - 1) for count in nodes]
        return new_costs(draft, np.maximum(times, 0.0), nodes)

    def at_batch(
        self, batch: float, depth: int, drafted: Floats | None = None, block: int | None = None
    ) -> tuple[Floats, Floats]:
        """:meth:`round_times` at another batch size."""
        return self.model_copy(update={"batch": batch}).round_times(depth, drafted, block)

    def wrong_lengths(self, depth: int, drafted: Floats | None = None) -> dict[str, str]:
        """Lists of times whose length does not fit the depth."""
        try:
            by_depth(self.draft, depth)
        except ValueError as error:
            return {"draft": str(error)}
        return {}

    @abstractmethod
    def formula(self) -> str:
        """The time of a step as text."""

    def describe(self) -> list[str]:
        """The section as text, one line per part."""
        drafting = self.drafting()
        if self.draft_per_request:
            drafting += f" + {self.draft_per_request:g} ms per draft and request"
        if self.draft_overlap:
            drafting += ", during the verify"
        ranks = f" over {self.ranks} ranks" if self.ranks > 1 else ""
        return [
            f"batch of {self.batch:g}{ranks}",
            f"step: {self.formula()}",
            f"draft: {drafting}",
            *self.describe_noise(),
        ]

    def drafting(self) -> str:
        """The time of drafting as text."""
        return describe(self.draft)


def reading_text(per_cached: float, per_cached_token: float, cached: float) -> str:
    """The time to read the cached tokens as text; empty if it takes none."""
    if not cached or not (per_cached or per_cached_token):
        return ""
    each = f"({per_cached:g} + {per_cached_token:g} (k + 1))"
    return f" + {each if per_cached_token else f'{per_cached:g}'} ms x {cached:g} cached x B"
