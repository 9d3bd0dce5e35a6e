"""Whether a rule that shares a budget of drafts pays: against every other arm of a server.

A fixed depth makes it needless where it certainly gains no more than the indifference over that
depth: equivalence, not absence of significance. Intervals are paired, and simultaneous over all
arms at a load.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from mtpsim.engine.server_data import Arm
from mtpsim.report.document import Interval
from mtpsim.report.formatting import bracketed, in_percent, shared_decimals
from mtpsim.report.serving_document import ArmGain, BudgetComparison, ServedPoint
from mtpsim.report.tables.serving import at_load, crossing_text, load_text
from mtpsim.stats.comparisons import against_one
from mtpsim.stats.estimators import Estimates

PAYS, NEEDLESS, OPEN = "pays", "needless", "open"


def budget_comparisons(
    log_speed: Estimates, arms: Sequence[Arm], stable: Sequence[int], limits: tuple[float, float]
) -> list[BudgetComparison]:
    """Every stable arm that shares a budget against all other stable ones.

    Args:
        log_speed (Estimates): ``[A]`` logarithm of what is compared; more is better.
        arms (Sequence[Arm]): The A arms.
        stable (Sequence[int]): Numbers of the arms whose queue does not grow.
        limits (tuple[float, float]): Simultaneous confidence, and the relative gain that does not
            matter.
    """
    if len(stable) < 2:
        return []
    found, (confidence, indifference) = [], limits
    values = log_speed.linear_combination(np.eye(len(arms))[list(stable)])
    for place, number in enumerate(stable):
        if not arms[number].shares_budget:
            continue
        behind, half = against_one(values, place, confidence)
        gains = [
            _gain(arms[other].name, -float(behind[n]), float(half[n]), indifference)
            for n, other in enumerate(stable)
            if n != place
        ]
        found.append(BudgetComparison(name=arms[number].name, gains=gains))
    return found


def _gain(over: str, log_gain: float, half: float, indifference: float) -> ArmGain:
    low, high, limit = log_gain - half, log_gain + half, np.log1p(indifference)
    if low > limit or high < -limit:
        verdict = "faster" if low > limit else "slower"
    else:
        verdict = "equal" if -limit <= low and high <= limit else "open"
    mean, least, most = (float(np.expm1(log)) for log in (log_gain, low, high))
    return ArmGain(over=over, mean=mean, low=least, high=most, verdict=verdict)


class _Judged(NamedTuple):
    """A rule at a load, against the fixed depths.

    ``least`` is its gain over the best of them, ``by`` that one's name; ``instead`` the depth that
    it gains least over for certain. ``slower``: by more than the indifference.
    """

    point: ServedPoint
    status: str
    least: Interval
    by: str
    instead: str
    slower: bool


def _judged(point: ServedPoint, name: str, indifference: float) -> _Judged | None:
    """None where the rule or every fixed depth has a queue that grows."""
    own = next((one for one in point.budgets if one.name == name), None)
    gains = [g for g in own.gains if point.arm(g.over).depth is not None] if own else []
    if not gains:
        return None
    ends = [(g.mean or 0.0, g.low or 0.0, g.high or 0.0) for g in gains]
    mean, low, high = (min(values) for values in zip(*ends, strict=True))
    status = PAYS if low > indifference else NEEDLESS if high <= indifference else OPEN
    return _Judged(
        point=point,
        status=status,
        least=Interval(mean=mean, low=low, high=high),
        by=min(gains, key=lambda g: (g.mean or 0.0, g.over)).over,
        instead=min(gains, key=lambda g: (g.high or 0.0, g.over)).over,
        slower=high < 1 / (1 + indifference) - 1,
    )


def budget_sentence(points: Sequence[ServedPoint], indifference: float) -> str:
    """From which load a rule that shares a budget pays, and where a fixed depth does.

    It is the first rule that may be the best arm at a load, else the first.

    Args:
        points (Sequence[ServedPoint]): A server at one load, or at several in ascending order.
        indifference (float): Relative gain that does not matter.

    Returns:
        str: Empty without such a rule, or without a fixed depth to compare it with.
    """
    rules = [one.name for one in points[0].budgets if not points[0].arm(one.name).bound]
    best = (rule for rule in rules if any(rule in point.candidates for point in points))
    name = next(best, rules[0] if rules else "")
    found = [one for point in points if (one := _judged(point, name, indifference))]
    if not name or not found:
        return ""
    clauses = [_alone(found[0], name, indifference)] if len(found) == 1 else []
    every = "at every load of the sweep"
    if len(found) < len(points):
        ends = (
            _number(found[0].point.load or 0.0, found[0].point),
            load_text(found[-1].point.load or 0.0, found[-1].point),
        )
        every = f"at every load that it serves ({' to '.join(ends)})"
    clauses = clauses or list(_by_load(found, name, indifference, every))
    clauses += _bound(points, name)
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _alone(found: _Judged, name: str, indifference: float) -> str:
    place = at_load(found.point)
    gain = _range([found])
    if found.status == PAYS:
        return f"{place} {name} gains {gain} over the best fixed depth ({found.by}): it pays"
    if found.status == NEEDLESS:
        return f"{place} {_instead([found], name, indifference)} (gain {gain}): leave it off"
    return (
        f"{place} {name} gains {gain} over the best fixed depth ({found.by}): not known to within "
        f"{100 * indifference:g} %, raise serving.replications"
    )


def _instead(
    run: Sequence[_Judged], name: str, indifference: float, *, bordered: bool = False
) -> str:
    """``fixed depth 3 is within 1 % of adaptive``."""
    names = list(dict.fromkeys(one.instead.removeprefix("depth ") for one in run))
    depths = ", then ".join(names)
    fixed = "MTP off" if depths == "off" else f"fixed depth {depths}"
    if all(one.slower for one in run) and not bordered:
        return f"{fixed} is faster than {name}"
    within = f"is within {100 * indifference:g} % of {name}"
    return f"{fixed} {within}{', or faster' if any(one.slower for one in run) else ''}"


def _range(run: Sequence[_Judged]) -> str:
    """``4.9 % [4.1, 5.7]``, or ``4.9 to 8.2 %`` over several loads."""
    cells = [cell for one in run if (cell := in_percent(one.least))]
    digits = min(shared_decimals(cells), 2)
    if len(cells) == 1:
        number, _, ends = bracketed(cells[0], digits).partition(" ")
        return f"{number} % {ends}".strip()
    means = sorted(cell.mean or 0.0 for cell in cells)
    texts = dict.fromkeys(f"{mean:.{digits}f}" for mean in (means[0], means[-1]))
    return f"{' to '.join(texts)} %"


def _by_load(found: Sequence[_Judged], name: str, indifference: float, every: str) -> Iterator[str]:
    runs = [list(run) for _, run in groupby(found, key=lambda one: one.status)]
    borders = [_border(before[-1], after[0], indifference) for before, after in pairwise(runs)]
    for n, run in enumerate(runs):
        where = _where(run, borders[n - 1] if n else None, borders[n] if n < len(borders) else None)
        where = where if len(runs) > 1 else every
        if run[0].status == PAYS:
            yield f"{name} gains {_range(run)} over the best fixed depth {where}"
        elif run[0].status == NEEDLESS:
            bordered = any(borders[max(n - 1, 0) : n + 1])  # there the gain is the indifference
            yield f"{_instead(run, name, indifference, bordered=bordered)} {where}: leave it off"
        else:
            yield (
                f"whether {name} gains {100 * indifference:g} % over the best fixed depth is not "
                f"known {where}: raise serving.replications"
            )


def _border(before: _Judged, after: _Judged, indifference: float) -> str:
    """Load between two at which the gain over the best fixed depth is the indifference.

    ``101 [64, 128]``; the rule pays for certain at one of the ends, and not at the other. Empty
    where one of the two loads is open.
    """
    if OPEN in (before.status, after.status):
        return ""
    ends = [one.point.load or 1.0 for one in (before, after)]
    margins = [np.log1p(one.least.mean or 0.0) - np.log1p(indifference) for one in (before, after)]
    share = margins[0] / (margins[0] - margins[1])
    load = np.exp(np.log(ends[0]) + share * (np.log(ends[1]) - np.log(ends[0])))
    number, low, high = (_number(one, before.point) for one in (load, *ends))
    return f"{number} [{low}, {high}]"


def _number(load: float, point: ServedPoint) -> str:
    """The load without its unit."""
    return crossing_text(load, point).partition(" ")[0]


def _where(run: Sequence[_Judged], low: str | None, high: str | None) -> str:
    """``above 101 [64, 128] clients``; a run without a border ends at a load of the sweep."""
    first, last = (_number(one.point.load or 0.0, one.point) for one in (run[0], run[-1]))
    unit = load_text(2, run[0].point).partition(" ")[2]
    if low is None:
        text = f"up to {high or last}"
    elif high is None:
        text = f"above {low}" if low else f"from {first} on"
    elif not low and not high and first == last:
        text = f"at {first}"
    else:
        text = f"between {low or first} and {high or last}"
    return f"{text} {unit}" if not text.endswith(" on") else f"{text[:-3]} {unit} on"


def _bound(points: Sequence[ServedPoint], name: str) -> list[str]:
    """What the greatest upper bound that shares a budget gains over the rule."""
    found: dict[str, list[float]] = {}
    for point in points:
        for one in point.budgets:
            if point.arm(one.name).bound:
                gains = [gain.mean or 0.0 for gain in one.gains if gain.over == name]
                found.setdefault(one.name, []).extend(gains)
    if not any(found.values()):
        return []
    bound, gains = max(found.items(), key=lambda item: max(item[1], default=-np.inf))
    ends = dict.fromkeys(f"{100 * gain:.3g}" for gain in (min(gains), max(gains)))
    return [f"the upper bound {bound} gains {' to '.join(ends)} % more than {name}"]
