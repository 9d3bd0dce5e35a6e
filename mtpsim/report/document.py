"""The result document, typed: what ``result.json`` holds, a class per section.

Field names are the keys of the JSON document (docs/result.md describes each). Times are ms; rates,
shares and relative errors are fractions; None stands where a number does not exist.
"""

from dataclasses import field
from functools import cached_property
from typing import Annotated

from pydantic import Field

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document_section import DocumentSection as DocumentSection
from mtpsim.report.document_section import Interval as Interval
from mtpsim.report.document_section import JudgedInterval as JudgedInterval
from mtpsim.report.document_section import Number
from mtpsim.report.document_shapes import DraftTree, Shape, Shapes
from mtpsim.report.serving_document import LoadGroup, ServedPoint

PRESET_TIMES = "Step times are a preset, not measured."
SIMULATION, INPUTS = "simulation", "inputs"  # what an interval includes


class Quantity(Interval):
    """A simulated estimate beside the closed form and the exact answer."""

    theory: Number
    exact: Number


class TheoryError(JudgedInterval):
    """Relative error of the closed form's speedup; ``requests_needed``: more to decide."""

    requests_needed: int | None = None


class ExactInterval(Interval):
    """A simulated estimate beside the exact answer."""

    exact: Number = None


class Loss(JudgedInterval):
    """Speedup lost against the best depth; P(this depth is best); expected loss."""

    best: Number
    regret: Number


class Series(DocumentSection):
    """Several estimates and their intervals, a list each."""

    mean: list[Number]
    low: list[Number]
    high: list[Number]

    def intervals(self) -> list[Interval]:
        """The estimates one by one."""
        ends = zip(self.mean, self.low, self.high, strict=True)
        return [Interval(mean=mean, low=low, high=high) for mean, low, high in ends]


class BreakEvenRate(DocumentSection):
    """The rate at which a step stops paying, and the rate now."""

    at: Number
    now: Number


class BreakEvenTime(DocumentSection):
    """The time in ms at which a step stops paying, its interval, and the time now."""

    now: float
    at: Number
    low: Number
    high: Number


class BreakEven(DocumentSection):
    """Break-even values of a step of depth, one input at a time."""

    rate: BreakEvenRate
    verify: BreakEvenTime
    draft: BreakEvenTime


class DepthResult(DocumentSection):
    """What one depth yields."""

    depth: int
    accept_length: Quantity
    round_time: Quantity
    speedup: Quantity
    marginal: Quantity | None = None
    theory_error: TheoryError | None = None
    accept_length_error: Interval | None = None
    break_even_rate: Number = None
    break_even: BreakEven | None = None
    loss: Loss | None = None
    objective: Interval | None = None
    request_time: dict[str, Interval] | None = None
    request_speed: dict[str, Interval] | None = None
    mean_request_speed: Interval | None = None
    mean_request_speedup: Interval | None = None


class Horizon(DocumentSection):
    """What ends a request; both None where requests are as long as recorded."""

    rounds: int | None = None
    tokens: int | None = None


class MeasuredRates(DocumentSection):
    """Acceptance rates at the greatest depth, by the three definitions."""

    conditional: list[Number]
    survival: list[Number]
    pooled: float


class AcceptedDrafts(Series):
    """Shares of rounds by number of accepted drafts, ``[K + 1]`` each."""

    count: list[int]
    theory: list[Number]
    exact: list[Number] | None = None


class DefinitionDepth(DocumentSection):
    """Errors of the closed form at one depth under one definition of the rates."""

    depth: int
    accept_length_error: JudgedInterval
    speedup_error: JudgedInterval


class DefinitionRow(DocumentSection):
    """One definition of the rates, used in the closed form at every depth."""

    definition: str
    weighting: str | None
    chosen: bool
    rates: Series
    depths: list[DefinitionDepth]


class Definitions(DocumentSection):
    """Every definition of the rates side by side (JSON key ``trial``)."""

    measured_at: int
    rows: list[DefinitionRow]

    @property
    def chosen(self) -> DefinitionRow:
        """The definition that ``theory`` of the point uses."""
        return next(row for row in self.rows if row.chosen)


class Autocorrelation(Series):
    """Correlation of accepted drafts between rounds of a request, by lag."""

    requests: int
    lag: list[int]
    exact: list[Number] | None = None


class RatesAtDepth(Series):
    """Conditional rates as measured at one depth."""

    depth: int


class Recorded(DocumentSection):
    """Accept length at the log's ``depth``, and that of the ``log``, of requests in its order.

    ``once`` says whether each recorded request was played equally often.
    """

    depth: int
    accept_length: float
    log: float
    once: bool


