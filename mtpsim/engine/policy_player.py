"""Adaptive policies: compiled, and simulated on the same text and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.draft_lengths import ProposingChain
from mtpsim.common.arrays import Floats
from mtpsim.config.adaptive import Adaptive
from mtpsim.exact.chain_solver import solve
from mtpsim.exact.oracle_mdp import ControlProblem, Optimal
from mtpsim.exact.recorded_control import RecordedControl
from mtpsim.kernels.arrays import (
    BLOCK,
    FLOATS,
    INTS,
    LENGTHS,
    LEVELS,
    MOST_ROUNDS,
    MOST_TOKENS,
    POSITIONS_BY_OUTCOME,
    PREVIOUS,
    ROUNDS,
    ROUNDS_BY_OUTCOME,
    ROW,
    TICKS,
    TOKENS,
    TOTAL_MS,
    ChainArrays,
    EngineArrays,
    LaneArrays,
    NoiseArrays,
    PolicyInputs,
    RecordingArrays,
    Situation,
    TapeArrays,
)
from mtpsim.latency import CompiledLatency
from mtpsim.latency.quantile_table import normal_table
from mtpsim.policy import Environment, PolicySpec
from mtpsim.policy.base import OptimalControl
from mtpsim.policy.confidence import MARGIN, separation
from mtpsim.policy.off import Off
from mtpsim.policy.oracle import Oracle

TILE = 8  # ticks per write to a tape
LANES = 256  # of a tape: about 2 MB, which stays in the nearer caches
ENDLESS = 2**62
MOST_UNROLLED, DEEPEST_UNROLLED = 32, 8  # length of a memory and depth that a kernel is built for
MOST_COPIED = 64  # parameters of a policy that its kernel copies

Log = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int32]
Limits = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy, compiled.

    Attributes:
        spec (PolicySpec): The policy as the experiment file states it.
        p (Floats): Parameters of its rule.
        memory (int): Length of its memory.
        depth (int): Greatest depth K.
        inputs (PolicyInputs): Inputs that its rule reads.
        drawn (bool): Whether it reads random confidences.
    """

    spec: PolicySpec
    p: Floats
    memory: int
    depth: int
    inputs: PolicyInputs
    drawn: bool

    @property
    def address(self) -> int:
        """Address of the kernel of its rule."""
        from mtpsim.kernels.policies import rule_address  # numba: not for `check`

        count = self.p.size  # rounded to a power of two, so that few kernels serve all lengths
        sizes = (
            max(8, 1 << (count - 1).bit_length()) if count <= MOST_COPIED else 0,
            self.memory if self.memory <= MOST_UNROLLED else 0,
            self.depth if self.depth <= DEEPEST_UNROLLED else 0,
        )
        found: int = rule_address(self.spec.rule_name(), self.spec.functions(), *sizes)
        return found


@dataclass(frozen=True)
class PolicySet:
    """Policies that are simulated on the same text, and their engine.

    Attributes:
        players (list[CompiledPolicy]): The policies.
        engine (EngineArrays): Costs and feedback of the engine, which has speculation enabled.
        without (EngineArrays): The same engine if it has not.
        optimal (Optimal | RecordedControl | None): Optimal control of the chain or of recorded
            positions; None for recorded rounds.
        environment (Environment): Known quantities that policies may use.
        situation (Situation): What can happen while they play.
    """

    players: list[CompiledPolicy]
    engine: EngineArrays
    without: EngineArrays
    optimal: Optimal | RecordedControl | None
    environment: Environment
    situation: Situation

    def any_reads(self, name: str) -> bool:
        """Whether any policy reads the input ``name``."""
        return any(getattr(player.inputs, name) for player in self.players)

    def engine_of(self, player: CompiledPolicy) -> EngineArrays:
        """The engine in which a policy plays; that of `off` has no speculation enabled."""
        return self.without if isinstance(player.spec, Off) else self.engine

    @property
    def labels(self) -> list[str]:
        """Name of each policy in the report."""
        return [player.spec.label for player in self.players]


