"""Reliability of a draft's confidence: share accepted by confidence."""

import numpy as np
from matplotlib.figure import Figure
from scipy.special import ndtri

from mtpsim.fit.confidence import CALIBRATION_BINS, Pairs, Quality, reliability
from mtpsim.report.figures import style

LEVEL = 0.95


def reliability_figure(pairs: Pairs, quality: Quality) -> Figure:
    """Draw acceptance by confidence with Wilson intervals, over the share of pairs by bin."""
    counts, confidence, accepted = reliability(pairs)
    known = counts > 0
    n, z = counts[known], float(ndtri((1 + LEVEL) / 2))
    middle = (accepted[known] + z**2 / (2 * n)) / (1 + z**2 / n)
    half = (
        z / (1 + z**2 / n) * np.sqrt(accepted[known] * (1 - accepted[known]) / n + (z / n / 2) ** 2)
    )
    way = "above" if quality.mean > quality.acceptance else "below"
    frame = style.Frame(
        f"Confidence {abs(quality.mean - quality.acceptance):.3f} {way} acceptance on average",
        f"{quality.pairs:,} drafts · AUC {quality.auc:.3f}, calibration error (ECE) "
        f"{quality.calibration_error:.3f}",
    )
    (axes,) = frame.axes
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    axes.stairs(counts / counts.sum(), edges, fill=True, color=style.PALE, label="share of drafts")
    axes.plot([0, 1], [0, 1], color=style.GREY, linestyle=style.DASHED, label="calibrated")
    ends = np.maximum([accepted[known] - middle + half, middle + half - accepted[known]], 0)
    axes.errorbar(
        confidence[known], accepted[known], ends, fmt="o", color=style.BLUE, label="accepted, 95 %"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    frame.name_axes("confidence", "share accepted")
    frame.legend()
    return frame.figure
