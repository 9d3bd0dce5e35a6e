"""Checks of sections of an experiment against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mtpsim.acceptance import Recording, Source
from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import FieldError, InputError, Problem
from mtpsim.config.scenarios import NOT_IN_SCENARIOS, scenarios, value_at
from mtpsim.config.simulation import PRECISION, ROUNDS
from mtpsim.exact.chain_solver import solve_operations
from mtpsim.latency import CostModel

if TYPE_CHECKING:
    from mtpsim.config.draft import Draft
    from mtpsim.config.experiment import Experiment
    from mtpsim.policy import PolicySpec
    from mtpsim.policy.confidence import Confidence

MAX_ENTRIES = 1 << 25  # of the transitions of a round, 256 MiB
MAX_OPERATIONS = 3e12  # minutes of one core
VARIED = "acceptance", "latency", "draft", "simulation", "theory", "decision"  # by scenarios

Mismatch = tuple[tuple[str, str], str]  # section and key, message


def mismatches(experiment: Experiment, invalid: set[str]) -> list[Mismatch]:
    """Disagreements between sections, as far as all sections involved are valid."""
    if "draft" in invalid:  # the other checks need its depth
        return []
    if experiment.draft and "acceptance" not in invalid:
        from mtpsim.config.draft import drafted_tree

        try:
            depth = drafted_tree(experiment.acceptance, experiment.draft).depth
            if experiment.draft.lengths is not None:
                experiment.draft.length_law(experiment.acceptance.chain(), depth)
        except FieldError as error:
            return [(("draft", error.key), error.message)]
        if "latency" not in invalid and (wrong := list(_check_draft(experiment, experiment.draft))):
            return wrong
    checks: tuple[tuple[set[str], Callable[[Experiment], Iterator[Mismatch]]], ...] = (
        ({"acceptance", "simulation"}, _check_size),
        ({"acceptance", "latency"}, _check_times),
        ({"acceptance", "theory"}, _check_theory),
        ({"acceptance", "simulation"}, _check_simulation),
        ({"acceptance", "simulation", "decision"}, _check_objective),
        ({"acceptance", "simulation"}, _check_lengths),
        ({"acceptance", "latency", "adaptive"}, _check_policies),
        ({"acceptance", "simulation", "adaptive"}, _check_ends),
        ({"acceptance", "latency", "simulation", "uncertainty"}, _check_uncertainty),
        ({"acceptance", "latency", "simulation", "serving"}, _check_serving),
    )
    found = [one for needs, check in checks if not needs & invalid for one in check(experiment)]
    if experiment.robust and not invalid:
        found += _check_scenarios(experiment, found)
    return found


def _check_draft(experiment: Experiment, draft: Draft) -> Iterator[Mismatch]:
    """What blocks and random numbers of drafts can't be combined with."""
    latency = experiment.latency
    if draft.block is not None:
        try:
            latency.draft_time(draft.block)
        except ValueError:
            yield (
                ("draft", "block"),
                "latency.draft is a list by depth; a block needs one number or a line { base, "
                "per_token }",
            )
    if draft.lengths is None:
        return
    if any(noise is not latency.noise for noise in latency.noises()):
        yield ("draft", "lengths"), "needs noise of the whole round: latency.noise"
    source = experiment.source
    entries = (source.states * (source.depth + 1)) ** 2
    if experiment.adaptive and entries > MAX_ENTRIES:
        yield (
            ("draft", "lengths"),
            f"{source.states:,} states with their proposed drafts make {entries:,} transitions of "
            f"policies; at most {MAX_ENTRIES:,} are possible: give a smaller depth",
        )


def _check_size(experiment: Experiment) -> Iterator[Mismatch]:
    """Refuse chains that don't fit the memory, or whose exact solution takes minutes."""
    chain = experiment.source.hidden_chain
    if chain is None:
        return
    states, depth, tokens = chain.states, chain.depth, experiment.simulation.tokens or 0
    if tokens and (lengths := chain.lengths_of(tokens)):
        tokens = int(lengths.tokens.max())
    entries = states**2 * (depth + 1)
    if entries > MAX_ENTRIES:
        yield (
            ("acceptance", ""),
            f"{states:,} states at depth {depth} make {entries:,} transitions; at most "
            f"{MAX_ENTRIES:,} are possible",
        )
    work = sum(solve_operations(states, k + 1, tokens) for k in range(depth + 1)) * bool(tokens)
    if work > MAX_OPERATIONS:
        yield (
            ("simulation", "tokens"),
            f"{tokens:,} tokens of a chain of {states:,} states at depth {depth} take {work:.1e} "
            f"operations to solve; at most {MAX_OPERATIONS:.0e} are possible: give fewer tokens, "
            "or `rounds`",
        )


