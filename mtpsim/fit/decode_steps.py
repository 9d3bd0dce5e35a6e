"""Steps by batch and depth from decode logs, whose lines state the running requests."""

import numpy as np

from mtpsim.common.errors import InputError
from mtpsim.fit.round_times import usable_rows
from mtpsim.fit.step_times import MIN_STEPS, StepTimes
from mtpsim.logs import Log


def steps_of_log(log: Log) -> StepTimes:
    """Mean round times of a log by running requests and depth, drafting included.

    Args:
        log: log of windows with times and running requests.

    Raises:
        InputError: It states no running requests, or has too few batches or depths.
    """
    used = usable_rows(log) & np.isfinite(log.times.batch)
    pairs, row = np.unique(
        np.stack([log.times.batch[used], log.depths[used]]), axis=1, return_inverse=True
    )
    count = pairs.shape[1]
    depths = np.unique(pairs[1])
    message = ""
    if not count:
        message = "no times with the number of running requests in the log"
    elif depths.size < 2:
        message = (
            f"every round of the log has depth {depths[0]:g}, so the time of a draft is not known"
        )
    elif count < MIN_STEPS:
        message = f"{count} pairs of running requests and depth; at least {MIN_STEPS} are needed"
    if message:
        advice = "give logs of several depths and batches, or a CSV file of step times"
        raise InputError.of(f"{message}: {advice}", file=log.files[0].file, key="--by-batch")
    time = np.bincount(row, log.times.by_row[used]) / np.bincount(row, log.rounds[used])
    none = np.zeros(count)
    return StepTimes(
        batch=pairs[0],
        depth=pairs[1],
        verify=time,
        draft=none,
        cached=none,
        whole_rounds=True,
    )
