"""Inputs of the closed form at each point, from which the page's what-if panel starts."""

from dataclasses import asdict, dataclass

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.engine_flags import draft_section
from mtpsim.report.formatting import by_quantile, known, point_label, times_known

MOST_POINTS = 200
"""Greatest number of points of a sweep to start from."""


@dataclass(frozen=True, kw_only=True)
class ClosedFormInputs:
    """Inputs of the closed form at one point.

    Attributes:
        label (str): Swept values of the point; empty without a sweep.
        target (float): Plain decoding step, ms.
        verify (list[float]): ``[K]`` verify time by depth, ms.
        draft (list[float]): ``[K]`` draft time by depth, ms.
        rates (list[float]): ``[K]`` conditional rates as used in the closed form.
        error (float): Greatest relative difference of the closed form from the simulated speedup.
    """

    label: str
    target: float
    verify: list[float]
    draft: list[float]
    rates: list[float]
    error: float


def what_if(result: ResultDocument, *, essential: float, negligible: float) -> JsonDict | None:
    """What the panel needs, as plain data; None where no point has inputs of the closed form.

    A random number of proposed drafts has none.

    Args:
        result (ResultDocument): The result document.
        essential (float): Least relative gain of an essential step.
        negligible (float): Greatest relative gain or loss of a negligible step.
    """
    if len(result.points) > MOST_POINTS or any(point.serving for point in result.points):
        return None
    if any(draft_section(result.experiment, point.set).get("lengths") for point in result.points):
        return None  # its times are those of all drafts, which a round seldom proposes
    labels = [point_label(result, point) for point in result.points]
    found = [_inputs(point, label) for point, label in zip(result.points, labels, strict=True)]
    points = [asdict(inputs) for inputs in found if inputs]
    if not points:
        return None
    timed = any(map(times_known, result.points))
    return {
        "points": points,
        "timed": timed,
        "by": " by mean speed" * any(map(by_quantile, result.points)),
        "essential": essential,
        "negligible": negligible,
    }


def _inputs(point: PointResult, label: str) -> ClosedFormInputs | None:
    plain, *deeper = point.depths
    steps = [depth.break_even for depth in deeper]
    rates = point.trial.chosen.rates.mean if point.trial else []
    if not deeper or len(rates) < len(deeper) or not known(plain.round_time.theory):
        return None
    errors = [
        depth.speedup.theory / depth.speedup.mean - 1
        for depth in deeper
        if known(depth.speedup.theory) and known(depth.speedup.mean) and depth.speedup.mean
    ]
    times = [(step.verify.now, step.draft.now) for step in steps if step]
    used = [rate for rate in rates[: len(deeper)] if known(rate)]
    if len(times) < len(deeper) or len(used) < len(deeper) or not errors:
        return None
    return ClosedFormInputs(
        label=label,
        target=plain.round_time.theory,
        verify=[verify for verify, _ in times],
        draft=[draft for _, draft in times],
        rates=used,
        error=max(map(abs, errors)),
    )
