"""Laws of the draft's confidence from pairs of confidence and outcome, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.errors import InputError, Problem
from mtpsim.logs.files import csv_cells, csv_delimiter, csv_number, lines

BINS = 20  # of a histogram; edges are quantiles of all confidences
CALIBRATION_BINS = 10  # of equal width, for the calibration error
FEWEST = 50  # accepted and rejected drafts of a law of its own
MANY_ERRORS = 20  # malformed lines that are listed
KEYS = ("confidence", "accepted")
OUTCOMES = {"1": True, "0": False, "true": True, "false": False}


@dataclass(frozen=True)
class Pairs:
    """Drafts whose outcome is known.

    Attributes:
        confidence (Floats): ``[n]`` confidences in [0, 1].
        accepted (npt.NDArray[np.bool_]): ``[n]`` whether each draft was accepted.
        position (npt.NDArray[np.int64]): ``[n]`` positions from 1; 0: not known.
    """

    confidence: Floats
    accepted: npt.NDArray[np.bool_]
    position: npt.NDArray[np.int64]

    def at(self, position: int) -> Pairs:
        """The pairs of a position."""
        here = self.position == position
        return Pairs(self.confidence[here], self.accepted[here], self.position[here])

    @property
    def fewest(self) -> int:
        """Accepted or rejected drafts, whichever are fewer."""
        return int(min(self.accepted.sum(), (~self.accepted).sum()))


@dataclass(frozen=True)
class Quality:
    """How well a confidence predicts the outcome.

    Attributes:
        pairs (int): Number of pairs.
        acceptance (float): Share of accepted drafts.
        mean (float): Mean confidence.
        auc (float): Probability that an accepted draft has the higher confidence; ties count half.
        calibration_error (float): Mean absolute difference of confidence and acceptance over bins
            of equal width (ECE), weighted by their pairs.
        at_one (float): Share of drafts with a confidence of exactly 1.
    """

    pairs: int
    acceptance: float
    mean: float
    auc: float
    calibration_error: float
    at_one: float

    @classmethod
    def of(cls, pairs: Pairs) -> Quality:
        """The quality of some pairs; both outcomes must occur."""
        good, ranks = pairs.accepted, rankdata(pairs.confidence)
        yes, no = int(good.sum()), int((~good).sum())
        auc = (ranks[good].sum() - yes * (yes + 1) / 2) / (yes * no)
        counts, confidence, accepted = reliability(pairs)
        error = np.abs(confidence - accepted)[counts > 0] @ counts[counts > 0]
        return cls(
            pairs=good.size,
            acceptance=float(good.mean()),
            mean=float(pairs.confidence.mean()),
            auc=float(auc),
            calibration_error=float(error / good.size),
            at_one=float((pairs.confidence == 1).mean()),
        )


def reliability(pairs: Pairs) -> tuple[Floats, Floats, Floats]:
    """Pairs, mean confidence and share accepted of bins of equal width, each ``[bins]``."""
    bins = np.minimum((pairs.confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS).astype(float)
    sums = [
        np.bincount(bins, values.astype(float), CALIBRATION_BINS)
        for values in (pairs.confidence, pairs.accepted)
    ]
    confidence, accepted = (np.divide(s, counts, out=0 * s, where=counts > 0) for s in sums)
    return counts, confidence, accepted


def law(pairs: Pairs) -> JsonDict:
    """Histograms of accepted and rejected drafts, with the mass at one, as a section."""
    inner = pairs.confidence < 1
    at_one = [float((~inner)[pairs.accepted == outcome].mean()) for outcome in (True, False)]
    if not inner.any():
        return {"at_one": at_one}
    edges = np.unique(np.quantile(pairs.confidence[inner], np.linspace(0, 1, BINS + 1)))
    if edges.size == 1:  # one value: a narrow bin around it
        edges = np.clip([edges[0] - 1e-6, edges[0] + 1e-6], 0, 1)
    found: JsonDict = {"edges": edges.tolist()}
    for name, good in (("accepted", True), ("rejected", False)):
        values = pairs.confidence[inner & (pairs.accepted == good)]
        counts = np.histogram(values, edges)[0]
        found[name] = counts.tolist() if counts.any() else [1] * (edges.size - 1)
    return found | {"at_one": at_one} if any(at_one) else found


def confidence_section(pairs: Pairs) -> JsonDict:
    """The section ``[adaptive.confidence]``: a law by position where every one has enough pairs."""
    positions = range(1, int(pairs.position.max()) + 1)
    parts = [pairs.at(position) for position in positions]
    if len(parts) > 1 and all(part.fewest >= FEWEST for part in parts):
        return {"positions": [law(part) for part in parts]}
    return law(pairs)


def is_confidence_file(path: Path) -> bool:
    """Return whether the first line of a file has a confidence and an outcome.

    Raises:
        InputError: the file can't be read.
    """
    for _, line in lines(path):
        if line.strip():
            return all(f'"{key}"' in line for key in KEYS) or set(KEYS) <= set(
                csv_cells(line, csv_delimiter(line))
            )
    return False


def read_pairs(path: Path) -> Pairs:
    """Read pairs of confidence and outcome.

    Args:
        path: CSV with columns ``confidence``, ``accepted`` (0 or 1) and optionally ``position``
            (from 1); or JSON lines with these keys, where a line may be a round: a list of
            confidences and the number of accepted drafts. Drafts after a rejection have no outcome.

    Raises:
        InputError: the file can't be read, a value is malformed (with its line), or an outcome is
            missing altogether.
    """
    found: list[tuple[float, bool, int]] = []
    problems: list[Problem] = []
    header: list[str] = []
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            if line.lstrip().startswith("{"):
                found += _of_json(json.loads(line))
            elif not header:
                header = csv_cells(line, csv_delimiter(line))
            else:
                delimiter = csv_delimiter(line)
                cells = dict(zip(header, csv_cells(line, delimiter), strict=True))
                found.append(_of_cells(cells, delimiter))
        except (ValueError, TypeError, KeyError) as error:
            problems.append(Problem(_reason(error), file=str(path), line=number))
            if len(problems) == MANY_ERRORS:
                break
    if problems:
        raise InputError(problems)
    values, outcomes, places = zip(*found, strict=True) if found else ((), (), ())
    pairs = Pairs(np.array(values, float), np.array(outcomes, bool), np.array(places, np.int64))
    if not found or not pairs.fewest:
        raise InputError.of(
            f"{int(pairs.accepted.sum()):,} accepted and {int((~pairs.accepted).sum()):,} rejected "
            "drafts are given; at least 1 of each is needed",
            file=path,
        )
    return pairs


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _of_cells(cells: dict[str, str], delimiter: str) -> tuple[float, bool, int]:
    outcome = OUTCOMES.get(cells["accepted"].lower())
    if outcome is None:
        raise ValueError(f"{cells['accepted']!r} is given for 'accepted'; it must be 0 or 1")
    confidence = csv_number("confidence", cells["confidence"], delimiter)
    return _checked(confidence), outcome, _place(cells.get("position", 0))


def _of_json(entry: JsonDict) -> Iterator[tuple[float, bool, int]]:
    """The drafts of a line up to the first rejected one, whose fate is known."""
    confidence, accepted = entry["confidence"], entry["accepted"]
    if not isinstance(confidence, list):
        if accepted not in (0, 1):
            raise ValueError(f"{accepted!r} is given for 'accepted'; it must be true or false")
        yield _checked(confidence), bool(accepted), _place(entry.get("position", 0))
        return
    if isinstance(accepted, bool) or not 0 <= accepted <= len(confidence):
        raise ValueError(
            f"{accepted!r} is given for 'accepted'; it must be 0 to {len(confidence)}, the number "
            "of accepted drafts of the round"
        )
    for place, value in enumerate(confidence[: accepted + 1], 1):
        yield _checked(value), place <= accepted, place


def _checked(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is given for 'confidence'; it must be from 0 to 1")
    return float(value)


def _place(value: Any) -> int:
    place = int(value)
    if not 0 <= place <= 64:
        raise ValueError(f"{value!r} is given for 'position'; it must be from 1 to 64")
    return place