def _check_times(experiment: Experiment) -> Iterator[Mismatch]:
    depth = experiment.source.depth
    for key, message in experiment.latency.wrong_lengths(depth, experiment.drafted).items():
        yield ("latency", key), message


def _check_theory(experiment: Experiment) -> Iterator[Mismatch]:
    depth = experiment.source.depth
    if experiment.measured_at > depth:
        yield (
            ("theory", "measured_at"),
            f"{experiment.measured_at} is given, but the acceptance model has depth {depth}",
        )


def _check_simulation(experiment: Experiment) -> Iterator[Mismatch]:
    source, simulation = experiment.source, experiment.simulation
    if simulation.as_recorded and source.hidden_chain is not None:
        yield (
            ("simulation", "as_recorded"),
            f'requires recorded requests (model = "trace"), not {experiment.acceptance.model!r}',
        )
    if simulation.between and max(simulation.between) > source.depth:
        yield (
            ("simulation", "between"),
            f"{list(simulation.between)} is given, but the acceptance model has depth "
            f"{source.depth}",
        )


def _check_lengths(experiment: Experiment) -> Iterator[Mismatch]:
    chain, simulation = experiment.source.hidden_chain, experiment.simulation
    if chain is None and simulation.lengths:
        yield ("simulation", "lengths"), "recorded requests have lengths of their own (as_recorded)"
    if chain is None or chain.lengths is None:
        return
    if simulation.lengths:
        yield ("simulation", "lengths"), "the parts have `tokens` of their own: give one of the two"
    if not simulation.tokens:
        yield (
            ("acceptance", "parts"),
            "a part with `tokens` needs simulation.tokens, the length of all others",
        )


def _check_objective(experiment: Experiment) -> Iterator[Mismatch]:
    if experiment.decision.quantile is None:
        return
    if experiment.serving is not None:
        yield ("decision", "objective"), "a server's depths are compared by serving.goals"
        return
    name, simulation = experiment.decision.objective, experiment.simulation
    source = experiment.source
    if not simulation.tokens and not (simulation.as_recorded and source.clock == "token"):
        yield (
            ("decision", "objective"),
            f'"{name}" compares request times, so requests must have as many tokens at every '
            "depth: give simulation.tokens",
        )
    given = {"uncertainty": experiment.uncertainty, "robust": experiment.robust}
    for section in [name for name, value in given.items() if value]:
        yield (
            ("decision", "objective"),
            f'"{name}" can\'t be combined with [{section}], which compares mean speeds',
        )


def _check_policies(experiment: Experiment) -> Iterator[Mismatch]:
    source, found = experiment.source, []
    if experiment.adaptive and (wrong := _misfit(experiment.adaptive.confidence, source)):
        yield ("adaptive", "confidence"), wrong
    for number, policy in enumerate(experiment.adaptive.policies if experiment.adaptive else (), 1):
        wrong = policy.mismatch(source.depth, experiment.batch)
        if policy.knows and source.hidden_chain is None:
            wrong = _unknown_to(policy, source.clock) or wrong
        if policy.reads_confidence and isinstance(source, Recording):
            stated = experiment.adaptive is not None and experiment.adaptive.states_confidence
            wrong = _unsure(source, stated, "adaptive") or wrong
        if wrong:
            found.append(f"{policy.label} (number {number}): {wrong}")
    if found:
        yield ("adaptive", "policies"), "; ".join(found)


def _misfit(confidence: Confidence | None, source: Source) -> str | None:
    """Why an acceptance model can't use a law of confidences, or None."""
    if confidence is None:
        return None
    from mtpsim.acceptance.draft_lengths import ProposingChain

    states = source.states
    if isinstance(source, ProposingChain):
        states //= source.depth + 1
    modelled = source.hidden_chain is not None
    return confidence.mismatch(source.depth, states, modelled=modelled)


def _unsure(source: Recording, stated: bool, section: str) -> str | None:
    """Why a policy that reads confidences can't play recorded requests; None if it can."""
    if source.confidence is not None or stated:
        return None
    return (
        "it reads the draft's confidence, which is not recorded for every round: log `confidence` "
        f"(docs/logs.md), or give {section}.auc or {section}.confidence to draw it"
    )


def _unknown_to(policy: PolicySpec, clock: str) -> str | None:
    """Why a policy can't know enough of recorded requests to play them; None if it can."""
    if not policy.knows_recorded:
        return (
            f"it knows {policy.knows}, so it requires a model of hidden states; recorded requests "
            "have none"
        )
    if clock == "round":
        return (
            f"it knows {policy.knows_recorded}, which recorded rounds show at their own depth "
            'only; it requires text positions (by = "position")'
        )
    return None


