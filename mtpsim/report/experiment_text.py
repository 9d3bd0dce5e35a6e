"""The text of ``mtpsim check``: what an experiment simulates, before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.base import conditional_rates, stationary
from mtpsim.common.arrays import Floats
from mtpsim.common.text import counted, span
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.scenarios import scenarios
from mtpsim.config.simulation import Simulation
from mtpsim.config.sweep import swept_values
from mtpsim.engine.block_sizes import FLOOR, unit_of
from mtpsim.engine.options import WITHIN, core_seconds
from mtpsim.formula.closed_form import conditional_from
from mtpsim.latency import CostModel
from mtpsim.report.exact_text import exact_answer
from mtpsim.report.formatting import set_label, value_text

if TYPE_CHECKING:
    from mtpsim.acceptance.trees import Tree
    from mtpsim.config.draft import Draft

TICKS = {"round": "after each round", "token": "after each text position"}
MOST_STATES = 8  # listed one by one
ROUND_CV = 0.6  # of the tokens of a round, for the estimated time
POINT_SECONDS = 0.04  # to compile a point of a sweep and to make its document


def explain(experiment: Experiment) -> str:
    """Describe an experiment; acceptance and latency are those of the first point of a sweep."""
    lines, points = [experiment.title or "(no title)"], experiment.points()
    if len(points) > 1:
        lines += ["", f"First point of {len(points):,}: {set_label(points[0].set)}"]
    for heading, entries in chapters(experiment):
        lines += ["", heading, *(f"  {line}" for line in entries)]
    warnings = dict.fromkeys(points[0].experiment.warnings())
    return "\n".join([*lines, *(f"\nwarning: {text}" for text in warnings)])


def chapters(experiment: Experiment) -> list[tuple[str, list[str]]]:
    """What an experiment simulates: headings and their lines."""
    points = experiment.points()
    first = points[0].experiment
    chain, draft = first.source, first.draft
    if draft and draft.lengths is not None:  # whose states are a state and a number of drafts
        from mtpsim.config.draft import drafted_source

        chain = drafted_source(first.acceptance, draft)
    found = [
        (
            f"Acceptance: {first.acceptance.model}, depth {chain.depth}",
            first.acceptance.describe() + _acceptance(chain) + rates_are_note(experiment),
        ),
        *([("Draft", _draft(draft, first.tree))] if draft and first.tree else []),
        ("Latency", [*first.latency.describe(), *_rounds(first)]),
    ]
    if first.serving is not None:
        from mtpsim.report.server_text import server_chapters

        *server, (heading, lines) = server_chapters(first, len(points))
        found += [*server, (heading, lines + _variations(experiment, first))]
        if first.serving.policies:
            policies = [policy.describe() for policy in first.serving.policies]
            policies += first.serving.changes_text()
            found.append(("Policies of the batch", policies))
        return found
    found.append(("Simulation", _simulation(points) + _variations(experiment, first)))
    if policies := _policies(points):
        found.append(("Adaptive depth", policies))
    found.append(("Theory", [f"closed form uses {_rates_used(first)}"]))
    reported = [
        "accept length, round time, speedup and marginal gain: closed form, exact, and",
        "simulated with confidence intervals; error of the closed form; break-even rates;",
        "recommended depth",
    ]
    return [*found, (f"Report, for each depth 0..{chain.depth}", reported)]


def _rounds(experiment: Experiment) -> list[str]:
    """Mean time of a plain step and of rounds by depth, where the section doesn't state them."""
    if not isinstance(experiment.latency, CostModel) and experiment.draft is None:
        return []
    verify, draft = experiment.step_times()
    chain, proposing = experiment.source.hidden_chain, ""
    if chain is not None and (chain.slowdown != 1).any():
        exact = exact_answer(experiment)
        verify, draft = (exact.verify, exact.draft) if exact else (verify, draft)
        proposing = "" if exact else ", before slowdowns and if all drafts are proposed"
    plain, *rounds = (f"{time:.4g}" for time in verify + draft)
    depths = span([1, len(rounds)])
    return [f"plain step {plain} ms; rounds of depth {depths}: {', '.join(rounds)} ms{proposing}"]


