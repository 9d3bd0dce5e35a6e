"""``[simulation]``: how long requests are, how many of them, and what a precision is asked of."""

from __future__ import annotations

import reprlib
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mtpsim.common.section import Spec

ROUNDS, PRECISION = 200, 0.001
Quantity = Literal[
    "speedup", "marginal", "accept_length", "round_time", "theory_error", "difference"
]
Scale = Literal["relative", "absolute"]
ONE_OF = (("rounds", "tokens", "as_recorded"), ("precision", "requests"))
"""Keys of which one is given, and the others are not."""
NEAR_ZERO: tuple[Quantity, ...] = ("theory_error", "difference")  # by default absolute


class Simulation(Spec):
    """How long requests are, and how many of them are simulated."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(1, description="of all randomness")
    rounds: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description=f"rounds a request; {ROUNDS} where neither it nor tokens is given"
    )
    tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="tokens a request, the last round cut at the limit; instead of rounds"
    )
    as_recorded: bool = Field(
        False, description='each request as long as it was recorded (model = "trace")'
    )
    precision: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="half-width to reach, by default relative, of the speedup at every depth; "
        f"{PRECISION} where neither it nor requests is given",
    )
    precision_of: Quantity = Field("speedup", description="the quantity whose precision it is")
    precision_is: Scale | None = Field(
        None,
        description="relative or absolute; by default absolute for theory_error and difference, "
        "which may be 0, else relative",
    )
    between: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description='the two depths of precision_of = "difference"',
    )
    control_variates: bool = Field(
        False,
        description="use totals with known means (plain steps, tokens at one depth) to narrow the "
        "intervals of speedups and of the choice; never those of the theory's errors",
    )
    requests: Annotated[int, Field(ge=2, le=10**12)] | None = Field(
        None, description="number of requests, instead of a precision"
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="of all intervals, two-sided"
    )
    epsilon: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.005, description="the theory holds where its relative error is surely within this"
    )
    max_requests: Annotated[int, Field(ge=2, le=10**12)] = Field(
        10_000_000, description="where a run to a precision gives up"
    )

    @field_validator("rounds", "tokens", mode="before")
    @classmethod
    def _one_length(cls, given: Any) -> Any:
        if isinstance(given, list | dict | str):
            raise ValueError(
                f"{reprlib.repr(given)} is given; it must be a whole number, one length for all "
                'requests. Mixed lengths are those of a log: model = "trace" with as_recorded = '
                "true; [sweep] tries lengths one after the other"
            )
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        for one, other, default in (
            ("rounds", "tokens", ROUNDS),
            ("precision", "requests", PRECISION),
        ):
            if one not in given and other not in given:
                given[one] = default
        if given.get("as_recorded") is True and not {"rounds", "tokens"} & data.keys():
            given.pop("rounds")
        return given

    @model_validator(mode="after")
    def _one_of_two(self) -> Simulation:
        for one, other in (("rounds", "tokens"), ("precision", "requests")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"`{one}` and `{other}` are both given; give one of them")
        if (self.precision_of == "difference") != (self.between is not None):
            raise ValueError('`precision_of = "difference"` and `between = [2, 3]` go together')
        if self.precision_of == "theory_error" and self.precision_is == "relative":
            raise ValueError(
                "an error may be 0, so its precision can't be relative to it; "
                'leave `precision_is` out or say "absolute"'
            )
        if self.between and self.between[0] == self.between[1]:
            raise ValueError("`between` needs two different depths")
        if self.as_recorded and (self.rounds or self.tokens):
            raise ValueError("`as_recorded` leaves no room for `rounds` or `tokens`")
        return self

    @property
    def horizon(self) -> dict[str, int]:
        """Length of a request for :func:`~mtpsim.exact.chain_solver.solve`; 0: not given."""
        return {"rounds": self.rounds or 0, "tokens": self.tokens or 0}

    @property
    def scale(self) -> Scale:
        """Whether the precision is relative or absolute."""
        return self.precision_is or ("absolute" if self.precision_of in NEAR_ZERO else "relative")