def compile_policies(
    adaptive: Adaptive,
    source: Source,
    latency: CompiledLatency,
    *,
    rounds: int,
    tokens: int,
    batch: float | None,
) -> PolicySet:
    """Compile the policies of an experiment; arguments of :func:`~.simulate.compile_plan`."""
    rates = solve(source, source.depth, rounds=rounds, tokens=tokens).conditional
    horizon = {"rounds": rounds, "tokens": tokens}
    control = cache(lambda idle: _control(adaptive, source, latency, idle, **horizon))
    optimal = control(0.0)
    environment = Environment(
        times=_round_times(source, latency, rounds=rounds, tokens=tokens),
        rates=rates,
        batch=batch,
        solve=lambda idle: _known(control(idle)),
        first_draft=float(latency.draft[1]),
        overhead_off=latency.overhead_off,
    )
    engine = _engine(adaptive, source, latency, rates=rates, tokens=tokens)
    chain = source.hidden_chain
    situation = Situation(
        own_noise=engine.by_position and latency.persistence != 0,
        by_outcome=engine.kind in (ROUNDS_BY_OUTCOME, POSITIONS_BY_OUTCOME),
        shared=latency.shared,
        pauses=engine.stale > 0 or engine.resumed > 0,
        proposed=engine.proposed.size > 0,
        by_position=engine.by_position,
        slow=chain is not None and bool((chain.slowdown != 1).any()),
    )
    recording = source if isinstance(source, Recording) else None
    known = recording is not None and recording.confidence is not None
    compiled = partial(
        _player,
        environment=environment,
        situation=situation,
        entries=recording is not None,
        confidences=known and not adaptive.states_confidence,
    )
    players = [compiled(spec) for spec in adaptive.policies]
    players += _bound(adaptive, compiled) if optimal else []
    without = engine._replace(verify=latency.verify.astype(float))
    return PolicySet(players, engine, without, optimal, environment, situation)


def _round_times(source: Source, latency: CompiledLatency, *, rounds: int, tokens: int) -> Floats:
    """Mean ms of a round by depth, also where the number of proposed drafts is random."""
    times = latency.policy_verify + latency.draft
    if not isinstance(source, ProposingChain):
        return times
    for k in range(1, times.size):
        exact = solve(source, k, rounds=rounds, tokens=tokens)
        times[k] = (latency.verify + latency.draft)[k] * exact.slow_rounds / exact.rounds
    return times


def _engine(
    adaptive: Adaptive, source: Source, latency: CompiledLatency, *, rates: Floats, tokens: int
) -> EngineArrays:
    """The engine in which policies play, with speculation enabled."""
    law, chain = adaptive.confidence, source.hidden_chain
    proposed, states = np.zeros(0, np.int32), 1
    if isinstance(source, ProposingChain):  # confidences are those of proposed drafts
        rates, states = source.offered_rates, source.depth + 1
        proposed = source.proposed.astype(np.int32)
    odds = np.clip(rates, MARGIN, 1 - MARGIN)
    apart = separation(adaptive.auc)
    engine = EngineArrays(
        kind=_kind(source),
        by_position=source.clock == "token",
        verify=latency.policy_verify.astype(float),
        draft=latency.draft.astype(float),
        **adaptive.switching(),
        full_feedback=adaptive.feedback == "full",
        rates=rates,
        odds_against=(1 - odds) / odds,
        separation=apart,
        rejection_factor=float(np.exp(apart**2)),
        after_rejection=rates[None],
        laws=law.tables(chain.accept if chain else None) if law else np.zeros((0, 0, 0, 0)),
        tokens=tokens,
        proposed=proposed,
    )
    if law and law.states:
        engine = engine._replace(laws=np.repeat(engine.laws, states, axis=2))
    if law and chain is not None:  # its laws may be by state
        engine = engine._replace(after_rejection=chain.accept)
    return engine


def _bound(
    adaptive: Adaptive, compiled: Callable[[PolicySpec], CompiledPolicy]
) -> list[CompiledPolicy]:
    """The oracle as an upper bound, unless the file lists it or it can't be solved."""
    if any(isinstance(policy, Oracle) for policy in adaptive.policies):
        return []
    try:
        return [compiled(Oracle(name=None, pay_draft_at_zero=False))]
    except ValueError:  # too large
        return []


