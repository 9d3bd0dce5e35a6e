"""``mtpsim check``: what a file means, in plain lines, before anything is simulated."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mtpsim.acceptance import Recording, Source
from mtpsim.acceptance.chain import stationary
from mtpsim.acceptance.independent import Independent
from mtpsim.common.text import counted
from mtpsim.config.experiment import Experiment, Point
from mtpsim.config.simulation import Simulation
from mtpsim.config.sweep import swept_values
from mtpsim.config.uncertainty import scenarios
from mtpsim.engine.scheduler import FLOOR, unit_of
from mtpsim.formula.closed_form import conditional_from

TICKS = {"round": "once a round", "token": "once a text position"}


def explain(experiment: Experiment) -> str:
    """Explain an experiment; the first point of a sweep stands for all."""
    lines = [experiment.title or "(no title)"]
    for heading, told in chapters(experiment):
        lines += ["", heading, *(f"  {line}" for line in told)]
    warnings = dict.fromkeys(experiment.points()[0].experiment.warnings())
    lines += [f"\nwarning: {text}" for text in warnings]
    return "\n".join(lines)


def chapters(experiment: Experiment) -> list[tuple[str, list[str]]]:
    """What an experiment simulates, as headings with their lines."""
    points = experiment.points()
    first = points[0].experiment
    chain = first.acceptance.chain()
    found = [
        (
            f"Acceptance: {first.acceptance.model}, depth {chain.depth}",
            _acceptance(first, chain) + definition(experiment),
        ),
        ("Latency", list(first.latency.describe())),
        ("Simulation", _simulation(points, chain) + _variations(experiment, first)),
    ]
    if policies := _policies(points):
        found.append(("Adaptive depth", policies))
    found.append(("Theory", [f"plugged into the closed form: {_plugged(first)}"]))
    reported = [
        "accept length, round time, speedup, marginal gain: closed form, exact,",
        "simulated with interval; error of the theory with a verdict; break-even rates;",
        "and the depth to run",
    ]
    return [*found, (f"Reported, for each depth 0..{chain.depth}", reported)]


def _policies(points: list[Point]) -> list[str]:
    """Every policy that any point plays, with its parameters, once."""
    sections = [point.experiment.adaptive for point in points]
    told = [policy.describe() for section in sections if section for policy in section.policies]
    return list(dict.fromkeys(told))


def _variations(experiment: Experiment, first: Experiment) -> list[str]:
    """What is swept, what is uncertain, and what is declared as a scenario."""
    swept = swept_values(experiment.sweep or {}).items()
    lines = [f"sweep over {key}: {', '.join(map(str, values))}" for key, values in swept]
    if first.uncertainty:
        keys = ", ".join([*first.uncertainty.inputs, *first.uncertainty.sampled])
        lines.append(f"uncertain inputs: {keys}; {first.uncertainty.draws:,} draws a point")
    if first.robust:
        count = sum(1 for _ in scenarios(first.raw(), first.robust))
        lines.append(f"scenarios over {', '.join(first.robust)}: {count:,} a point")
    return lines


def _plugged(experiment: Experiment) -> str:
    """Where the rates of the closed form come from."""
    given = experiment.theory
    if given is None and experiment.acceptance.input_rates() is not None:
        return "the rates of the file, at every depth"
    definition, weighting = ("conditional", "round-pooled")
    if given is not None:
        definition, weighting = given.definition, given.weighting
    return f"{definition} rates measured at depth {experiment.measured_at} ({weighting})"


def _rates(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _acceptance(experiment: Experiment, source: Source) -> list[str]:
    if isinstance(source, Recording):
        entry = "text position" if source.clock == "token" else "round"
        requests, size = source.requests, source.accepted.size
        total = f"{counted(requests, 'recorded request')}, {counted(size, entry)}"
        return [f"{total}, drawn with replacement"]
    chain = source.hidden_chain
    assert chain is not None  # what is not recorded has a chain
    if chain.states == 1:
        return [f"conditional rates {_rates(chain.accept[0])}"]
    lines = [f"{chain.states} hidden states; the state moves {TICKS[chain.clock]}"]
    law = stationary(chain.step[0], chain.start)
    if chain.states <= 8:
        lines += [
            f"state {s}: {law[s]:.3g} of ticks, conditional rates {_rates(chain.accept[s])}"
            for s in range(chain.states)
        ]
    reach = law @ chain.survival
    before = np.concatenate([[1.0], reach[:-1]])
    rates = np.divide(reach, before, out=0 * reach, where=before > 0)
    if chain.clock == "round":
        lines.append(f"pooled over rounds: conditional rates {_rates(rates)}")
    return lines


def definition(experiment: Experiment) -> list[str]:
    """What the rates would be by the other definition, where the file does not say which.

    Rates that are swept are those of the first point.
    """
    swept = swept_values(experiment.sweep or {})
    stated = "rates_are" in experiment.acceptance.model_fields_set
    if stated or swept.keys() & {"acceptance", "acceptance.rates_are"}:
        return []
    model = experiment.points()[0].experiment.acceptance
    rates = model.input_rates() if isinstance(model, Independent) and model.rates else None
    if rates is None or len(rates) < 2 or (np.diff(rates) > 0).any():
        return []
    other = conditional_from(rates, "survival")
    place = " at the first point" if "acceptance.rates" in swept else ""
    return [
        "rates_are is not given: taken as conditional; as survival rates, as vLLM prints them, "
        f"they would be conditional {_rates(other)}{place}"
    ]


def _aim(s: Simulation) -> str:
    """What a run to a precision waits for."""
    target = s.precision or 0
    close = f"+-{100 * target:g} %" if s.scale == "relative" else f"+-{target:g}"
    if s.between:
        return f"the difference in speedup of depths {s.between[0]} and {s.between[1]} is {close}"
    return f"the {s.precision_of.replace('_', ' ')} is known to {close} at every depth"


def _percent(shares: Iterable[float]) -> str:
    """``0.5 %``; ``0.1 to 2 %`` where a sweep moves it."""
    found = sorted(set(shares))
    return " to ".join(f"{100 * end:g}" for end in dict.fromkeys([found[0], found[-1]])) + " %"


def _simulation(points: list[Point], chain: Source) -> list[str]:
    every = [point.experiment.simulation for point in points]
    s, count = every[0], len(points)
    length, unit = (s.rounds, "round") if s.rounds else (s.tokens or 0, "token")
    horizon = f"of {counted(length, unit)}"
    horizon = "as long as they were" if s.as_recorded else horizon
    lines = [f"{counted(count, 'point')}, requests {horizon}, seed {s.seed}"]
    block = unit_of(chain, s.rounds or 0, s.tokens or 0)
    if s.requests:
        lines.append(f"{s.requests:,} requests a point")
    else:
        least = min(FLOOR * block, s.max_requests)
        lines += [
            f"until {_aim(s)}: at least {least:,} requests, at most {s.max_requests:,}",
            f"(asked from {FLOOR} blocks of {counted(block, 'request')} on: earlier, chance would "
            "stop runs whose intervals came out too narrow)",
        ]
    level, within = _percent(s.confidence for s in every), _percent(s.epsilon for s in every)
    lines.append(f"intervals at {level}; theory holds within +-{within}")
    return lines
