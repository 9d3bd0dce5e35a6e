"""An experiment with ``[serving]`` compiled to a plan; replications turned into a tally."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.config.length_tables import length_table, unit_table
from mtpsim.config.serving import Serving
from mtpsim.config.simulation import ROUNDS as LONG
from mtpsim.engine.policy_player import EMPTY_CHAIN
from mtpsim.engine.server_data import Arm, ServerLayout, Timeline
from mtpsim.engine.simulate import TABLE_KINDS, compiled_latency, noise_arrays, random_key
from mtpsim.exact.chain_solver import solve
from mtpsim.kernels.arrays import ChainArrays, Floats32, NoiseArrays, RecordingArrays
from mtpsim.kernels.moments import moments
from mtpsim.kernels.noise import new_scratch
from mtpsim.kernels.server import FINISHED, MEAN, NOTHING, POOLED, server
from mtpsim.kernels.server_budget import budget_server
from mtpsim.kernels.server_layout import BINS, METRICS
from mtpsim.kernels.server_requests import (
    BURST,
    CLOSED,
    POSITIONS,
    RATE,
    RECORDED,
    ROUNDS,
    TRACE,
    Workload,
)
from mtpsim.kernels.server_state import BatchRule, Engine, Laws, World, new_state
from mtpsim.latency import CostModel
from mtpsim.latency.quantile_table import normal_table
from mtpsim.latency.step_costs import StepCosts
from mtpsim.policy import RULES, Environment, PolicySpec, Rule
from mtpsim.policy.budget import STALE
from mtpsim.policy.confidence import auc_tables, laws_by_outcome
from mtpsim.stats.estimators import Tally
from mtpsim.stats.pooled_quantiles import cluster_counts

UNIT = Fraction(1, 5)  # replications per unit of a block: the first blocks have two
UNLIMITED = 1 << 40  # tokens of a KV cache without a limit
POINTS = 400  # of a timeline
ARRIVALS = {"rate": RATE, "closed": CLOSED, "burst": BURST, "trace": TRACE}
LEARNS = {"nothing": NOTHING, "mean": MEAN, "pooled": POOLED, "finished": FINISHED}
NO_RECORDING = RecordingArrays(np.zeros(1, np.int32), np.array([0, 1]), False)
NO_LAWS = np.zeros((3, 1, 1, 0), np.float32)  # of confidences: recorded, or not read


@dataclass(frozen=True, eq=False)
class ServerArm:
    """An arm, compiled.

    Attributes:
        arm (Arm): Its name.
        rule (Rule | None): The functions that choose its depth; None where its requests share a
            budget of drafts.
        learns (int): What they learn from.
        batch (BatchRule): Parameters of the rule, and its memory, unset.
        speculates (bool): Whether the engine has speculation enabled.
    """

    arm: Arm
    rule: Rule | None
    learns: int
    batch: BatchRule
    speculates: bool

    def kernel(self) -> Any:
        """The kernel of its rule."""
        if self.rule is None:
            return budget_server()
        return server(self.rule.choose.__module__.rpartition(".")[2], self.rule, self.learns)

    @property
    def stale(self) -> int | None:
        """Steps by which confidences that set a budget are old; None without a budget."""
        return int(self.batch.p[0, STALE]) if self.rule is None else None


@dataclass(frozen=True, eq=False)
class ServerPlan:
    """Everything that the kernel of a server reads of a point.

    Attributes:
        key (int): Key of all random words.
        load (Workload): Arrivals and lengths.
        engine (Engine): Limits, kept requests and goals.
        kind (int): What a tick of a request is.
        chain (ChainArrays): Which drafts are accepted; of one state for recorded requests.
        recording (RecordingArrays): Recorded requests; one round for a chain.
        noise (NoiseArrays): Noise of the steps.
        costs (StepCosts): Times of the steps.
        depth (int): Greatest depth K.
        arms (tuple[ServerArm, ...]): The arms, fixed depths first.
        layout (ServerLayout): Columns of a row of totals.
        laws (Floats32): ``[3, P, S, Q]`` laws of the confidences of drafts; Q = 0: none.
        unit (Fraction): Replications per unit of a block.
    """

    key: int
    load: Workload
    engine: Engine
    kind: int
    chain: ChainArrays
    recording: RecordingArrays
    noise: NoiseArrays
    costs: StepCosts
    depth: int
    arms: tuple[ServerArm, ...]
    layout: ServerLayout
    laws: Floats32
    unit: Fraction = UNIT


@dataclass(frozen=True, eq=False)
class CompiledServer:
    """A point of a server, compiled.

    Attributes:
        experiment (Experiment): The point: an experiment without a sweep.
        plan (ServerPlan): What the kernel reads.
    """

    experiment: Experiment
    plan: ServerPlan


def compile_server(experiment: Experiment) -> CompiledServer:
    """Compile an experiment with ``[serving]`` and without a sweep.

    Raises:
        InputError: It has no server, or a distribution can't be tabulated.
    """
    serving, source = experiment.serving, experiment.source
    if serving is None or not isinstance(experiment.latency, CostModel):
        raise InputError.of("a server needs [serving] and a cost model", key="serving")
    recorded, depth = isinstance(source, Recording), source.depth
    arrays: Any = source.arrays()
    drafted, block = experiment.drafted, experiment.draft.block if experiment.draft else None
    most = serving.max_tokens, serving.max_requests
    costs = experiment.latency.step_costs(depth, *most, drafted, block)
    arms = _arms(serving, experiment.latency, depth, drafted, block)
    plan = ServerPlan(
        key=random_key(experiment.simulation.seed),
        load=workload(serving),
        engine=_engine(serving, source, np.arange(depth + 1) if drafted is None else drafted),
        kind=RECORDED if recorded else POSITIONS if source.clock == "token" else ROUNDS,
        chain=EMPTY_CHAIN if recorded else arrays,
        recording=arrays if recorded else NO_RECORDING,
        noise=noise_arrays(compiled_latency(experiment)),
        costs=costs,
        depth=depth,
        arms=arms,
        layout=ServerLayout(len(arms)),
        laws=_confidence_laws(serving, source),
    )
    return CompiledServer(experiment, plan)


def _confidence_laws(serving: Serving, source: Source) -> Floats32:
    """Laws of the confidences, if a rule reads any that are not recorded."""
    if not any(policy.reads_confidence for policy in serving.policies):
        return NO_LAWS
    if isinstance(source, Recording) and not serving.states_confidence:
        return NO_LAWS
    rates = solve(source, source.depth, rounds=LONG).conditional
    if isinstance(source, ProposingChain):  # confidences are those of proposed drafts
        rates = source.offered_rates
    if serving.confidence is None:
        return laws_by_outcome(auc_tables(serving.auc, rates), rates[None])
    law, chain = serving.confidence, source.hidden_chain
    if chain is None or not (law.states or law.own_rate):
        return laws_by_outcome(law.tables(), rates[None])
    if isinstance(chain, ProposingChain):  # the kernel divides its states by the lengths
        return laws_by_outcome(law.tables(chain.offered), chain.offered)
    return laws_by_outcome(law.tables(chain.accept), chain.accept)


def _engine(serving: Serving, source: Source, nodes: Any) -> Engine:
    goals = serving.goals
    limits = (goals.ttft, goals.tpot, goals.e2e) if goals else (None, None, None)
    return Engine(
        max_requests=serving.max_requests,
        max_tokens=serving.max_tokens,
        kv_tokens=serving.kv_tokens or UNLIMITED,
        warm_up=serving.dropped,
        requests=serving.measured,
        goals=np.array([np.inf if limit is None else limit for limit in limits]),
        nodes=nodes.astype(np.int64),
        proposed=source.proposed.astype(np.int32)
        if isinstance(source, ProposingChain)
        else np.zeros(0, np.int32),
        **serving.switching(),
    )


def workload(serving: Serving) -> Workload:
    """Arrivals and lengths of the requests, as the kernel reads them."""
    arrivals, pairs = serving.arrivals, serving.pairs
    gap = unit_table("exponential" if arrivals.cv in (None, 1.0) else "gamma", arrivals.cv)
    prompt, output = length_table(serving.prompt), length_table(serving.output)
    trace = arrivals.requests
    return Workload(
        arrivals=ARRIVALS[arrivals.kind or "rate"],
        gap_ms=1000.0 / arrivals.rate if arrivals.rate else 0.0,
        gap_kind=TABLE_KINDS[gap.kind],
        gap_values=gap.values,
        arrival_ms=np.zeros(0) if trace is None else trace.arrival_ms,
        clients=arrivals.closed or arrivals.burst or 0,
        pairs=np.zeros((0, 2), np.int32) if pairs is None else pairs.tokens,
        kinds=np.array([TABLE_KINDS[prompt[0].kind], TABLE_KINDS[output[0].kind]]),
        prompt_values=prompt[0].values,
        output_values=output[0].values,
        scale=np.array([prompt[1], output[1]]),
        offset=np.array([prompt[2], output[2]]),
        correlation=serving.correlation,
        normal=normal_table().values if serving.correlation else np.zeros((1, 2)),
        recorded_output=serving.output == "recorded",
    )


def _arms(
    serving: Serving, latency: CostModel, depth: int, drafted: Floats | None, block: int | None
) -> tuple[ServerArm, ...]:
    depths = range(depth + 1) if serving.depths == "each" else sorted(serving.depths)
    fixed = [
        (Arm(f"depth {k}" if k else "off", depth=k), RULES["fixed"].model_validate({"depth": k}))
        for k in depths
    ]
    chosen = [
        (
            Arm(
                spec.label,
                policy=spec.describe(),
                bound=spec.bound,
                drafted=depth if spec.shares_budget else None,
            ),
            spec,
        )
        for spec in serving.policies
        if spec.label not in {arm.name for arm, _ in fixed}  # "off" beside depth 0 is one arm
    ]
    return tuple(
        ServerArm(
            arm=arm,
            rule=None if spec.shares_budget else spec.batch_functions(),
            learns=LEARNS[spec.learns_from or "nothing"],
            batch=_batch_rule(
                spec,
                lambda batch: latency.at_batch(batch, depth, drafted, block),
                overhead_off=latency.overhead_off,
                depth=depth,
                most=serving.max_requests,
            ),
            speculates=arm.depth != 0 and spec.rule_name() != "off",
        )
        for arm, spec in (*fixed, *chosen)
    )


def _batch_rule(
    spec: PolicySpec,
    times_at: Callable[[float], tuple[Floats, Floats]],
    *,
    overhead_off: float,
    depth: int,
    most: int,
) -> BatchRule:
    """Parameters of a rule for each number of decoding requests, 0 (unused) to ``most``.

    An ema has a memory for each of its ladders, as the engine has; others have one memory.
    """
    if spec.learns_from == "finished":
        spec = spec.model_copy(update={"request_rounds": 1})  # it learns once per request
    any_batch = spec.shares_budget or spec.rule_name() in ("fixed", "off")
    batches = [1] if any_batch else range(1, most + 1)
    found, memory = [], 1
    for batch in batches:
        verify, draft = times_at(float(batch))
        times = verify + draft
        times[0] *= 1 + overhead_off
        environment = Environment(times, np.full(depth, np.nan), float(batch))
        found.append(spec.parameters(environment))
        memory = max(memory, spec.memory_size(environment))
    p = [found[0], *found] if len(found) == most else [found[0]] * (most + 1)
    sizes = np.array([one.size for one in p])
    table = np.zeros((most + 1, sizes.max()))
    for row, one in zip(table, p, strict=True):
        row[: one.size] = one
    rows, first = np.zeros(most + 1, np.int64), np.array([1])
    if spec.learns_from == "mean":
        _, first, rows = np.unique(
            np.c_[sizes, table][1:], axis=0, return_index=True, return_inverse=True
        )
        rows, first = np.append(0, rows.ravel()), first + 1
    return BatchRule(table, sizes, rows, first, np.zeros((len(first), memory)), np.zeros(depth))


def tally_server(plan: ServerPlan, first: int, count: int) -> Tally:
    """Tally of replications ``first`` .. ``first + count - 1``, with their counts of times."""
    rows = np.zeros((count, plan.layout.columns))
    counts = np.zeros((len(plan.arms), len(METRICS), BINS), np.int64)
    histograms = np.zeros((3, *counts.shape), np.int64)
    added = np.empty_like(histograms)
    for number in range(count):
        counts[:] = 0
        simulate_replication(plan, first + number, rows[number], counts)
        histograms += cluster_counts(counts, added)
    mean, comoment = np.empty(rows.shape[1]), np.empty((rows.shape[1], rows.shape[1]))
    moments(rows, mean, comoment)
    return Tally(count, mean, comoment, histograms)


def simulate_replication(
    plan: ServerPlan, number: int, row: Floats, histograms: Any, points: int = 0
) -> list[Timeline]:
    """Simulate one replication under every arm.

    Args:
        plan: the point.
        number: number of the replication.
        row: ``[columns]`` zeros; totals, written.
        histograms: ``[arms, METRICS, BINS]`` zeros; counts, written.
        points: most points of each timeline; 0: none.

    Returns:
        A timeline per arm.
    """
    key: Any = np.uint64(plan.key)
    laws = _laws(plan)
    timelines = []
    for place, arm in enumerate(plan.arms):
        world = World(
            key=key,
            replication=number,
            load=plan.load,
            engine=plan.engine,
            kind=plan.kind,
            chain=plan.chain,
            recording=plan.recording,
            costs=plan.costs,
            speculates=arm.speculates,
            laws=laws,
        )
        rule = arm.batch._replace(memory=arm.batch.memory.copy())
        state = new_state(
            world,
            plan.depth,
            points=points,
            stale=arm.stale,
            row=row[plan.layout.arm(place)],
            histograms=histograms[place],
        )
        arm.kernel()(world, plan.noise, rule, state, new_scratch(1), np.zeros((2, 1)))
        columns = state.timeline[: state.marks[0]].T
        timelines.append(replace(Timeline(*columns), used=state.used))
    return timelines


def _laws(plan: ServerPlan) -> Laws:
    """The laws of confidences, and which of them each hidden state has."""
    proposed = plan.engine.proposed
    states = np.arange(plan.chain.state_bounds.shape[1], dtype=np.int32)
    if proposed.size:  # a state of the drafter for each number of drafts
        states //= plan.depth + 1
    else:
        proposed = np.full(states.size, plan.depth, np.int32)
    values = plan.laws.reshape(-1, plan.laws.shape[-1]) if plan.laws.size else NO_LAWS[0, 0]
    return Laws(values, plan.depth, np.minimum(states, plan.laws.shape[2] - 1), proposed)


def timelines_of(plan: ServerPlan, number: int = 0) -> tuple[Timeline, ...]:
    """Timelines of a replication, by arm."""
    row = np.zeros(plan.layout.columns)
    histograms = np.zeros((len(plan.arms), len(METRICS), BINS), np.int64)
    return tuple(simulate_replication(plan, number, row, histograms, POINTS))