def _draft(draft: Draft, tree: Tree) -> list[str]:
    """The tree of drafts and its nodes by level."""
    if tree.is_chain:
        lines = [f"chain of up to {counted(tree.depth, 'draft')}"]
        if draft.block is not None:
            lines.append(f"the drafter takes the time of {counted(draft.block, 'draft')}")
        for row in draft.length_rows(tree.depth):
            mean = np.array(row) @ np.arange(len(row)) / sum(row)
            lines.append(f"proposes {mean:.3g} on average, none in {100 * row[0] / sum(row):.3g} %")
        return lines
    widths = ", ".join(f"{width:.0f}" for width in np.diff(tree.drafted))
    kind = "explicit tree" if isinstance(draft.tree, list) else draft.tree
    return [
        f"{kind}: {counted(tree.nodes, 'node')} in {counted(tree.depth, 'level')} ({widths})",
        "depth k: the first k levels, in k draft passes and one verify of all nodes",
        "a step counts the nodes as k, drafting the passes",
    ]


def time_estimate(experiment: Experiment, workers: int, longer_than: float = 0.0) -> list[str]:
    """The estimated time of the simulation as a range, on a line.

    The range is from the earliest stop to the greatest number of requests, with the error of the
    estimate.

    Args:
        experiment (Experiment): The experiment.
        workers (int): Number of cores.
        longer_than (float): Seconds; no line if the simulation may be shorter.
    """
    low, high, points = 0.0, 0.0, experiment.points()
    for point in points:
        each = core_seconds(point.experiment) / workers
        least, most = _requests(point.experiment)
        low, high = low + least * each / WITHIN, high + most * each * WITHIN
    if low < longer_than:
        return []
    took = "less than 1 s" if high < 1 else f"{_duration(low)} to {_duration(high)}"
    if high >= 1 and not all(point.experiment.planned for point in points):
        took = f"{_duration(low)} if precise at the first test, at most {_duration(high)}"
        if not experiment.serving:
            usual = sum(_usual(one.experiment) * core_seconds(one.experiment) for one in points)
            usual = usual / workers + POINT_SECONDS * len(points)
            took = f"about {_duration(min(usual, high))} ({_duration(high)} at max_requests)"
    return [f"estimated simulation time on {counted(workers, 'core')}: {took}"]


