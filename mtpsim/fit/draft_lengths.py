"""Random numbers of proposed drafts in a log, as of n-gram and suffix drafters."""

from dataclasses import dataclass, replace

import numpy as np

from mtpsim.acceptance.base import conditional_rates, stationary
from mtpsim.acceptance.draft_lengths import ThinnedChain
from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.special import logit
from mtpsim.fit.by_depth import has_several_depths
from mtpsim.fit.candidates import MARGIN
from mtpsim.fit.likelihood import TINY, Bools
from mtpsim.fit.mle import MIN_ROWS, MleResult
from mtpsim.logs import Log, Rounds

LEAST_SHARE = 0.05  # of rounds with another number of drafts than most: the number is random
DIGITS = 6  # of the shares in a file


@dataclass(frozen=True, kw_only=True)
class DraftLengths:
    """The number of proposed drafts per round, in a log and in the selected model.

    Attributes:
        shares (list[float]): share of rounds that propose 0, 1, .. K drafts, in the log.
        states (list[list[float]]): the same in each hidden state of the model, or one row for all.
        time (list[float]): share of rounds in each of these states.
        correlation (float | None): correlation of successive rounds in the log; None where the
            number does not vary.
        model_correlation (float): the same in the model.
    """

    shares: list[float]
    states: list[list[float]]
    time: list[float]
    correlation: float | None
    model_correlation: float

    def mean_of(self, values: Floats) -> float:
        """Return the mean over rounds of a quantity by number of drafts, ``[K + 1]``."""
        return float(np.array(self.time) @ np.array(self.states) @ values)

    def sentence(self) -> str:
        """Return the law that was found."""
        rows = []
        for number, (row, time) in enumerate(zip(self.states, self.time, strict=True), 1):
            where = f"in state {number} ({100 * time:.0f} % of rounds) " * (len(self.time) > 1)
            mean = np.arange(len(row)) @ row
            rows.append(f"{where}{mean:.2f} on average, none in {100 * row[0]:.0f} %")
        text = f"Proposed drafts per round are random: {'; '.join(rows)}."
        if self.correlation is None:
            return text
        return (
            f"{text} Lag-1 correlation of their number: {self.correlation:.2f} in the log, "
            f"{self.model_correlation:.2f} in the model."
        )


def by_drafter(rounds: Rounds, depth: int) -> Bools:
    """Return in which rounds, ``[N]``, the drafter alone decides how many drafts it proposes.

    Engines propose no more drafts than a request has tokens left, so the last rounds are left out.

    Args:
        rounds: rounds in order.
        depth: greatest number of drafts K.
    """
    total = np.cumsum(rounds.accepted.astype(np.int64) + 1)
    last = np.maximum(rounds.offsets[1:] - 1, 0)
    left = np.repeat(total[last], np.diff(rounds.offsets)) - total
    return np.asarray(left >= depth)


def has_random_lengths(log: Log) -> bool:
    """Return whether the rounds of a log in order propose random numbers of drafts."""
    if log.level != "rounds" or log.sequence is None or has_several_depths(log):
        return False
    if log.count < MIN_ROWS:
        return False
    drafted = log.sequence.drafted[by_drafter(log.sequence, log.depth)]
    return bool(drafted.size and np.bincount(drafted).max() < (1 - LEAST_SHARE) * drafted.size)


def as_recorded(fit: MleResult, rounds: Rounds) -> MleResult:
    """Return a fit of one state at rates that give exactly the accept length of the rounds.

    Its likelihood has its maximum nearby, at rates of the rounds that reach a position, which give
    it only if the number of drafts does not depend on the acceptance.

    Args:
        fit: fit of one rate per position, with a law of the number of drafts.
        rounds: rounds that it was fitted to.
    """
    law = fit.candidate.lengths
    if law is None or fit.candidate.name != "independent":
        return fit
    from scipy.optimize import isotonic_regression

    least = np.cumsum(law.law(fit.parameters)[0, ::-1])[-2::-1]  # P(at least 1, 2, .. proposed)
    survived = (rounds.accepted[:, None] > np.arange(least.size)).mean(0)
    share = survived / np.maximum(least, TINY)  # accepted, of those proposed: must not rise
    share = isotonic_regression(share, weights=np.maximum(least, TINY), increasing=False).x
    passed = conditional_rates(np.clip(share, 0, 1))
    rates = logit(np.clip(passed, MARGIN, 1 - MARGIN))
    parameters = np.append(rates, fit.parameters[rates.size :])
    return replace(fit, parameters=parameters)


def draft_section(fit: MleResult) -> JsonDict:
    """Return the key ``lengths`` of the section ``[draft]``; shares of a row sum to 1."""
    law = fit.candidate.lengths
    assert law is not None
    rows = np.round(law.law(fit.parameters), DIGITS)
    rows[np.arange(len(rows)), rows.argmax(1)] += 1 - rows.sum(1)
    found = np.round(rows, DIGITS).tolist()
    return {"lengths": found[0] if len(found) == 1 else found}


def draft_lengths(fit: MleResult, rounds: Rounds, depth: int) -> DraftLengths:
    """Return the number of proposed drafts in rounds and in the model fitted to them."""
    assert fit.candidate.lengths is not None
    chain, known = fit.chain, by_drafter(rounds, depth)
    assert isinstance(chain, ThinnedChain)
    rows = fit.candidate.lengths.law(fit.parameters)
    time = stationary(chain.step[0], chain.start) if len(rows) > 1 else np.ones(1)
    drafts = np.arange(depth + 1)
    return DraftLengths(
        shares=(np.bincount(rounds.drafted[known], minlength=depth + 1) / known.sum()).tolist(),
        states=rows.tolist(),
        time=time.tolist(),
        correlation=_correlation(rounds, known),
        model_correlation=_model_correlation(chain, rows @ drafts, rows @ drafts**2, time),
    )


def _model_correlation(chain: ThinnedChain, mean: Floats, square: Floats, time: Floats) -> float:
    """Return the correlation of successive rounds, given mean and mean square by state ``[S]``."""
    variance = float(time @ square - (time @ mean) ** 2)
    if len(mean) == 1 or variance <= 0:
        return 0.0
    return float((time @ (mean * (chain.step[0] @ mean)) - (time @ mean) ** 2) / variance)


def _correlation(rounds: Rounds, known: Bools) -> float | None:
    drafted = rounds.drafted[known].astype(float)
    request = np.repeat(np.arange(rounds.requests), np.diff(rounds.offsets))[known]
    off = drafted - drafted.mean()
    same = request[1:] == request[:-1]
    if not same.any() or not off.any():
        return None
    return float((off[1:] * off[:-1])[same].mean() / (off**2).mean())
