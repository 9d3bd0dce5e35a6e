"""Which candidate explains a log best, by requests that it did not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.fit.candidates import Candidate
from mtpsim.fit.likelihood import Evidence, Ints
from mtpsim.fit.mle import Maximum, maximise

ENOUGH = 20  # requests, to hold some of them out
TOLD_APART = 2.0  # standard errors of the paired difference
NOTHING = 1e-3  # of log likelihood a request: no difference at all
Told = Callable[[str, float], None]


@dataclass(frozen=True)
class CandidateFit:
    """A candidate on trial.

    Attributes:
        trained: fitted to the requests that were not held out (to all, where none were).
        whole: fitted to all requests.
        held_out: mean log likelihood of a held-out request; None where none were held out.
        behind: by how much that is below the best candidate's, a request.
        error: standard error of ``behind``, paired by request.

    """

    trained: Maximum
    whole: Maximum
    held_out: float | None
    behind: float
    error: float

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.whole.candidate.name

    @property
    def as_good(self) -> bool:
        """Whether the held-out requests can't tell it from the best."""
        return self.behind <= TOLD_APART * self.error + NOTHING


@dataclass(frozen=True)
class Selection:
    """All candidates, and which one is taken.

    Attributes:
        trials: in the order of the candidates.
        chosen: the simplest (by BIC among them) of those as good as the best on held-out requests;
            without held-out requests the least BIC.
        train: numbers of the requests that candidates saw.
        test: numbers of those that were held out.

    """

    trials: list[CandidateFit]
    chosen: CandidateFit
    train: Ints
    test: Ints

    @property
    def indistinguishable_trials(self) -> list[CandidateFit]:
        """Those that the log can't tell from the chosen one."""
        if self.chosen.held_out is None:
            near = self.chosen.whole.bic + 2.0
            return [t for t in self.trials if t.whole.bic <= near and t is not self.chosen]
        return [t for t in self.trials if t.as_good and t is not self.chosen]


def selection(
    entrants: Sequence[Candidate],
    evidence: Evidence,
    rates: Floats,
    *,
    holdout: float = 0.3,
    told: Told = lambda label, share: None,
) -> Selection:
    """Fit all candidates to some requests, judge them by the others, and fit them to all.

    Args:
        entrants: candidates.
        evidence: all requests.
        rates: ``[K]`` conditional rates of the data, to start from.
        holdout: share of the requests to judge by; 0, or fewer than 20 requests: by BIC alone.
        told: of progress.

    """
    order = np.random.default_rng(0).permutation(evidence.requests)
    size = round(holdout * evidence.requests) if evidence.requests >= ENOUGH else 0
    train, test = np.sort(order[size:]), np.sort(order[:size])
    seen, unseen = evidence.some(train), evidence.some(test)
    fitted: list[tuple[Maximum, Maximum]] = []
    for number, candidate in enumerate(entrants):
        told(f"fitting {candidate.name}", number / len(entrants))
        trained = maximise(candidate, seen, candidate.starts(rates))
        whole = maximise(candidate, evidence, [trained.numbers]) if size else trained
        fitted.append((trained, whole))
    scores = np.zeros((len(fitted), size))
    for row, (trained, _) in enumerate(fitted):
        scores[row] = unseen.log_likelihood(trained.chain) if size else 0.0
    trials = [CandidateFit(t, w, *_standing(scores, n)) for n, (t, w) in enumerate(fitted)]
    good = [trial for trial in trials if trial.as_good] if size else trials
    return Selection(trials, min(good, key=lambda trial: trial.whole.bic), train, test)


def _standing(scores: Floats, number: int) -> tuple[float | None, float, float]:
    """Mean score of a candidate, how far it is behind the best, and the error of that."""
    count = scores.shape[1]
    if count < 2:
        return None, 0.0, 0.0
    best = int(scores.mean(1).argmax())
    apart = scores[best] - scores[number]
    return float(scores[number].mean()), float(apart.mean()), float(apart.std(ddof=1) / count**0.5)
