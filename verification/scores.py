"""z-scores of many random chains, judged as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from verification.chains import Floats
from verification.check import Check

ALPHA = 1e-4  # false alarms of each check
SLOW = 120  # requests of a chain by a slow twin


@dataclass
class Scores:
    """z-scores of many chains.

    Attributes:
        every: all of them, for the greatest.
        drawn: of each kind one a chain, drawn before looking: independent.
        unequal: numbers without spread that were not exact.
        sure: numbers without spread.
        rare: numbers left out since too few events were expected.

    """

    every: list[float] = field(default_factory=list)
    drawn: dict[str, list[float]] = field(default_factory=dict)
    unequal: int = 0
    sure: int = 0
    rare: int = 0

    def add(self, kinds: dict[str, list[float]], rng: np.random.Generator) -> None:
        """The scores of one chain, by kind."""
        every = [z for zs in kinds.values() for z in zs]
        self.every += every
        for kind, zs in {"any": every, **kinds}.items():
            if zs:
                self.drawn.setdefault(kind, []).append(zs[rng.integers(len(zs))])

    @property
    def limit(self) -> float:
        """Bonferroni's on the greatest |z|, at a tenth of ALPHA: tails are not quite normal."""
        return float(stats.norm.isf(ALPHA / 20 / max(len(self.every), 1)))

    @property
    def uniformity(self) -> dict[str, float]:
        """p of Kolmogorov-Smirnov by kind: the scores, with their signs, are standard normal."""
        return {
            kind: float(stats.kstest(zs, "norm").pvalue)
            for kind, zs in self.drawn.items()
            if len(zs) >= 20
        }

    @property
    def worst(self) -> float:
        """The greatest |z|."""
        return float(np.abs(self.every).max(initial=0.0))

    @property
    def uniform(self) -> bool:
        """All kinds pass."""
        p = self.uniformity
        return min(p.values(), default=1.0) >= ALPHA / max(len(p), 1)

    def found(self) -> str | None:
        """What is wrong, if anything is."""
        if self.unequal:
            return f"{self.unequal} sure numbers are wrong"
        if self.worst > self.limit:
            return f"|z| {self.worst:.1f}"
        return None if self.uniform else f"KS p {min(self.uniformity.values()):.1g}"


def score(rows: Floats, exact: Floats) -> tuple[Floats, Floats]:
    """z of each column's mean, and its standard error relative to the mean (0: no spread)."""
    error = rows.std(0, ddof=1) / np.sqrt(len(rows))
    sure = error <= 1e-12 * np.maximum(np.abs(exact), 1.0)
    z = (rows.mean(0) - exact) / np.where(sure, 1.0, error)
    return z, sure


def as_normal(t: Floats) -> list[float]:
    """Student's t of the slow twin's requests as z."""
    return list(stats.norm.isf(stats.t.sf(np.abs(t), SLOW - 1)) * np.sign(t))


def told(scores: Scores, name: str, statement: str) -> Iterator[Check]:
    """Two checks: the greatest |z|, and the law of all."""
    count = len(scores.drawn.get("any", []))
    result = f"{len(scores.every):,} z-scores, greatest |z| {scores.worst:.2f}, limit "
    result += f"{scores.limit:.2f}; {scores.sure:,} numbers without spread, {scores.unequal} wrong"
    ok = scores.worst <= scores.limit and scores.unequal == 0
    yield Check(name, f"{statement}: {count:,} chains, each number", result, ok, ALPHA)
    p = scores.uniformity
    if not p:
        return  # too few chains to ask
    least = min(p, key=lambda kind: p[kind])
    result = f"KS over {len(p)} kinds: least p {p[least]:.3g} ({least}), limit {ALPHA / len(p):.0e}"
    statement = f"{statement}: z-scores are normal"
    yield Check(f"{name}, as a whole", statement, result, scores.uniform, ALPHA)
