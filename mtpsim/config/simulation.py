"""The sections ``[simulation]``, ``[theory]`` (closed form) and ``[decision]`` (selection)."""

import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mtpsim.acceptance.lengths import Distribution
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, Spec
from mtpsim.formula.closed_form import ESSENTIAL, INDIFFERENCE, NEGLIGIBLE, Definition, Weighting

ROUNDS, PRECISION = 200, 0.001  # defaults
Quantity = Literal[
    "speedup", "marginal", "accept_length", "round_time", "theory_error", "difference"
]
Objective = Literal["mean", "p50", "p95", "p99"]
Scale = Literal["relative", "absolute"]
NEAR_ZERO: tuple[Quantity, ...] = ("theory_error", "difference")  # absolute by default


class LengthShape(Spec):
    """A distribution of the tokens of requests, without its mean."""

    cv: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="standard deviation over mean (default: 1), of lognormal and gamma"
    )
    distribution: Distribution = Field("lognormal", description="distribution of the tokens")

    @property
    def deviation(self) -> float:
        """Standard deviation over mean of lognormal and gamma."""
        return 1.0 if self.cv is None else self.cv

    @model_validator(mode="after")
    def _one_parameter(self) -> Self:
        if self.distribution == "geometric" and self.cv is not None:
            raise FieldError("a geometric distribution has its mean only", key="cv")
        return self


class Lengths(LengthShape):
    """How the lengths of requests vary about ``simulation.tokens``, their mean."""

    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0,
        description="rank correlation of the length with the acceptance at the beginning of the "
        "request; negative: hard requests are longer",
    )


class Simulation(Spec):
    """Length and number of the simulated requests, and the precision to reach."""

    exclusive = (("rounds", "tokens", "as_recorded"), ("precision", "requests"))
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(1, description="seed of all random numbers")
    rounds: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description=f"rounds per request (default: {ROUNDS}, unless `tokens` is given)"
    )
    tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = Field(
        None, description="tokens per request, instead of rounds; cuts the last round"
    )
    lengths: Lengths | None = Field(
        None, description="distribution of the tokens of requests, of which `tokens` is the mean"
    )
    as_recorded: bool = Field(
        False, description='give each request its recorded length (model = "trace" only)'
    )
    precision: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="half-width of the confidence interval at which a run stops, relative and of "
        f"the speedup by default (default: {PRECISION}, unless `requests` is given)",
    )
    precision_of: Quantity = Field("speedup", description="quantity that `precision` refers to")
    precision_is: Scale | None = Field(
        None,
        description="whether `precision` is relative or absolute (default: absolute for "
        "theory_error and difference, which may be 0; else relative)",
    )
    between: list[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description='the two depths compared by precision_of = "difference"',
    )
    control_variates: bool = Field(
        False,
        description="use totals with known means (plain steps, tokens at one depth) to narrow the "
        "intervals of speedups and of the selected depth; never those of the theory's errors",
    )
    requests: Annotated[int, Field(ge=2, le=10**12)] | None = Field(
        None, description="number of simulated requests, instead of a precision"
    )
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="two-sided confidence level of all intervals"
    )
    epsilon: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.005, description="relative error of the closed form up to which it counts as accurate"
    )
    max_requests: Annotated[int, Field(ge=2, le=10**12)] = Field(
        10_000_000, description="number of requests at which a run to a precision stops anyway"
    )

    @field_validator("rounds", "tokens", mode="before")
    @classmethod
    def _one_length(cls, given: Any) -> Any:
        if isinstance(given, list | dict | str):
            raise ValueError(
                f"{reprlib.repr(given)} is given; it must be a whole number, one length for all "
                'requests. For mixed lengths replay a log: model = "trace" with as_recorded = '
                "true, or give tokens and `lengths`, such as { cv = 0.8 }. To compare lengths use "
                "[sweep]"
            )
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        if given.get("as_recorded") is not True and not {"rounds", "tokens"} & given.keys():
            given["rounds"] = ROUNDS
        if not {"precision", "requests"} & given.keys():
            given["precision"] = PRECISION
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.precision_of == "difference") != (self.between is not None):
            raise FieldError(
                '"difference" and `between`, such as [2, 3], must be given together',
                key="precision_of",
            )
        if self.precision_of == "theory_error" and self.precision_is == "relative":
            raise FieldError(
                "the precision of an error that may be 0 must be absolute", key="precision_is"
            )
        if self.lengths and self.tokens is None:
            raise FieldError("needs `tokens`, the mean", key="lengths")
        if self.between and self.between[0] == self.between[1]:
            raise FieldError("two different depths are required", key="between")
        return self

    @property
    def horizon(self) -> dict[str, int]:
        """Length of a request for :func:`~mtpsim.exact.chain_solver.solve`; 0: not given."""
        return {"rounds": self.rounds or 0, "tokens": self.tokens or 0}

    @property
    def scale(self) -> Scale:
        """Whether the precision is relative or absolute."""
        return self.precision_is or ("absolute" if self.precision_of in NEAR_ZERO else "relative")


class TheorySpec(Spec):
    """How the rates used in the closed form were measured."""

    measured_at: Depth | None = Field(
        None, description="depth at which the rates were measured; default: the greatest"
    )
    definition: Definition = Field(
        "conditional", description="rates used as p1, p2, ... in the closed form"
    )
    weighting: Weighting = Field(
        "round-pooled", description="what is averaged over: rounds, requests, or text positions"
    )


class Decision(Spec):
    """The ``[decision]`` section: how a depth is selected and a step of depth is judged."""

    objective: Objective | None = Field(
        None,
        description="what is compared between depths: the mean speed of all requests, or a "
        'quantile of the request time, such as "p99" (default: "mean")',
    )
    indifference: Annotated[float, Field(ge=0, lt=1)] = Field(
        INDIFFERENCE, description="relative difference in speedup below which depths count as equal"
    )
    essential: Annotated[float, Field(gt=0, le=100)] = Field(
        ESSENTIAL, description="relative gain from which a step of depth is `essential`"
    )
    negligible: Annotated[float, Field(ge=0, lt=1)] = Field(
        NEGLIGIBLE, description="relative gain or loss up to which a step of depth is `negligible`"
    )

    @property
    def quantile(self) -> float | None:
        """Share of requests at the quantile of the objective; None: the mean is compared."""
        name = self.objective or "mean"
        return None if name == "mean" else float(name[1:]) / 100

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.negligible >= self.essential:
            raise FieldError(
                f"{self.negligible:g} is given; it must be below `essential`, {self.essential:g}",
                key="negligible",
            )
        return self