class Diagnostics(DocumentSection):
    """How rounds depend on each other, and how rates move with depth and position."""

    measured_at: int
    design_effect: ExactInterval | None = None
    too_narrow: Interval | None = None
    autocorrelation: Autocorrelation | None = None
    lasting_share: ExactInterval | None = None
    survivorship: Interval | None = None
    rates_by_depth: list[RatesAtDepth] = field(default_factory=list)
    recorded: Recorded | None = None


class Variance(DocumentSection):
    """Factors by which common random numbers and control variates reduce variance, ``[K]``."""

    shared_random_numbers: list[Number]
    control_variates: list[Number]
    used: bool


class Advice(DocumentSection):
    """Which depth to run, and how sure that is.

    Attributes:
        depth: depth with the greatest estimated speedup; 0 means MTP off.
        confidence: probability that it loses no more than the indifference against the fastest.
        candidates: depths that may be the fastest, at the experiment's confidence.
        within: depths that may be within the indifference of the best.
        verdicts: ``[K]`` verdict on the step to depth 1..K.
        steps: ``[K]`` relative gains of these steps, with the intervals that decide the verdicts.
        requests_needed: least number of requests for all of these; None where there are enough.
        times_known: whether the time of a round depends on the depth; else no depth is recommended.
        sentence: the advice in words.
        why: what it rests on.
        objective: what is compared between depths: ``mean`` speed, or a quantile of request times.
        faster_shape: the fastest shape of drafts, where the depth of the drafted one is slower.
    """

    depth: int
    confidence: Number
    candidates: list[int]
    within: list[int]
    verdicts: list[str]
    steps: list[JudgedInterval] = field(default_factory=list)
    requests_needed: int | None = None
    times_known: bool = True
    sentence: str
    why: str
    objective: str = "mean"
    faster_shape: Shape | None = None

    @property
    def recommended(self) -> int | None:
        """The depth to run; None where the run has too few requests or no times to say."""
        return None if self.requests_needed or not self.times_known else self.depth


class ReactionCurve(DocumentSection):
    """Mean depth by rounds since a change of the hidden state."""

    changes: int
    half: int | None
    rounds: list[int]
    depth: list[float]


class Reaction(DocumentSection):
    """How a policy reacts to easier and to harder text (JSON key ``learning``)."""

    easier: ReactionCurve | None = None
    harder: ReactionCurve | None = None


class PolicyResult(DocumentSection):
    """What one adaptive policy yields.

    Attributes:
        gain: over the best fixed depth, and over uncertain inputs where there are any.
        captured: share of the oracle's gain; None over uncertain inputs.
        over_inputs: speedup over uncertain inputs; None without them.
    """

    name: str
    rule: str
    knows: str
    parameters: JsonDict
    speedup: ExactInterval
    gain: JudgedInterval
    captured: Interval | None
    accept_length: Interval
    round_time: Interval
    request_time: dict[str, Interval] | None = None
    request_speed: dict[str, Interval] | None = None
    mean_request_speed: Interval | None = None
    mean_request_speedup: Interval | None = None
    depths: list[float]
    learning: Reaction | None = None
    over_inputs: Interval | None = None


class TimelinePolicy(DocumentSection):
    """Rounds of one request under one policy; lists of equal length."""

    depth: list[int]
    accepted: list[int]
    state: list[int]


class Timeline(DocumentSection):
    """One request under every policy."""

    request: int
    clock: str
    hardness: list[float]
    policies: dict[str, TimelinePolicy]


class Adaptive(DocumentSection):
    """Adaptive policies against the best fixed depth."""

    best_fixed: int
    draws: int | None = None
    policies: list[PolicyResult]
    timeline: Timeline


class Ends(DocumentSection):
    """A value at the low and at the high end of an input."""

    low: float
    high: float


class UncertainDepth(DocumentSection):
    """One depth over uncertain inputs; with an accept length where requests are replayed."""

    depth: int
    speedup: Interval
    gain: Interval | None = None
    simulation: float
    best: float
    regret: float
    accept_length: Ends | None = None


class DepthEnds(DocumentSection):
    """The best depth at the low and at the high end of an input."""

    low: int
    high: int


class UncertainInput(DocumentSection):
    """What one uncertain input does by itself."""

    key: str
    mean: list[float]
    sd: list[float]
    speedup: Ends
    depth: DepthEnds
    worth: float


class Uncertainty(DocumentSection):
    """What uncertain inputs mean for the choice of depth."""

    draws: int
    requests: int
    depth: int
    depths: list[UncertainDepth]
    inputs: list[UncertainInput]
    perfect: float
    replayed: int = 0


class WorstRegret(DocumentSection):
    """Regret in the worst scenario, and the bound that no scenario exceeds."""

    mean: float
    high: float