def _control(
    adaptive: Adaptive,
    source: Source,
    latency: CompiledLatency,
    idle: float,
    *,
    rounds: int,
    tokens: int,
) -> Optimal | RecordedControl | None:
    """Optimal control, a round without drafts taking ``idle`` ms more; None: recorded rounds."""
    times = latency.policy_verify + latency.draft
    times[0] += idle
    costs: dict[str, Any] = {"times": times, "rounds": rounds, "tokens": tokens}
    costs |= adaptive.switching()
    if isinstance(source, Recording):
        return RecordedControl(recording=source, **costs) if source.clock == "token" else None
    chain = source.hidden_chain
    return Optimal(ControlProblem(chain=chain, **costs)) if chain else None


def _known(optimal: Optimal | RecordedControl | None) -> OptimalControl:
    if optimal is None:
        raise ValueError("recorded rounds have no hidden states, which this policy reads")
    return cast("OptimalControl", optimal)


def _kind(source: Source) -> int:
    if source.hidden_chain is None:
        return LENGTHS
    if source.outcomes == 2:
        return POSITIONS_BY_OUTCOME if source.clock == "token" else ROUNDS_BY_OUTCOME
    return LEVELS if source.clock == "token" else LENGTHS


def _player(
    spec: PolicySpec,
    environment: Environment,
    *,
    situation: Situation,
    entries: bool,
    confidences: bool,
) -> CompiledPolicy:
    """Compile a policy; ``entries`` and ``confidences``: of recorded requests."""
    drawn = spec.reads_confidence and not confidences
    p, memory = spec.parameters(environment), max(spec.memory_size(environment), 1)
    in_rounds = drawn and (situation.by_outcome or situation.pauses or situation.proposed)
    inputs = PolicyInputs(
        confidence=in_rounds,
        scores=spec.uses_random_numbers,
        outcome=in_rounds or spec.sees_outcome,
        drops=spec.discards_drafts,
        entry=spec.sees_entry and entries,
        on_tape=spec.reads_confidence and not in_rounds,
    )
    return CompiledPolicy(spec, p, memory, environment.depth, inputs, drawn)


# One state that slows nothing down, for recorded requests
EMPTY_CHAIN = ChainArrays(
    state_bounds=np.zeros((1, 1), np.int32),
    accept_bounds=np.zeros((1, 1, 1), np.int32),
    guide=np.zeros((1, 1), np.int32),
    slowdown=np.ones(1),
    two=False,
    slow=False,
)


