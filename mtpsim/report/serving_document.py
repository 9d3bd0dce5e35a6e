"""What the document holds of a simulated server: arms at each load, and loads side by side.

An arm is a fixed depth or a policy. All arms of a point have the same arrivals, lengths, text and
noise. Times are ms, throughputs are per second, shares are fractions.
"""

from dataclasses import field

from mtpsim.report.document_section import DocumentSection, Interval, JudgedInterval, Number

TIMES = ("ttft", "tpot", "itl", "e2e")
QUANTILES = ("p50", "p95", "p99")
UNSTABLE = "the load is more than it serves"  # begins the warning on a queue that grows


class ServedTime(DocumentSection):
    """A time of requests: its mean and quantiles pooled over all requests, in ms."""

    mean: Interval
    p50: Interval
    p95: Interval
    p99: Interval


class ServedDepths(DocumentSection):
    """Mean drafts per request that a policy used at one number of running requests."""

    running: int
    depth: float
    share: float


class ServedArm(DocumentSection):
    """One arm at one load.

    Attributes:
        name: ``off``, ``depth 2``, or the name of a policy.
        depth: drafts per round; None for a policy.
        rule: of a policy; None for a depth.
        bound: whether it knows what no engine can know: an upper bound.
        drafted: drafts made of a request and step, of which requests verify what their budget
            allows; None where a depth is chosen.
        throughput: output tokens per second.
        throughput_ratio: throughput over that of the arm ``off``; None without that arm.
        speedup: mean TPOT of the arm ``off`` over that of this arm; None without that arm.
        goodput: requests per second that meet all goals; None without goals.
        good: share of requests that meet all goals; None without goals.
        ttft: time to the first token.
        tpot: time per output token after the first, of a request.
        itl: time between two bursts of tokens of a request.
        e2e: time from arrival to the last token.
        itl_token: mean time between tokens, those of a burst 0 apart.
        accept_length: tokens per decoding request and step.
        drafts: drafts per decoding request and step.
        verified: the verified ones of them; None, as the next three, without an arm whose requests
            share a budget of drafts.
        unverified: wasted drafts that were not verified.
        rejected: wasted drafts that were verified and rejected.
        missed: those that were not verified and would have been accepted; None for a fixed depth.
        step_time: mean time of a step.
        running: mean number of running requests.
        waiting: mean number of waiting requests.
        queue: waiting requests at the beginning and at the end of the window.
        kv_use: mean share of the KV cache in use; None without a limit.
        preemptions: per 1,000 requests.
        loss: what the arm loses against the best, by the objective.
        depths: what a policy used by number of running requests; empty for a depth.
        warnings: on this arm, such as a queue that grows.
    """

    name: str
    depth: int | None = None
    rule: str | None = None
    bound: bool = False
    drafted: int | None = None
    throughput: Interval
    throughput_ratio: Interval | None = None
    speedup: Interval | None = None
    goodput: Interval | None = None
    good: Interval | None = None
    ttft: ServedTime
    tpot: ServedTime
    itl: ServedTime
    e2e: ServedTime
    itl_token: Interval | None = None
    accept_length: Interval
    drafts: Interval
    verified: Interval | None = None
    unverified: Interval | None = None
    rejected: Interval | None = None
    missed: Interval | None = None
    step_time: Interval
    running: Interval
    waiting: Interval
    kv_use: Interval | None = None
    preemptions: Interval
    loss: JudgedInterval | None = None
    queue: list[float] = field(default_factory=list)
    depths: list[ServedDepths] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def unstable(self) -> bool:
        """Whether the queue, or the batch, grows as long as the run lasts."""
        return any(text.startswith(UNSTABLE) for text in self.warnings)

    def time(self, name: str) -> ServedTime:
        """One of the times by its name in ``TIMES``."""
        found: ServedTime = getattr(self, name)
        return found


class ServedTimeline(DocumentSection):
    """One replication under one arm; lists of equal length."""

    name: str
    time: list[float]
    running: list[float]
    waiting: list[float]
    kv: list[float]
    depth: list[float]


