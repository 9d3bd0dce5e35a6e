"""The exact answer to an experiment as text, where it takes no time to compute."""

import numpy as np

from mtpsim.acceptance import Recording
from mtpsim.config.experiment import Experiment
from mtpsim.exact.chain_solver import solve
from mtpsim.formula.accept_lengths import Acceptance
from mtpsim.report.formatting import set_label, short_names
from mtpsim.report.quick import QuickAnswer

LARGEST = 200
"""Hidden states times tokens of a round, beyond which `check` leaves the answer to `run`."""
MOST_POINTS = 24
"""Points of a sweep that are listed."""


def exact_answer(experiment: Experiment) -> QuickAnswer | None:
    """The exact speedup by depth of an experiment without a sweep.

    Args:
        experiment (Experiment): The experiment.

    Returns:
        QuickAnswer | None: None for recorded requests and for chains of many states.
    """
    source = experiment.source
    chain = None if isinstance(source, Recording) else source.hidden_chain
    if chain is None or chain.states * (source.depth + 1) > LARGEST:
        return None
    horizon = experiment.simulation.horizon
    solved = [solve(source, depth, **horizon) for depth in range(source.depth + 1)]
    verify, draft = experiment.step_times()
    slowdown = np.array([found.slow_rounds / found.rounds for found in solved])
    return QuickAnswer(
        acceptance=Acceptance(
            lengths=np.array([found.accept_length for found in solved]),
            rates=solved[-1].conditional,
        ),
        verify=verify * slowdown,
        draft=draft * slowdown,
        batch=experiment.batch or 1.0,
        essential=experiment.decision.essential,
        negligible=experiment.decision.negligible,
        indifference=experiment.decision.indifference,
    )


def exact_lines(experiment: Experiment) -> list[str]:
    """The exact answer, one line per depth; of a sweep, one line per point."""
    points = experiment.points()
    if points[0].experiment.serving is not None:
        return []
    answers = [exact_answer(point.experiment) for point in points[:MOST_POINTS]]
    if len(points) == 1:
        answer = answers[0]
        return [] if answer is None else ["Exact answer", *_indented(answer.table())]
    lines = [
        f"{set_label(point.set, short_names(list(point.set)))}: "
        + (f"depth {found.depth}, {found.speedup.max():.3f}x" if found else "left to `run`")
        for point, found in zip(points, answers, strict=False)
    ]
    more = len(points) - len(answers)
    return ["Exact answer: fastest depth and its speedup", *_indented(lines)] + (
        [f"  and {more:,} more points"] if more else []
    )


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