class TapePlayer:
    """A tape of random outcomes, filled and played for one group of requests after the other."""

    def __init__(
        self,
        policy_set: PolicySet,
        source: ChainArrays | RecordingArrays,
        noise: NoiseArrays,
        longest: int,
    ) -> None:
        self.policy_set, self.source, self.noise = policy_set, source, noise
        self.chain = EMPTY_CHAIN if isinstance(source, RecordingArrays) else source
        engine = policy_set.engine
        self.ahead = -(-len(engine.rates) // TILE) * TILE if engine.by_position else 0
        self.width = min(TICKS, -(-longest // TILE) * TILE) + self.ahead
        self.tape = self._new_tape()
        self.normal = normal_table().values
        self.hints = np.zeros(len(engine.rates) * BLOCK)

    def _new_tape(self) -> TapeArrays:
        engine, n, w = self.policy_set.engine, LANES, self.width
        by_outcome = engine.kind in (ROUNDS_BY_OUTCOME, POSITIONS_BY_OUTCOME)
        deep = len(engine.rates)
        each = 1 if engine.by_position else deep
        scores = each if self.policy_set.any_reads("scores") else 0
        drawn = any(player.drawn for player in self.policy_set.players)
        ratios = np.zeros((each if drawn else 0, w, n))
        on_tape = self.policy_set.any_reads("on_tape")
        # Under the round clock each confidence takes the place of the ratio that it is made from.
        confidences = ratios if drawn and not engine.by_position else np.zeros((deep, w, n))
        return TapeArrays(
            accepts=np.zeros((w, n), np.int64),
            state=np.zeros((w, n), np.int32),
            words=np.zeros((w if by_outcome else 0, n), np.int32),
            target=np.ones((0 if self.noise.shared else w, n)),
            verify=np.ones((w, n)),
            draft=np.ones((0 if self.noise.shared else w, n)),
            stale_words=np.zeros((w if engine.stale else 0, n), np.int32),
            resumed_words=np.zeros((w if engine.resumed else 0, n), np.int32),
            scores=np.zeros((scores, w, n)),
            likelihood_ratios=ratios,
            rejected_words=np.zeros(ratios.shape, np.int32),
            entries=np.zeros((w if self.policy_set.any_reads("entry") else 0, n), np.int32),
            confidences=confidences if on_tape else np.zeros((0, w, n)),
        )

    def play(self, key: int, first: int, limits: Limits, totals: Floats, logs: Log) -> None:
        """Simulate requests ``first`` .. to their end under every policy."""
        from mtpsim.kernels.policies import player  # numba: not for `check`

        n, base = len(limits), 0
        row = np.full(n, len(self.chain.state_bounds) - 1, np.int32)
        pair, memory = np.zeros(n, np.int32), np.zeros((2, n))
        players = self.policy_set.players
        lanes = [self._new_lanes(player, limits) for player in players]
        kernel = player(self.policy_set.situation)
        while True:
            self._write(key, first, base, row, pair, memory)
            flat = self._flat()
            stop = base + self.width - self.ahead
            rounds = flat, LANES, base, stop, self.chain, self.noise
            for i, one in enumerate(players):
                engine = self.policy_set.engine_of(one)
                rule = one.inputs, one.address, one.p
                kernel(*rounds, engine, *rule, lanes[i], self.hints, logs[i])
            if all(_ended(part) for part in lanes):
                break
            base = stop
        for part, out in zip(lanes, totals, strict=True):
            out[:, 0] = np.minimum(_field(part.ints, TOKENS)[:n], limits[:, 2])
            out[:, 1] = _field(part.floats, TOTAL_MS)[:n]
            out[:, 2] = _field(part.ints, ROUNDS)[:n]
            for depth in range(out.shape[1] - 3):
                out[:, 3 + depth] = _field(part.counts, depth * BLOCK)[:n]

    def _new_lanes(self, player: CompiledPolicy, limits: Limits) -> LaneArrays:
        """Requests at their beginning; those beyond the last one have ended."""
        blocks, arms = -(-len(limits) // BLOCK), len(self.policy_set.engine.rates) + 1
        most = np.zeros((blocks * BLOCK, 2), np.int64)
        most[: len(limits)] = limits[:, :2]
        ints = np.zeros((blocks, INTS), np.int64)
        ints[:, PREVIOUS : PREVIOUS + BLOCK] = -1
        ints[:, ROW : ROW + BLOCK] = len(self.chain.state_bounds) - 1
        ints[:, MOST_ROUNDS : MOST_ROUNDS + BLOCK] = most[:, 0].reshape(-1, BLOCK)
        ints[:, MOST_TOKENS : MOST_TOKENS + BLOCK] = most[:, 1].reshape(-1, BLOCK)
        counts, width = np.zeros((blocks, arms * BLOCK), np.int64), player.memory * BLOCK
        return LaneArrays(ints, np.zeros((blocks, FLOATS)), counts, np.zeros((blocks, width)))

    def _write(self, key: int, first: int, base: int, row: Ints, pair: Ints, m: Floats) -> None:
        """Fill the tape from tick ``base`` on; its first columns may be filled already."""
        from mtpsim.kernels import tape as kernels
        from mtpsim.kernels.policies import fill_confidences

        known = self.ahead if base else 0
        for part in self.tape:
            if known and part.size:
                ticks = part if part.ndim == 2 else part.swapaxes(0, 1)
                ticks[:known] = ticks[-known:].copy()
        at, n = (np.uint64(key), first, base + known, known), row.size
        engine, stop = self.policy_set.engine, self.width - self.ahead
        if isinstance(self.source, RecordingArrays):
            kernels.write_recording(*at, self.source, engine, n, self.tape)
        else:
            kernels.write_chain(*at, self.source, engine, row, pair, self.tape)
        kernels.write_noise(*at, self.noise, engine, m, self.tape)
        kernels.write_extras(*at, self.normal, engine, n, self.tape)
        if engine.kind == LEVELS:
            kernels.count_levels(self.tape.accepts, engine.rates.size, stop)
        if self.tape.confidences.size and self.tape.likelihood_ratios.size:
            fill_confidences(self._flat(), stop, m.shape[1], LANES, engine)

    def _flat(self) -> TapeArrays:
        """Arrays of the tape, each in one row."""
        parts: list[Any] = [part.reshape(-1) for part in self.tape]
        return TapeArrays(*parts)


def _field(values: npt.NDArray[Any], first: int) -> npt.NDArray[Any]:
    """One number of each request, from the arrays of its block."""
    return values[:, first : first + BLOCK].reshape(-1)


def _ended(lanes: LaneArrays) -> bool:
    rounds = _field(lanes.ints, ROUNDS) >= _field(lanes.ints, MOST_ROUNDS)
    return bool((rounds | (_field(lanes.ints, TOKENS) >= _field(lanes.ints, MOST_TOKENS))).all())


def limits_of(
    key: int,
    source: ChainArrays | RecordingArrays,
    first: int,
    count: int,
    *,
    rounds: int,
    tokens: int,
) -> Limits:
    """Most rounds, most tokens and most counted tokens of each request, ``[count, 3]``.

    A request ends with the round that reaches its most tokens; those beyond the last limit are cut.
    """
    from mtpsim.kernels.philox import PATH, words_at  # numba: not for `check`

    limits = np.full((count, 3), ENDLESS)
    if rounds:
        limits[:, 0] = rounds
    elif tokens:
        limits[:, 1:] = tokens
    elif isinstance(source, RecordingArrays):
        words = np.empty((TILE, count), np.int32)
        words_at(np.uint64(key), first, 0, PATH, words)
        requests = len(source.offsets) - 1
        drawn = (words[0].view(np.uint32).astype(np.uint64) * np.uint64(requests)) >> np.uint64(32)
        if source.in_order:
            drawn = np.arange(first, first + count, dtype=np.uint64) % np.uint64(requests)
        limits[:, int(source.by_position)] = np.diff(source.offsets)[drawn.astype(np.intp)]
        if source.by_position and not source.whole:
            limits[:, 2] = limits[:, 1]
    return limits


def play(
    policy_set: PolicySet,
    key: int,
    source: ChainArrays | RecordingArrays,
    noise: NoiseArrays,
    limits: Limits,
    first: int,
    *,
    logged: int = 0,
) -> tuple[Floats, Log]:
    """Simulate requests ``first`` .. under every policy.

    Args:
        policy_set (PolicySet): The policies.
        key (int): Key of all random words.
        source (ChainArrays | RecordingArrays): Which drafts are accepted.
        noise (NoiseArrays): Noise of the round times.
        limits (Limits): ``[n, 3]`` of each request, as of :func:`limits_of`.
        first (int): Number of the first request.
        logged (int): Number of rounds per request to log.

    Returns:
        Totals ``[policies, n, 4 + K]`` (tokens, ms, rounds, rounds by depth) and the log
        ``[policies, n, logged, 3]`` (depth, accepted drafts, state; -1 after the last round).
    """
    engine, count = policy_set.engine, len(policy_set.players)
    totals = np.zeros((count, len(limits), 4 + len(engine.rates)))
    logs = np.full((count, len(limits), logged, 3), -1, np.int16)
    ticks = int(limits.min(1).max()) * (len(engine.rates) + 1 if engine.by_position else 1)
    player = TapePlayer(policy_set, source, noise, ticks)
    for at in range(0, len(limits), LANES):
        some = slice(at, at + LANES)
        player.play(key, first + at, limits[some], totals[:, some], logs[:, some])
    return totals, logs