class RobustDepth(DocumentSection):
    """One depth over declared scenarios."""

    depth: int
    regret: WorstRegret
    where: JsonDict
    least_speedup: float


class Robust(DocumentSection):
    """The depth with the smallest worst-case regret over declared scenarios."""

    scenarios: int
    requests: int
    depth: int
    depths: list[RobustDepth]


class PointResult(DocumentSection):
    """One point of a run.

    Attributes:
        set (dict): Swept dotted keys and their values at this point; empty without a sweep.
        requests (int): Number of simulated requests.
        rounds (int): Number of rounds over all requests, at the greatest depth.
        horizon (Horizon): Length of a request, in rounds or tokens.
        precision_reached (bool | None): None if no precision was requested.
        interrupted (bool): Whether the point ended early.
        warnings (list[str]): Sentences to read before using the numbers.
        measured (MeasuredRates): Acceptance rates as simulated.
        accepted (AcceptedDrafts): Shares of rounds by number of accepted drafts.
        depths (list[DepthResult]): One entry per depth 0..K.
        trial (Definitions | None): Closed form under every definition of the rates.
        diagnostics (Diagnostics | None): Dependence between rounds.
        variance (Variance | None): Variance reduction.
        advice (Advice | None): Recommended depth.
        adaptive (Adaptive | None): Adaptive policies.
        uncertainty (Uncertainty | None): Choice of depth under uncertain inputs.
        robust (Robust | None): Choice of depth over declared scenarios.
        tree (DraftTree | None): The drafted tree; None without ``[draft]``.
        serving (ServedPoint | None): The server, instead of single requests and ``depths``.
    """

    set: JsonDict = field(default_factory=dict)
    requests: int
    rounds: int
    horizon: Horizon = field(default_factory=Horizon)
    precision_reached: bool | None = None
    interrupted: bool = False
    warnings: list[str] = field(default_factory=list)
    measured: MeasuredRates | None = None
    accepted: AcceptedDrafts | None = None
    depths: list[DepthResult] = field(default_factory=list)
    trial: Definitions | None = None
    diagnostics: Diagnostics | None = None
    variance: Variance | None = None
    advice: Advice | None = None
    adaptive: Adaptive | None = None
    uncertainty: Uncertainty | None = None
    robust: Robust | None = None
    tree: DraftTree | None = None
    serving: ServedPoint | None = None


class Turn(DocumentSection):
    """The last batch size before drafting stops to pay (``to`` = ``off``) or starts to (``on``)."""

    to: str
    batch: float
    low: Number
    high: Number
    over: str = SIMULATION


class ScheduleStep(DocumentSection):
    """The fastest depth for batch sizes ``from_`` to ``to``, both included; interval of ``to``."""

    from_: Annotated[int, Field(validation_alias="from")]
    to: int
    depth: int
    low: Number = None
    high: Number = None


class BatchCurves(DocumentSection):
    """Speedup by batch size: ``speedup[k]`` of depth k at each ``batch``."""

    batch: list[float]
    speedup: list[list[float]]


class BatchGroup(DocumentSection):
    """Points of a sweep that differ in the batch size alone."""

    set: JsonDict
    turns: list[Turn]
    schedule: list[ScheduleStep]
    curves: BatchCurves


class ResultDocument(DocumentSection):
    """The whole result.

    Attributes:
        mtpsim (str): Version that wrote it.
        experiment (dict): The experiment with defaults filled in.
        provenance (dict): Command, versions, hashes and times of the run.
        complete (bool): False if the run was stopped before its last point was done.
        failures (list[str]): Sentences on points that could not be finished.
        points (list[PointResult]): One entry per combination of the swept values.
        by_batch (list[BatchGroup]): Groups of points that differ only in the batch size.
        shapes (Shapes | None): The fastest shape of drafts by batch, of the first point's text.
        by_load (list[LoadGroup] | None): Groups of points of a server that differ only in the load.
        warnings (list[str] | None): Sentences that concern the whole run.
    """

    mtpsim: str = ""
    experiment: JsonDict = field(default_factory=dict)
    provenance: JsonDict = field(default_factory=dict)
    complete: bool = True
    failures: list[str] = field(default_factory=list)
    points: list[PointResult]
    by_batch: list[BatchGroup] = field(default_factory=list)
    shapes: Shapes | None = None
    by_load: list[LoadGroup] | None = None
    warnings: list[str] | None = None

    @cached_property
    def swept_keys(self) -> tuple[str, ...]:
        """Keys that any point sets; text on a point needs them, and a sweep may have 10,000."""
        return tuple(dict.fromkeys(key for point in self.points for key in point.set))