class ServedCapacity(DocumentSection):
    """The greatest load at which an arm serves the required share of requests well."""

    name: str
    rate: Interval
    limit: str = ""


class ArmGain(JudgedInterval):
    """What one arm gains over another, relative, paired; intervals are simultaneous at a load.

    The verdict is ``faster`` or ``slower`` by more than the indifference, ``equal`` (certainly
    within it) or ``open``.
    """

    over: str


class BudgetComparison(DocumentSection):
    """A rule that shares a budget of drafts against every other arm at a load.

    Attributes:
        name: of the rule.
        gains: in throughput with a closed loop or a burst, else in 1 / TPOT; one per other arm,
            but those whose queue grows.
    """

    name: str
    gains: list[ArmGain]


class ServedPoint(DocumentSection):
    """A server at one load.

    Attributes:
        arrivals: kind of load: ``rate``, ``closed``, ``burst`` or ``trace``.
        load: requests per second, clients, or requests of the burst; None for a trace.
        replications: independent runs of the server, the units of all intervals.
        requests: kept requests over all replications, per arm.
        goals: limits in ms by name (``ttft``, ``tpot`` ...); empty without.
        share: share of requests that must meet the goals for a depth to be recommended.
        objective: what arms are compared by: ``tpot`` (least), ``throughput``, ``goodput``;
            where no arm serves the load, ``throughput``.
        best: name of the recommended arm; under overload, of that with the most output.
        candidates: arms that may be the best, at the experiment's confidence.
        within_goals: whether the recommended arm meets the goals; None without goals.
        sentence: the advice in words.
        arms: one entry per arm.
        timeline: the first replication, under each arm.
        capacity: by arm; empty where it was not requested.
        budgets: rules that share a budget of drafts, against the other arms.
        budget_sentence: whether the first of these rules pays, in words; empty without one.
    """

    arrivals: str
    load: Number
    replications: int
    requests: int
    goals: dict[str, float] = field(default_factory=dict)
    share: float = 0.99
    objective: str
    best: str
    candidates: list[str]
    within_goals: bool | None = None
    sentence: str
    arms: list[ServedArm]
    timeline: list[ServedTimeline] = field(default_factory=list)
    capacity: list[ServedCapacity] = field(default_factory=list)
    budgets: list[BudgetComparison] = field(default_factory=list)
    budget_sentence: str = ""

    def arm(self, name: str) -> ServedArm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def overloaded(self) -> bool:
        """Whether no arm serves the load; upper bounds are none."""
        return all(arm.unstable for arm in self.arms if not arm.bound)

    @property
    def served(self) -> bool:
        """Whether the recommended arm serves the load and meets the goals, if there are any."""
        return not self.overloaded and self.within_goals is not False

    @property
    def off(self) -> ServedArm | None:
        """The arm without drafts; None where it was not simulated."""
        return next((arm for arm in self.arms if arm.depth == 0), None)


class LoadTurn(DocumentSection):
    """The load at which the best arm changes.

    Attributes:
        before: the best arm below it; ``none`` where no arm meets the goals, ``overload`` where
            no arm serves the load.
        after: the best arm above it, likewise.
        load: interpolated between two loads of the sweep.
        low: nearest load of the sweep below at which ``before`` is certainly best; None without.
        high: nearest load above at which it certainly is not; None without.
    """

    before: str
    after: str
    load: float
    low: Number
    high: Number


class LoadGroup(DocumentSection):
    """Points of a sweep that differ in the load alone.

    Attributes:
        set: swept keys that the points share, and their values.
        key: the key of the load, such as ``serving.arrivals.rate``.
        turns: loads at which the best arm changes.
        sentence: the best arm by load in words.
        budget_sentence: at which loads the first rule that shares a budget of drafts pays, in
            words; empty without one.
    """

    set: dict[str, object] = field(default_factory=dict)
    key: str
    turns: list[LoadTurn]
    sentence: str
    budget_sentence: str = ""