def _check_ends(experiment: Experiment) -> Iterator[Mismatch]:
    """Refuse rounds where a policy knows how long a recorded text takes to its end."""
    source, rounds = experiment.source, experiment.simulation.rounds
    if not (rounds and isinstance(source, Recording) and source.clock == "token"):
        return
    for policy in experiment.adaptive.policies if experiment.adaptive else ():
        if policy.sees_entry:
            yield (
                ("adaptive", "policies"),
                f"{policy.label}: it knows {policy.knows_recorded} and needs an end in the text: "
                "give simulation.as_recorded = true or simulation.tokens, not rounds",
            )


def _check_uncertainty(experiment: Experiment) -> Iterator[Mismatch]:
    if experiment.uncertainty is None:
        return
    from mtpsim.config.uncertainty import draw_inputs

    simulation = experiment.simulation
    try:
        draw_inputs(
            experiment.raw(),
            experiment.uncertainty,
            seed=simulation.seed,
            confidence=simulation.confidence,
        )
    except ValueError as error:
        yield ("uncertainty", "inputs"), str(error)


def _check_serving(experiment: Experiment) -> Iterator[Mismatch]:
    """What a server can't do, and keys that it does not read."""
    serving = experiment.serving
    if serving is None:
        return
    source, simulation = experiment.source, experiment.simulation
    if not isinstance(experiment.latency, CostModel):
        yield (
            ("latency", "model"),
            "a server needs the time of a step by its tokens and requests: give a cost model, such "
            'as model = "linear" or "steps"',
        )
    others = {
        "adaptive": ("policies", "a server has its own policies: serving.policies"),
        "uncertainty": ("", "is not available for a server"),
        "robust": ("", "is not available for a server"),
        "theory": ("", "a server has no closed form"),
    }
    for section, (key, message) in others.items():
        if getattr(experiment, section):
            yield (section, key), message
    given: dict[str, float | None] = {"requests": simulation.requests, "tokens": simulation.tokens}
    given |= {"as_recorded": simulation.as_recorded or None}
    if simulation.lengths is not None:
        yield ("simulation", "lengths"), "a server does not read it: see serving.output"
    given |= {"rounds": simulation.rounds if simulation.rounds != ROUNDS else None}
    given |= {"precision": simulation.precision if simulation.precision != PRECISION else None}
    for name in [name for name, value in given.items() if value is not None]:
        yield (
            ("simulation", name),
            "a server does not read it: see requests, replications, precision and output of "
            "[serving]",
        )
    chain = source.hidden_chain
    if chain is not None and chain.lengths is not None:
        yield ("acceptance", "parts"), "`tokens` of a part: a server has serving.output instead"
    if serving.output == "recorded" and (chain is not None or source.clock != "token"):
        yield (
            ("serving", "output"),
            'requires recorded text positions: model = "trace" with by = "position"',
        )
    if isinstance(serving.depths, list) and max(serving.depths) > source.depth:
        yield (
            ("serving", "depths"),
            f"{max(serving.depths)} is given, but the acceptance model has depth {source.depth}",
        )
    if wrong := _misfit(serving.confidence, source):
        yield ("serving", "confidence"), wrong
    found = []
    for number, policy in enumerate(serving.policies, 1):
        wrong = policy.server_mismatch(source.depth)
        if policy.shares_budget and experiment.drafted is not None:
            wrong = "it verifies a part of each chain of drafts, and [draft] has a tree"
        if policy.reads_confidence and isinstance(source, Recording) and not wrong:
            wrong = _unsure(source, serving.states_confidence, "serving")
        if wrong:
            found.append(f"{policy.label} (number {number}): {wrong}")
    if found:
        yield ("serving", "policies"), "; ".join(found)


def _check_scenarios(experiment: Experiment, known: Sequence[Mismatch]) -> Iterator[Mismatch]:
    """Problems of the declared scenarios, without those of the file itself."""
    raw, robust = experiment.raw(), experiment.robust or {}
    depth = experiment.source.depth
    own = {(".".join(filter(None, path)), message) for path, message in known}
    try:
        for key in robust:
            if key.partition(".")[0] in NOT_IN_SCENARIOS:
                raise ValueError(f"{key} can't vary; scenarios vary keys of {', '.join(VARIED)}")
            value_at(raw, key)
        for changes in scenarios(raw, robust):
            try:
                found = experiment.changed(changes).source.depth
            except InputError as error:
                new = [f"{p.key}: {p.text}" for p in error.problems if (p.key, p.text) not in own]
                if new:
                    raise ValueError("; ".join(new)) from None
                continue
            if found != depth:
                raise ValueError(
                    f"all scenarios must have depth {depth}; {changes} has depth {found}"
                )
    except ValueError as error:
        yield ("robust", ""), str(error)


def invalid_sections(raw: JsonDict, valid: JsonDict, problems: Sequence[Problem]) -> set[str]:
    """Sections that were refused, and those that a misspelt one may stand for."""
    refused = {"acceptance", "latency", *raw} - valid.keys()
    return refused | {p.suggestion for p in problems if p.key in refused and p.suggestion}
