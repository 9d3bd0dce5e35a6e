"""The ``[serving]`` section: a server under load, its requests, limits and goals."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationInfo, model_validator

from mtpsim.common.errors import FieldError
from mtpsim.common.section import Positive, Spec
from mtpsim.config.depth_changes import DepthChanges
from mtpsim.config.request_file import RequestFile, read_request_file
from mtpsim.config.simulation import LengthShape
from mtpsim.policy import Policy
from mtpsim.policy.confidence import AUC, Auc, Confidence

LEAST_REPLICATIONS, REPLICATIONS, MOST_REPLICATIONS = 30, 40, 2000
REQUESTS = 2000
RESERVED = re.compile(r"off|depth \d+|none|overload")  # of fixed arms, and of loads
Tokens = Annotated[int, Field(ge=1, le=1 << 30)]
AnyDepth = Annotated[int, Field(ge=0, le=64)]
Count = Annotated[int, Field(ge=1, le=100_000_000)]
ServedQuantity = Literal[
    "throughput",
    "goodput",
    "good",
    "ttft",
    "ttft_p50",
    "ttft_p95",
    "ttft_p99",
    "tpot",
    "tpot_p50",
    "tpot_p95",
    "tpot_p99",
    "itl",
    "itl_p50",
    "itl_p95",
    "itl_p99",
    "e2e",
    "e2e_p50",
    "e2e_p95",
    "e2e_p99",
]


class Arrivals(Spec):
    """When requests arrive: one of ``rate``, ``closed``, ``burst`` and ``trace``."""

    exclusive = (("rate", "closed", "burst", "trace"),)
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="requests per second, independent of each other (Poisson)"
    )
    closed: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="clients that send their next request when the last one is answered"
    )
    burst: Count | None = Field(None, description="requests that all arrive at the start")
    trace: str | None = Field(
        None,
        description="CSV file of recorded requests, in the order of their arrival: columns "
        "arrival_s (or arrival_ms), prompt, output",
    )
    cv: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None,
        description="standard deviation over mean of the time between arrivals, with `rate` "
        "(default: 1, Poisson; others: gamma)",
    )
    _trace: RequestFile | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_kind(self, info: ValidationInfo) -> Self:
        if self.kind is None:
            raise FieldError(
                "give one of rate (requests per second), closed (clients), burst (requests) and "
                "trace (a file)"
            )
        if self.cv is not None and self.rate is None:
            raise FieldError("belongs to `rate`", key="cv")
        if self.trace is not None:
            folder = (info.context or {}).get("folder", Path())
            self._trace = read_request_file(Path(folder, self.trace))
            if not self._trace.arrival_ms.size:
                raise FieldError(f"{self.trace} has no column arrival_s or arrival_ms", key="trace")
        return self

    @property
    def kind(self) -> str | None:
        """Which of the four is given."""
        return next((name for name in self.exclusive[0] if getattr(self, name) is not None), None)

    @property
    def requests(self) -> RequestFile | None:
        """The requests of the trace; None without one."""
        return self._trace


class LengthLaw(LengthShape):
    """A distribution of tokens, rounded to whole numbers of at least 1."""

    mean: Annotated[float, Field(ge=1, le=1 << 30)] = Field(description="mean tokens")


class LengthSamples(Spec):
    """Measured lengths, resampled."""

    samples: str = Field(description="file of tokens: one number per line, or CSV")
    column: str | None = Field(None, description="name of the CSV column")
    _values: Any = PrivateAttr()

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        from mtpsim.latency.samples import read_samples

        folder = (info.context or {}).get("folder", Path())
        self._values = read_samples(Path(folder, self.samples), self.column)
        if (self._values < 1).any() or (self._values % 1 != 0).any():
            raise FieldError(
                f"{self.samples} has lengths that are no whole numbers of tokens, 1 or more",
                key="samples",
            )
        return self

    @property
    def values(self) -> Any:
        """The measured tokens ``[n]``."""
        return self._values


class PairSamples(Spec):
    """Measured requests, whose prompt and output are resampled together."""

    samples: str = Field(description="CSV file with the columns prompt and output, in tokens")
    _requests: RequestFile = PrivateAttr()

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder", Path())
        self._requests = read_request_file(Path(folder, self.samples))
        return self

    @property
    def requests(self) -> RequestFile:
        """The measured requests."""
        return self._requests


def _form(value: Any) -> str:
    if isinstance(value, dict | Spec):
        given = value if isinstance(value, dict) else vars(value)
        return "samples" if "samples" in given else "law"
    return "recorded" if isinstance(value, str) else "number"


Length = Annotated[
    Annotated[Tokens, Tag("number")]
    | Annotated[LengthLaw, Tag("law")]
    | Annotated[LengthSamples, Tag("samples")],
    Discriminator(_form),
]
OutputLength = Annotated[
    Annotated[Tokens, Tag("number")]
    | Annotated[LengthLaw, Tag("law")]
    | Annotated[LengthSamples, Tag("samples")]
    | Annotated[Literal["recorded"], Tag("recorded")],
    Discriminator(_form),
]


class Goals(Spec):
    """Greatest times of a request that counts as good; it must meet all of them."""

    ttft: Positive | None = Field(None, description="ms to the first token")
    tpot: Positive | None = Field(None, description="ms per token after the first")
    e2e: Positive | None = Field(None, description="ms from arrival to the last token")

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.ttft is self.tpot is self.e2e is None:
            raise FieldError("give ttft, tpot or e2e, in ms")
        return self


class Capacity(Spec):
    """The greatest rate of arrivals that each depth serves well."""

    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.99, description="share of requests that must meet all goals"
    )


class Serving(DepthChanges):
    """A server: requests that come and go share each step of the engine."""

    exclusive = (("replications", "precision"), ("auc", "confidence"))
    arrivals: Arrivals = Field(
        description="when requests arrive: { rate }, { closed }, { burst } or { trace }"
    )
    prompt: Length | None = Field(
        None,
        description="prompt tokens: a number, { mean, cv, distribution } or { samples } of a file",
    )
    output: OutputLength | None = Field(
        None,
        description='output tokens, like `prompt`; "recorded": as recorded (model = "trace", by = '
        '"position")',
    )
    lengths: PairSamples | None = Field(
        None, description="file of requests whose prompt and output are drawn together"
    )
    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="correlation of the normal scores of prompt and output tokens"
    )
    max_requests: Annotated[int, Field(ge=1, le=8192)] = Field(
        256, description="running requests at once (vLLM: max_num_seqs)"
    )
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        8192,
        description="tokens per step: decoding, drafts and prefill chunks (vLLM: "
        "max_num_batched_tokens)",
    )
    kv_tokens: Annotated[int, Field(ge=2, le=1 << 40)] | None = Field(
        None, description="tokens that the KV cache holds (default: no limit)"
    )
    goals: Goals | None = Field(None, description="times that a good request meets, in ms")
    requests: Count = Field(
        REQUESTS,
        description="requests per replication that are measured; a burst and a trace measure all",
    )
    warm_up: Annotated[int, Field(ge=0, le=100_000_000)] | None = Field(
        None,
        description="requests before the measured ones (default: a fifth of `requests`, but at "
        "least two per client of a closed loop; none of a burst or a trace)",
    )
    replications: Annotated[int, Field(ge=LEAST_REPLICATIONS, le=10**6)] | None = Field(
        None,
        description=f"independent runs of the server (default: {REPLICATIONS}, unless `precision` "
        "is given)",
    )
    precision: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="relative half-width of the interval at which a run stops"
    )
    precision_of: ServedQuantity = Field(
        "throughput", description="quantity that `precision` refers to, of every arm"
    )
    max_replications: Annotated[int, Field(ge=LEAST_REPLICATIONS, le=10**6)] = Field(
        MOST_REPLICATIONS, description="replications at which a run to a precision stops anyway"
    )
    capacity: Capacity | None = Field(
        None, description="also find the greatest `rate` at which a share of requests is good"
    )
    depths: Literal["each"] | Annotated[list[AnyDepth], Field(min_length=1)] = Field(
        "each", description='fixed depths to compare, such as [0, 2]; "each": 0 to the greatest'
    )
    policies: Annotated[list[Policy], Field(max_length=40)] = Field(
        default_factory=list,
        description="policies that choose the depth of each step for the whole batch, or share a "
        "budget of drafts",
    )
    auc: Auc | None = Field(
        None,
        description="quality of the draft's confidence (area under the ROC curve), which budgets "
        f"read (default: {AUC:g}; for recorded requests the confidences of the log)",
    )
    confidence: Confidence | None = Field(
        None, description="law of the draft's confidence by outcome, instead of `auc`"
    )

    @model_validator(mode="after")
    def _lengths_given(self) -> Self:
        own = [name for name in ("lengths", "prompt", "output") if getattr(self, name) is not None]
        if self.arrivals.kind == "trace":
            if own:
                raise FieldError(
                    "the trace has the lengths of its requests: remove "
                    + " and ".join(f"serving.{name}" for name in own),
                    key=own[0],
                )
        elif self.lengths is not None and own != ["lengths"]:
            raise FieldError("`lengths` is a file of both; give it alone", key=own[1])
        elif self.lengths is None and len(own) < 2:
            missing = next(name for name in ("prompt", "output") if name not in own)
            raise FieldError("is missing: tokens per request", key=missing, kind="missing")
        if self.correlation and not isinstance(self.prompt, LengthLaw | LengthSamples):
            raise FieldError("needs a distribution of both prompt and output", key="correlation")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_tokens < self.max_requests:
            raise FieldError(
                f"{self.max_tokens:,} is given; each of the {self.max_requests:,} running requests "
                "(max_requests) needs a token per step: give as many tokens, or fewer requests",
                key="max_tokens",
            )
        prompt, output = self.greatest_lengths()
        if isinstance(self.output, int) and output < 2:
            raise FieldError(
                f"{output:.0f} is given; a request needs at least 2 tokens: the prefill gives the "
                "first, and only later ones have a TPOT and can be drafted",
                key="output",
            )
        if self.kv_tokens is not None and prompt + output > self.kv_tokens:
            raise FieldError(
                f"{self.kv_tokens:,} is given; a single request needs {prompt + output:,.0f} "
                f"({prompt:,.0f} of its prompt and {output:,.0f} of its output)",
                key="kv_tokens",
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drains and self.warm_up:
            raise FieldError(
                f"a {self.arrivals.kind} has no warm-up: all is measured", key="warm_up"
            )
        if self.capacity is not None and (self.goals is None or self.arrivals.rate is None):
            missing = "goals" if self.goals is None else "arrivals.rate"
            raise FieldError(f"needs serving.{missing}", key="capacity")
        if self.goals is None and self.precision_of in ("goodput", "good"):
            raise FieldError(f"{self.precision_of!r} needs `goals`", key="precision_of")
        if isinstance(self.depths, list) and len(set(self.depths)) < len(self.depths):
            raise FieldError(f"{self.depths} is given; each depth once", key="depths")
        for name in [one.name for one in self.policies if RESERVED.fullmatch(one.name or "")]:
            raise FieldError(
                f"the name {name!r} is given; off, depth K, none and overload have a meaning of "
                "their own in the report: give another `name`",
                key="policies",
            )
        for label, count in Counter(policy.label for policy in self.policies).items():
            if count > 1:
                raise FieldError(
                    f"{count} policies have the label {label!r}; give each a `name`", key="policies"
                )
        return self

    @property
    def states_confidence(self) -> bool:
        """Whether it says how confidences are drawn, in place of recorded ones."""
        return self.auc is not None or self.confidence is not None

    @property
    def drains(self) -> bool:
        """Whether all requests are measured, to the end of the last one: a burst or a trace."""
        return self.arrivals.kind in ("burst", "trace")

    @property
    def measured(self) -> int:
        """Measured requests per replication."""
        if self.arrivals.requests is not None:
            return len(self.arrivals.requests.tokens)
        return self.arrivals.burst or self.requests

    @property
    def dropped(self) -> int:
        """Requests of the warm-up."""
        if self.drains or self.warm_up is not None:
            return self.warm_up or 0
        return max(self.requests // 5, 2 * (self.arrivals.closed or 0))

    @property
    def most_replications(self) -> int:
        """Greatest number of replications."""
        if self.precision is not None:
            return self.max_replications
        return self.replications or REPLICATIONS

    @property
    def mean_lengths(self) -> tuple[float, float]:
        """Mean tokens of prompt and output."""
        if self.pairs is not None:
            prompt, output = self.pairs.tokens.mean(0)
            return float(prompt), float(output)
        return _mean(self.prompt), _mean(self.output)

    @property
    def pairs(self) -> RequestFile | None:
        """Requests whose prompt and output are given together; None without a file of them."""
        return self.lengths.requests if self.lengths else self.arrivals.requests

    def greatest_lengths(self) -> tuple[float, float]:
        """Tokens of prompt and output of the greatest request, as far as it is known.

        A distribution counts with its mean; what is longer in a simulation is cut to fit.
        """
        if self.pairs is not None:
            most = self.pairs.tokens[self.pairs.tokens.sum(1).argmax()]
            return float(most[0]), float(most[1])
        return _greatest(self.prompt), _greatest(self.output)


def _mean(length: Any) -> float:
    return float(length.values.mean()) if isinstance(length, LengthSamples) else _greatest(length)


def _greatest(length: Any) -> float:
    if isinstance(length, LengthLaw):
        return length.mean
    if isinstance(length, LengthSamples):
        return float(length.values.max())
    return float(length) if isinstance(length, int) else 1.0
