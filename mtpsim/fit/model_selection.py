"""Select the candidate that explains a log best, by held-out log-likelihood."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.fit.candidates import Candidate
from mtpsim.fit.likelihood import Ints, Observations
from mtpsim.fit.mle import MleResult, fit_mle

MIN_REQUESTS = 20  # to hold some out
MAX_SE_BEHIND = 2.0  # standard errors of the paired difference within which candidates are equal
NEGLIGIBLE = 1e-3  # log-likelihood per request
BIC_MARGIN = 2.0
StepCallback = Callable[[str, float], None]
"""Called with the label of a step of the fit, and the share of the fit that is done."""


@dataclass(frozen=True)
class CandidateFit:
    """A fitted candidate and its held-out score.

    Attributes:
        trained (MleResult): fit to the training requests (all requests if none are held out).
        refit (MleResult): fit to all requests.
        score (float | None): mean log-likelihood per held-out request; None if none are held out.
        behind (float): by how much ``score`` is below that of the best candidate.
        behind_se (float): standard error of ``behind``, paired by request.
    """

    trained: MleResult
    refit: MleResult
    score: float | None
    behind: float
    behind_se: float

    @property
    def name(self) -> str:
        """Name of the candidate."""
        return self.refit.candidate.name

    @property
    def is_near_best(self) -> bool:
        """Whether the held-out score is within 2 standard errors of the best."""
        return self.behind <= MAX_SE_BEHIND * self.behind_se + NEGLIGIBLE


@dataclass(frozen=True)
class Selection:
    """All fitted candidates and the selected one.

    Attributes:
        fits (list[CandidateFit]): fits in the order of the candidates.
        chosen (CandidateFit): the fit of least BIC among those near the best held-out score; among
            all if no requests are held out.
        train (NDArray[int64]): indices of the training requests.
        test (NDArray[int64]): indices of the held-out requests.
    """

    fits: list[CandidateFit]
    chosen: CandidateFit
    train: Ints
    test: Ints

    @property
    def indistinguishable(self) -> list[CandidateFit]:
        """Other fits that the log does not distinguish from the chosen one."""
        others = [fit for fit in self.fits if fit is not self.chosen]
        if self.chosen.score is None:
            return [f for f in others if f.refit.bic <= self.chosen.refit.bic + BIC_MARGIN]
        return [fit for fit in others if fit.is_near_best]


def select_model(
    candidates: Sequence[Candidate],
    data: Observations,
    rates: Floats,
    *,
    holdout: float = 0.3,
    on_progress: StepCallback = lambda label, share: None,
) -> Selection:
    """Fit all candidates to training requests, score them on held-out ones, and refit to all.

    Args:
        candidates: models to fit.
        data: all requests.
        rates: ``[K]`` conditional rates of the data, from which start points are made.
        holdout: share of requests to hold out; with 0 or fewer than 20 requests BIC selects.
        on_progress: called with a label and the share that is done.
    """
    order = np.random.default_rng(0).permutation(data.requests)
    size = round(holdout * data.requests) if data.requests >= MIN_REQUESTS else 0
    train, test = np.sort(order[size:]), np.sort(order[:size])
    training, held_out = data.subset(train), data.subset(test)
    pairs: list[tuple[MleResult, MleResult]] = []
    scores = np.zeros((len(candidates), size))
    for row, candidate in enumerate(candidates):
        on_progress(f"fitting {candidate.name}", row / len(candidates))
        trained = fit_mle(candidate, training, candidate.initial(rates))
        refit = fit_mle(candidate, data, [trained.parameters]) if size else trained
        pairs.append((trained, refit))
        if size:
            scores[row] = held_out.log_likelihood(trained.chain)
    fits = []
    for (trained, refit), score in zip(pairs, scores, strict=True):
        mean, behind, error = _standing(scores, score)
        fits.append(CandidateFit(trained, refit, score=mean, behind=behind, behind_se=error))
    near = [fit for fit in fits if fit.is_near_best] if size else fits
    return Selection(fits, min(near, key=lambda fit: fit.refit.bic), train, test)


def _standing(scores: Floats, score: Floats) -> tuple[float | None, float, float]:
    """Return the mean score of a candidate, how far it is behind, and the standard error of that.

    Args:
        scores: ``[candidates, requests]`` held-out log-likelihoods.
        score: ``[requests]`` those of the candidate.
    """
    if score.size < 2:
        return None, 0.0, 0.0
    behind = scores[int(scores.mean(1).argmax())] - score
    error = float(behind.std(ddof=1) / score.size**0.5)
    return float(score.mean()), float(behind.mean()), error
