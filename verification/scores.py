"""z-scores of many random chains, tested together."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from verification.chains import Floats
from verification.check import Check

ALPHA = 1e-4  # false alarm rate of each check
SLOW = 120  # requests per chain by the naive simulator


@dataclass
class Scores:
    """z-scores of many chains.

    Attributes:
        every: all z-scores, for the maximum.
        drawn: by kind, one z-score per chain, drawn at random so that they are independent.
        unequal: number of constants that were not exact.
        constant: number of constants (totals without variance).
        rare: number of totals left out because too few events were expected.
    """

    every: list[float] = field(default_factory=list)
    drawn: dict[str, list[float]] = field(default_factory=dict)
    unequal: int = 0
    constant: int = 0
    rare: int = 0

    def add(self, kinds: dict[str, list[float]], rng: np.random.Generator) -> None:
        """Add the scores of one chain, by kind."""
        every = [z for zs in kinds.values() for z in zs]
        self.every += every
        for kind, zs in {"any": every, **kinds}.items():
            if zs:
                self.drawn.setdefault(kind, []).append(zs[rng.integers(len(zs))])

    @property
    def limit(self) -> float:
        """Bonferroni limit of the largest |z|, at a tenth of ALPHA: tails are not quite normal."""
        return float(stats.norm.isf(ALPHA / 20 / max(len(self.every), 1)))

    @property
    def uniformity(self) -> dict[str, float]:
        """Kolmogorov-Smirnov p-value by kind: signed scores are standard normal."""
        many = {kind: zs for kind, zs in self.drawn.items() if len(zs) >= 20}
        return {kind: float(stats.kstest(zs, "norm").pvalue) for kind, zs in many.items()}

    @property
    def worst(self) -> float:
        """The largest |z|."""
        return float(np.abs(self.every).max(initial=0.0))

    @property
    def uniform(self) -> bool:
        """Whether all kinds pass."""
        p = self.uniformity
        return min(p.values(), default=1.0) >= ALPHA / max(len(p), 1)

    def found(self) -> str | None:
        """The fault that the scores show, or None."""
        if self.unequal:
            return f"{self.unequal} constants are wrong"
        if self.worst > self.limit:
            return f"|z| {self.worst:.1f}"
        return None if self.uniform else f"KS p {min(self.uniformity.values()):.1g}"


def score(rows: Floats, exact: Floats) -> tuple[Floats, Floats]:
    """z-score of each column's mean, and whether the column is constant."""
    error = rows.std(0, ddof=1) / np.sqrt(len(rows))
    constant = error <= 1e-12 * np.maximum(np.abs(exact), 1.0)
    z = (rows.mean(0) - exact) / np.where(constant, 1.0, error)
    return z, constant


def as_normal(t: Floats) -> Floats:
    """Student's t over the naive simulator's requests, converted to z."""
    return np.asarray(stats.norm.isf(stats.t.sf(np.abs(t), SLOW - 1)) * np.sign(t))


def difference(slow: Floats, fast: Floats) -> Floats:
    """z-score of each column's difference of means between naive simulator and kernel."""
    error = np.sqrt(slow.var(0, ddof=1) / len(slow) + fast.var(0) / len(fast))
    apart = slow.mean(0) - fast.mean(0)
    return as_normal(np.divide(apart, error, out=np.zeros_like(apart), where=error > 0))


def score_checks(scores: Scores, name: str, statement: str) -> Iterator[Check]:
    """Two checks: the largest |z|, and the distribution of all."""
    count = len(scores.drawn.get("any", []))
    result = f"{len(scores.every):,} z-scores, largest |z| {scores.worst:.2f}, limit "
    result += f"{scores.limit:.2f}; {scores.constant:,} constants, {scores.unequal} wrong"
    ok = scores.worst <= scores.limit and scores.unequal == 0
    yield Check(name, f"{statement}: {count:,} chains, each number", result, ok, ALPHA)
    p = scores.uniformity
    if not p:
        return  # too few chains
    least = min(p, key=lambda kind: p[kind])
    result = f"KS over {len(p)} kinds: smallest p {p[least]:.3g} ({least}), "
    result += f"limit {ALPHA / len(p):.0e}"
    statement = f"{statement}: z-scores are normal"
    yield Check(f"{name}, as a whole", statement, result, scores.uniform, ALPHA)
