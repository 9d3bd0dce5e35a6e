"""Mutants that can't be told from the right code, each with its reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from verification.mutants import Mutant, file_of


@dataclass(frozen=True)
class Equivalent:
    """A change that no test can see.

    Attributes:
        module: within mtpsim.
        code: a part of the line, of which the module has one or several alike.
        change: ``before -> after``.
        why: nothing comes out differently.
        times: mutants that survive so; others alike, at another place of the line, are killed.

    """

    module: str
    code: str
    change: str
    why: str
    times: int = 1

    def covers(self, mutant: Mutant) -> bool:
        """Whether a mutant is of this line and change."""
        if (mutant.module, mutant.change) != (self.module, self.change):
            return False
        return self.code in source(self.module)[mutant.line - 1]

    @property
    def lines(self) -> dict[int, str]:
        """The lines as they stand in the code today, by number."""
        told = enumerate(source(self.module), 1)
        return {number: line.strip() for number, line in told if self.code in line}


def source(module: str) -> list[str]:
    """Lines of a module."""
    return file_of(module).read_text(encoding="utf-8").splitlines()


def wrong(module: str, left: list[Mutant]) -> list[str]:
    """Explanations that don't explain as many survivors as they say."""
    found = Counter(same for mutant in left for same in EQUIVALENT if same.covers(mutant))
    return [
        f"{same.code} | {same.change}: {same.times} explained, {found[same]} survive"
        for same in EQUIVALENT
        if same.module == module and found[same] != same.times
    ]


def explained(mutant: Mutant) -> bool:
    """Whether a survivor has its reason."""
    return any(same.covers(mutant) for same in EQUIVALENT)


LARGER = "scratch with more room than is read"
BEGINS = "a request begins with the pair 0: the old state is never 1"
AGAIN = "the request after is written again, the same"
LASTS = "this noise does not last: nothing is kept that a first tile would lack"
ROWS = "rows are outcomes x states + 1, of two states or more"
END = "the root that is looked for is at the end then, and found there"
HORIZON = "by then each lane has had its first round"
AT, WIDER = "out[at : at + LANES])", "at:at + LANES -> at:at + LANES + 1"
ROUNDS, POSITIONS, PATH = "kernels.rounds", "kernels.positions", "kernels.path"
COUNTS, SECONDS = "np.zeros((deep + 1, n), np.int32),", "np.zeros((deep + 1, n)),"
MEMORY, TILES = "np.zeros((deep + 1, 2, n))", "draw_factors(noise, everywhere, tick == 0"
FIRST, SAME_ROW = "= upto[2, 0], upto[2, 0]", "row_0, row_1 = (2, 2) if first else (0, 1)"
CUTS, LIMIT = "= cut[2, 0, draft], cut[2, 1, draft], cut[2", "if inside else np.int32(0)"
OWN, GUIDE = "own_noise = noise.persistence != 0", "guide[r, np.intp(word >> 23)]"
EQUIVALENT = (
    Equivalent(
        ROUNDS,
        "max(np.int32(left[lane] - gain), np.int32(0))",
        "0 -> -1",
        "no tokens left or fewer: the lane stands still",
    ),
    Equivalent(
        "tally",
        "(rows - mean).T @ (rows - mean)",
        "rows - mean -> rows + mean",
        "deviations add up to 0, so the other factor is free",
        2,
    ),
    Equivalent(
        "exact", "reshape(states, -1)", "1 -> 2", "NumPy takes any negative size for the unknown"
    ),
    Equivalent("exact", "if least >= wanted:", "least >= wanted -> least > wanted", END),
    Equivalent("exact", "if most <= wanted:", "most <= wanted -> most < wanted", END),
    Equivalent(
        "exact", "np.ones((1, 1, 1)), conditional", "1 -> 2", "a step a draft more, the same one"
    ),
    Equivalent("estimate", "0 * edge", "0 * edge -> 0 / edge", "edge is 1 everywhere"),
    Equivalent(ROUNDS, AT, WIDER, AGAIN, 2),
    Equivalent(ROUNDS, "rounds, accepted = np.zeros((deep + 1, n)", "1 -> 2", LARGER, 2),
    Equivalent(ROUNDS, "verify, draft = np.zeros((deep + 1, n))", "1 -> 2", LARGER, 2),
    Equivalent(ROUNDS, "memory = np.ones((TILE, n), np.int32), np.zeros((2", "2 -> 3", LARGER, 2),
    Equivalent(POSITIONS, AT, WIDER, AGAIN),
    Equivalent(POSITIONS, COUNTS, "1 -> 2", LARGER),
    Equivalent(POSITIONS, "np.zeros((deep + 1, deep, n), np.int32),", "1 -> 2", LARGER),
    Equivalent(POSITIONS, SECONDS, "1 -> 2", LARGER, 2),
    Equivalent(POSITIONS, MEMORY, "1 -> 2", LARGER),
    Equivalent(POSITIONS, MEMORY, "2 -> 3", LARGER),
    Equivalent(POSITIONS, OWN, "0 -> 1", "noise of each depth's own comes out the same"),
    Equivalent(POSITIONS, OWN, "0 -> -1", "noise of each depth's own comes out the same"),
    Equivalent(POSITIONS, "steered = chain.upto.shape[0] >", "1 -> 2", ROWS),
    Equivalent(POSITIONS, TILES, "tick == 0 -> tick != 0", LASTS),
    Equivalent(POSITIONS, TILES, "0 -> 1", LASTS),
    Equivalent(POSITIONS, TILES, "0 -> -1", f"{LASTS}; of memory, any row serves", 2),
    Equivalent(POSITIONS, LIMIT, "2147483647 -> 2147483646", "no lane has so many rounds"),
    Equivalent(POSITIONS, LIMIT, "0 -> 1", HORIZON),
    Equivalent(POSITIONS, LIMIT, "0 -> -1", "no lane has fewer rounds than 0"),
    Equivalent(POSITIONS, "range(last, 0, -1)", "0 -> -1", "the first is set anew right after"),
    Equivalent(PATH, "deep > 0:", "0 -> 1", "a draft alone goes the general way, to the same"),
    Equivalent(PATH, FIRST, "2 -> 1", BEGINS),
    Equivalent(PATH, FIRST, "0 -> 1", BEGINS),
    Equivalent(PATH, FIRST, "0 -> -1", BEGINS),
    Equivalent(PATH, CUTS, "2 -> 1", BEGINS, 2),
    Equivalent(PATH, CUTS, "0 -> 1", BEGINS),
    Equivalent(PATH, CUTS, "0 -> -1", BEGINS),
    Equivalent(PATH, CUTS, "1 -> 0", BEGINS),
    Equivalent(PATH, SAME_ROW, "2 -> 1", BEGINS, 2),
    Equivalent(
        PATH,
        "into_0 = c10 if pair[lane] > 1",
        "pair[lane] > 1 -> pair[lane] >= 1",
        "into_0 is read where the new state is 0",
    ),
    Equivalent(
        PATH,
        "into_0 = c10 if pair[lane] > 1",
        "1 -> 0",
        "into_0 is read where the new state is 0",
    ),
    Equivalent(
        PATH,
        "into_1 = c11 if pair[lane] > 1",
        "1 -> 2",
        "into_1 is read where the new state is 1",
    ),
    Equivalent(PATH, GUIDE, "23 -> 24", "a search that begins earlier ends at the same state"),
    Equivalent(PATH, "(upto.shape[0] - 1) // states", "1 -> 0", ROWS),
)
