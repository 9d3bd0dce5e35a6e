"""The lengths of requests as tables of quantiles, and their means where the KV cache cuts them."""

from functools import lru_cache
from typing import Any

import numpy as np

from mtpsim.common.arrays import Floats
from mtpsim.config.serving import LengthLaw, LengthSamples, Serving
from mtpsim.latency.quantile_table import (
    CONSTANT,
    QuantileTable,
    exponential,
    gamma,
    lognormal,
    samples_table,
    table_of,
)

QUANTILES = 1000  # of a length, for its mean when cut


def length_table(length: Any) -> tuple[QuantileTable, float, float]:
    """Table of mean 1, scale and offset of a length: floor(scale x quantile + offset)."""
    if isinstance(length, LengthSamples):
        return samples_table(length.values), float(length.values.mean()), 0.5
    if not isinstance(length, LengthLaw):
        return CONSTANT, float(length) if isinstance(length, int) else 1.0, 0.5
    if length.mean > 1 and length.distribution == "geometric":  # 1 + floor of exponential times
        return unit_table("exponential"), -1 / float(np.log1p(-1 / length.mean)), 1.0
    return unit_table(length.distribution, 0.0 if length.mean == 1 else length.cv), length.mean, 0.5


@lru_cache(maxsize=16)
def unit_table(name: str, cv: float | None = None) -> QuantileTable:
    """Table of a distribution of mean 1; its cv is 1 if it is not given."""
    if cv == 0:
        return CONSTANT
    if name == "exponential":
        return table_of(exponential(0.0))
    return table_of((gamma if name == "gamma" else lognormal)(1.0 if cv is None else cv))


def cut_means(serving: Serving) -> tuple[float, float]:
    """Mean tokens of prompt and output, of requests cut to fit the KV cache."""
    means, most = serving.mean_lengths, serving.kv_tokens
    if most is None:
        return means
    if serving.pairs is not None:
        prompt, output = serving.pairs.tokens.T.astype(float)
    else:
        prompt, output = _quantiles(serving.prompt)[:, None], _quantiles(serving.output)
    kept = np.minimum(prompt, most - 1)
    left = np.minimum(output, most - kept)
    # As ratios, for the quantiles lack the ends of the tails.
    return (
        means[0] * float(kept.mean() / prompt.mean()),
        means[1] * float(left.mean() / output.mean()),
    )


def _quantiles(length: Any) -> Floats:
    """Tokens at the middle of each of :data:`QUANTILES` equal shares."""
    table, scale, offset = length_table(length)
    tokens = np.floor(scale * table.quantile((np.arange(QUANTILES) + 0.5) / QUANTILES) + offset)
    return np.asarray(np.maximum(tokens, 1.0))
