"""What a run costs, before it starts: an estimate of its time from the number of rounds."""

from __future__ import annotations

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Experiment
from mtpsim.engine.executors import cores
from mtpsim.engine.options import RunOptions

ROUNDS_PER_SECOND = 1e8  # of one core at a depth of 3, with noise; half to twice as many are usual


def core_hours(experiment: Experiment) -> float:
    """Estimated hours of one core, within a factor of about 3; 0 for a run to a precision."""
    seconds = 0.0
    for point in experiment.points():
        one = point.experiment
        simulation, source = one.simulation, one.acceptance.chain()
        rounds = simulation.rounds or simulation.tokens or source.mean_length
        by_depth = (source.depth + 3) / 6 * (source.depth + 1 if source.outcomes == 2 else 1)
        policies = len(one.adaptive.policies) if one.adaptive else 0
        work = (simulation.requests or 0) * rounds * (by_depth + 5 * policies)
        seconds += work / ROUNDS_PER_SECOND
    return seconds / 3600


def check_time(experiment: Experiment, options: RunOptions, most: float) -> None:
    """Check that a run may end in a given time.

    Args:
        experiment (Experiment): The experiment.
        options (RunOptions): Its workers and its part; a cluster of unknown size is not limited.
        most (float): Greatest number of hours.

    Raises:
        InputError: Its estimate is above it.
    """
    if options.executor.address is not None:
        return
    workers = options.executor.workers or cores()
    hours = core_hours(experiment) / workers / options.part[1]
    if hours > most:
        requests = experiment.simulation.requests or 0
        raise InputError.of(
            f"{requests:,} requests would take about {hours:,.3g} hours on {workers} workers, and "
            f"{most:g} are allowed: lower it, split the run (--part), or raise --max-hours",
            key="simulation.requests",
        )
