"""Does the hidden state of a log move by round? Two tests that reject where it does not.

If it does, the acceptance of first drafts does not depend on the depth. If it is stationary and
reversible too, a log of one depth is as likely read backwards: empty rounds come before full ones
as often as after them. If the state belongs to the text, neither holds: an empty round ends one
token further and a full one depth + 1.
A likelihood decides less: it may be higher for a state by round that gets other depths wrong.
"""

from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.fit.labelled_tokens import Ints
from mtpsim.logs import Rounds

FALSE_ALARM = 0.01  # of all tests of a log together
MIN_REQUESTS = 10  # of a depth
BY_ROUND = "a state that moves by round"
MIN_DEPTH = 2  # at which empty, partly accepted and full rounds differ


@dataclass(frozen=True)
class ClockTest:
    """A test of the hypothesis that the hidden state moves by round.

    Attributes:
        name (str): what is compared.
        hypothesis (str): what is rejected.
        statistic (float): standard normal under the hypothesis.
        p_value (float): probability of a statistic at least as large, in size, under it.
        level (float): p-value below which the hypothesis is rejected.
        compared (dict[str, float]): values that are compared, by label.
    """

    name: str
    hypothesis: str
    statistic: float
    p_value: float
    level: float
    compared: dict[str, float]

    @property
    def rejected(self) -> bool:
        """Whether the hypothesis is rejected."""
        return self.p_value < self.level

    def sentence(self) -> str:
        """Return the verdict."""
        values = ", ".join(f"{value:.3f} {label}" for label, value in self.compared.items())
        verdict = "is refuted" if self.rejected else "is not refuted"
        return (
            f"{self.hypothesis} {verdict}: {self.name} {values} (z = "
            f"{self.statistic:.1f}; a false alarm in {self.level:g} of logs)"
        )


def clock_tests(rounds: Rounds) -> list[ClockTest]:
    """Return the tests that a log allows.

    Args:
        rounds: rounds in order; requests whose rounds differ in their drafts are left out.
    """
    lengths = np.diff(rounds.offsets)
    some = np.flatnonzero(lengths > 1)
    first = rounds.offsets[:-1][some]
    least, most = (
        one.reduceat(rounds.drafted, rounds.offsets[:-1][lengths > 0])
        for one in (np.minimum, np.maximum)
    )
    steady = some[(least == most)[np.searchsorted(rounds.offsets[:-1][lengths > 0], first)]]
    depths = rounds.drafted[rounds.offsets[:-1][steady]]
    by_depth = {
        int(k): rounds.subset(steady[depths == k])
        for k in np.unique(depths)
        if k and (depths == k).sum() >= MIN_REQUESTS
    }
    deep = [part for k, part in by_depth.items() if k >= MIN_DEPTH]
    count = (len(by_depth) > 1) + bool(deep)
    found = [_first_drafts(by_depth, FALSE_ALARM / count)] if len(by_depth) > 1 else []
    return [*found, *([_direction(deep, FALSE_ALARM / count)] if deep else [])]


def _normal(p_value: float) -> float:
    from mtpsim.common.special import ndtri

    return float(-ndtri(max(p_value, 1e-300) / 2))


def _sums(values: Floats, offsets: Ints) -> Floats:
    return np.diff(np.concatenate([[0.0], np.cumsum(values)])[offsets])


def _first_drafts(by_depth: dict[int, Rounds], level: float) -> ClockTest:
    """Compare the acceptance of first drafts between depths: chi-squared, clustered by request.

    Requests count by their tokens, since at a depth hard ones have more rounds. A request that ends
    at a number of tokens has fewer rounds where more is accepted, which is allowed for.
    """
    from mtpsim.common.special import chdtrc

    means, variances = [], []
    for rounds in by_depth.values():
        number = np.diff(rounds.offsets).astype(float)
        hit, accepted = (rounds.accepted > 0).astype(float), rounds.accepted.astype(float)
        hits, total = _sums(hit, rounds.offsets), _sums(accepted, rounds.offsets)
        together = (_sums(hit * accepted, rounds.offsets) - hits * total / number).sum()
        together /= (number - 1).sum()
        tokens = number + total
        rate = (hits - together / (tokens.sum() / number.sum())) / number
        mean = float(tokens @ rate / tokens.sum())
        off = tokens * (rate - mean) / tokens.sum()
        means.append(mean)
        variances.append(float(off @ off) * rate.size / (rate.size - 1))
    weights = 1 / np.maximum(variances, 1e-12)
    common = float(weights @ means / weights.sum())
    p_value = float(chdtrc(len(means) - 1, float(weights @ (np.array(means) - common) ** 2)))
    compared = {f"at depth {k}": mean for k, mean in zip(by_depth, means, strict=True)}
    return ClockTest(
        "first drafts are accepted", BY_ROUND, _normal(p_value), p_value, level, compared
    )


def _direction(parts: list[Rounds], level: float) -> ClockTest:
    """Compare empty rounds before full ones with full rounds before empty ones, by request.

    The last round of a request is left out: that it is the last depends on what it accepts, in a
    request that ends at a number of tokens.
    """
    from mtpsim.common.special import stdtr

    off, pairs, ahead, behind = [], 0, 0.0, 0.0
    for rounds in parts:
        empty, full = rounds.accepted == 0, rounds.accepted == rounds.drafted
        inside = np.ones(empty.size, bool)
        inside[rounds.offsets[1:] - 1] = False
        inside[np.maximum(rounds.offsets[1:] - 2, rounds.offsets[:-1])] = False
        rise = inside & empty & np.roll(full, -1)
        fall = inside & full & np.roll(empty, -1)
        off.append(_sums(rise.astype(float) - fall, rounds.offsets))
        pairs, ahead, behind = pairs + inside.sum(), ahead + rise.sum(), behind + fall.sum()
    each = np.concatenate(off)
    size = float(np.sqrt(each @ each))
    statistic = float(each.sum()) / size if size else 0.0
    p_value = 2 * float(stdtr(each.size - 1, -abs(statistic)))
    shares = ahead / max(pairs, 1), behind / max(pairs, 1)
    compared = dict(zip(("empty, then full", "full, then empty"), shares, strict=True))
    return ClockTest(
        "of all pairs of rounds",
        f"{BY_ROUND}, stationary and reversible in time,",
        float(np.sign(statistic) * _normal(p_value)),
        p_value,
        level,
        compared,
    )