def _duration(seconds: float) -> str:
    units = {"days": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
    unit = next((name for name, size in units.items() if seconds >= 2 * size), "s")
    return f"{float(f'{max(seconds, 0.1) / units[unit]:.2g}'):,g} {unit}"


def _unit(experiment: Experiment) -> int:
    """Requests per unit of a block."""
    s, adaptive = experiment.simulation, experiment.adaptive
    policies = len(adaptive.policies) if adaptive else 0
    return unit_of(experiment.source, s.rounds or 0, s.tokens or 0, policies)[0]


def _requests(experiment: Experiment) -> tuple[int, int]:
    """Least and greatest number of requests of a point."""
    s = experiment.simulation
    if experiment.planned:
        return experiment.planned, experiment.planned
    if experiment.serving:
        from mtpsim.config.serving import LEAST_REPLICATIONS

        return LEAST_REPLICATIONS, experiment.most
    return min(FLOOR * _unit(experiment), s.max_requests), s.max_requests


def _usual(experiment: Experiment) -> float:
    """Number of requests to the precision of a mean speedup, if rounds were independent."""
    s, (least, most) = experiment.simulation, _requests(experiment)
    rounds = s.rounds or s.tokens or experiment.source.mean_length
    if s.precision is None or s.scale != "relative":
        return least
    return min(max((1.96 * ROUND_CV / s.precision) ** 2 / rounds, least), most)


def _policies(points: list[Point]) -> list[str]:
    """Every policy of any point, once, with its parameters."""
    sections = [point.experiment.adaptive for point in points]
    lines = [policy.describe() for section in sections if section for policy in section.policies]
    lines += [line for section in sections if section for line in section.changes_text()]
    return list(dict.fromkeys(lines))


def _variations(experiment: Experiment, first: Experiment) -> list[str]:
    lines = []
    if experiment.sweep:
        for key, values in swept_values(experiment.sweep).items():
            texts = (value_text(v) if isinstance(v, dict) else str(v) for v in values)
            lines.append(f"sweep over {key}: {', '.join(texts)}")
    if first.uncertainty:
        keys = ", ".join([*first.uncertainty.inputs, *first.uncertainty.sampled])
        lines.append(f"uncertain inputs: {keys}; {first.uncertainty.draws:,} draws per point")
    if first.robust:
        count = sum(1 for _ in scenarios(first.raw(), first.robust))
        lines.append(f"scenarios over {', '.join(first.robust)}: {count:,} per point")
    return lines


def _rates_used(experiment: Experiment) -> str:
    theory = experiment.theory
    if theory is None and experiment.input_rates is not None:
        return "the input rates at every depth"
    definition, weighting = (
        (theory.definition, theory.weighting) if theory else ("conditional", "round-pooled")
    )
    return f"{definition} rates measured at depth {experiment.measured_at} ({weighting})"


def _listed(values: Floats) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _acceptance(source: Source) -> list[str]:
    if isinstance(source, Recording):
        entries = counted(
            source.accepted.size, "text position" if source.clock == "token" else "round"
        )
        requests = counted(source.requests, "recorded request")
        how = "in recorded order" if source.in_order else "resampled with replacement"
        draws = f"{source.draws} draws of what the log does not show" if source.draws > 1 else ""
        return [f"{requests} ({entries}), {how}", *filter(None, [draws])]
    chain = source.hidden_chain
    assert chain is not None  # what is not recorded has a chain
    if chain.states == 1:
        return [f"conditional rates {_listed(chain.accept[0])}"]
    lines = [f"{chain.states} hidden states; the state changes {TICKS[chain.clock]}"]
    share = stationary(chain.step[0], chain.start)
    if chain.states <= MOST_STATES:
        lines += [
            f"state {s}: {share[s]:.3g} of the time, conditional rates {_listed(chain.accept[s])}"
            for s in range(chain.states)
        ]
    if chain.clock == "round" and chain.lengths is None:  # else long requests have more rounds
        rates = conditional_rates(share @ chain.survival)
        lines.append(f"conditional rates, pooled over rounds: {_listed(rates)}")
    return lines


def rates_are_note(experiment: Experiment) -> list[str]:
    """A note on what the rates would be as survival rates, if the file does not define them.

    Swept rates are those of the first point.
    """
    from mtpsim.acceptance.independent import Independent

    keys = swept_values(experiment.sweep) if experiment.sweep else {}
    given = "rates_are" in experiment.acceptance.model_fields_set
    if given or keys.keys() & {"acceptance", "acceptance.rates_are"}:
        return []
    model = experiment.points()[0].experiment.acceptance
    rates = model.input_rates() if isinstance(model, Independent) and model.rates else None
    if rates is None or len(rates) < 2 or (np.diff(rates) > 0).any():
        return []
    place = " at the first point" if "acceptance.rates" in keys else ""
    return [
        "rates_are is not given: rates are taken as conditional. If they are survival rates (as "
        "vLLM reports), the conditional rates are "
        f"{_listed(conditional_from(rates, 'survival'))}{place}"
    ]


def _stopping_rule(s: Simulation) -> str:
    target = s.precision or 0
    half_width = f"±{100 * target:g} %" if s.scale == "relative" else f"±{target:g}"
    if s.between:
        one, other = s.between
        return f"{half_width} for the difference in speedup of depths {one} and {other}"
    return f"{half_width} for the {s.precision_of.replace('_', ' ')} at every depth"


def _simulation(points: list[Point]) -> list[str]:
    every = [point.experiment.simulation for point in points]
    s = every[0]
    length = counted(s.rounds, "round") if s.rounds else counted(s.tokens or 0, "token")
    requests = "requests with their recorded lengths" if s.as_recorded else f"requests of {length}"
    hidden = points[0].experiment.source.hidden_chain
    if hidden is not None and hidden.lengths is not None:
        requests += " or as long as their class"
    if s.lengths:
        tied = f", rank correlation {s.lengths.correlation:g} with acceptance"
        requests += f" on average ({s.lengths.distribution}" + tied * bool(s.lengths.correlation)
        requests += ")" if s.lengths.cv is None else f", cv {s.lengths.cv:g})"
    lines = [f"{counted(len(points), 'point')}, {requests}, seed {s.seed}"]
    if s.requests:
        lines.append(f"{s.requests:,} requests per point")
    else:
        least, _ = _requests(points[0].experiment)
        lines += [
            f"stops at {_stopping_rule(s)}: {least:,} to {s.max_requests:,} requests",
            f"(first test of the precision after {least:,} requests: earlier ones would favour "
            "intervals that are too narrow by chance)",
        ]
    confidence = span((100 * s.confidence for s in every), unit=" %")
    epsilon = span((100 * s.epsilon for s in every), unit=" %")
    lines.append(f"{confidence} intervals; the closed form is accurate if within ±{epsilon}")
    return lines
