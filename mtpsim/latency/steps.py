"""The cost model ``steps``: measured passes by tokens, as engines print them at start-up."""

from typing import Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.latency.cost_model import CostModel, TokenCount, reading_text
from mtpsim.latency.step_costs import StepCosts, new_costs
from mtpsim.latency.step_tables import Drafting, DraftTable, VerifyTable, describe_drafting
from mtpsim.latency.times import tokens_by_depth


class Steps(CostModel):
    """Step times measured by tokens of the pass, linear between; graphs end at a limit.

    A pass over B (k + 1) tokens takes the measured time of as many tokens, and the time to read the
    cached tokens of the batch. `per_request`, or a table with a row per number of requests, states
    how much more a token of another request takes than one more token of the same request.
    """

    model: Literal["steps"]
    verify: VerifyTable = Field(description="a pass of the target: measured ms by tokens")
    draft: Drafting = Field(  # type: ignore[assignment]
        description="drafting, ms: { requests, ms }, a number, a list by depth, or "
        "{ base, per_token }"
    )
    cached: TokenCount = Field(0.0, description="cached tokens per request (context length)")

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        table = self.verify
        each = table.per_cached + table.per_cached_token * (depth + 1)
        return table.pass_ms(batch * (depth + 1), batch) + each * self.cached * batch

    def draft_times(self, batch: float, depth: int, drafted: Floats | None = None) -> Floats:
        """Time of drafting for ``batch`` requests at depths 0 to ``depth``, ``[depth + 1]`` ms."""
        if not isinstance(self.draft, DraftTable):
            return super().draft_times(batch, depth, drafted)
        each = self.draft_per_request * batch * tokens_by_depth(depth, drafted)[1:]
        return np.append(0.0, self.draft.times(batch, depth) + each)

    def wrong_lengths(self, depth: int, drafted: Floats | None = None) -> dict[str, str]:
        """Lists of times whose length does not fit the depth."""
        if not isinstance(self.draft, DraftTable):
            return super().wrong_lengths(depth, drafted)
        most = self.draft.depth
        if most is None or depth <= most:
            return {}
        return {
            "draft": f"depths 1 to {most} are measured, but the acceptance model has depth {depth}"
        }

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``, from the formula."""
        table = self.verify
        rows = np.array([table.curve(tokens, row) for row in range(table.rows.size)])
        return new_costs(draft, rows, table.rows)._replace(
            per_request=table.per_request,
            per_cached=table.per_cached,
            per_cached_token=table.per_cached_token,
        )

    def warnings(self) -> list[str]:
        """Warnings for a reader of the results, without repetition."""
        return [*self.verify.warnings(), *super().warnings()]

    def formula(self) -> str:
        """The time of a step as text."""
        table = self.verify
        each = f" + {table.per_request:g} B ms" if table.per_request else ""
        read = reading_text(table.per_cached, table.per_cached_token, self.cached)
        return table.describe() + each + read

    def drafting(self) -> str:
        """The time of drafting as text."""
        return describe_drafting(self.draft)

    def usual_depth(self, depth: int) -> int:
        """Greatest depth, up to ``depth``, at which the batch replays a graph."""
        most = self.verify.most_depth(self.rank_batch(self.batch))
        return depth if most is None else min(depth, max(most, 0))

    def depth_warnings(self, depth: int) -> list[str]:
        """Warnings about depths 0 to ``depth``, one sentence each."""
        table, batch = self.verify, self.rank_batch(self.batch)
        most, tokens = table.most_depth(batch), batch * (depth + 1)
        found = []
        if most is not None and most < depth:
            graph = f"depth {most} is the last that replays a graph" if most >= 0 else "none does"
            found.append(
                f"a batch of {batch:g} at depth {depth} verifies {tokens:,.0f} tokens, and graphs "
                f"end at {table.limit:,}: {graph}"
            )
        if tokens > table.last:
            found.append(
                f"passes of up to {table.last:,} tokens were measured, and a batch of {batch:g} at "
                f"depth {depth} verifies {tokens:,.0f}: its time is extrapolated"
            )
        return found

    def load_warnings(self, max_tokens: int) -> list[str]:
        """Warnings about a server whose passes have up to ``max_tokens``, one sentence each."""
        table, found = self.verify, []
        if table.limit is not None and max_tokens > table.limit:
            found.append(
                f"serving.max_tokens allows passes of {max_tokens:,} tokens, and graphs end at "
                f"{table.limit:,}: chunks of prompts leave them, unless max_tokens is {table.limit}"
            )
        if max_tokens > table.last:
            found.append(
                f"passes of up to {table.last:,} tokens were measured, and serving.max_tokens "
                f"allows {max_tokens:,}: their times are extrapolated"
            )
        return found
