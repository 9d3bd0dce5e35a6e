"""The row of totals that a replication of a server leaves, and the bins of its histograms.

Every total is of one arm and additive. Totals of requests count the kept requests, whenever they
finish; totals of time, steps and tokens count what happens within the kept window.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from mtpsim.common.arrays import Floats

Column = Literal[
    "requests",  # kept requests
    "good",  # kept requests that meet every goal
    "clipped",  # kept requests whose lengths were cut to fit the KV capacity
    "tokens",  # output tokens emitted in the window
    "window_ms",
    "ttft_ms",  # sum over kept requests: end of the step that finishes the prefill, minus arrival
    "tpot_ms",  # sum of (last - first token time) / (tokens - 1), over `tpot_requests`
    "tpot_requests",  # kept requests with two tokens or more
    "itl_ms",  # sum of the gaps between bursts of tokens
    "itl_bursts",  # number of these gaps
    "itl_tokens",  # tokens that came with these bursts: itl_ms / itl_tokens is the ITL per token
    "e2e_ms",  # sum of last token time minus arrival
    "output_tokens",  # output tokens of the kept requests
    "rounds",  # rounds of the kept requests: requests x steps in which they decode
    "prompt_tokens",  # prompt tokens of the kept requests
    "steps",  # steps that end in the window
    "step_ms",  # their time: busy time of the server
    "request_steps",  # decoding requests, summed over these steps
    "drafted",  # drafted tokens of these steps
    "accepted",  # accepted tokens of these steps
    "depth_steps",  # greatest depth of a step, summed over the steps that decode
    "decode_steps",  # steps with a decoding request
    "prefill_tokens",  # prompt and recomputed tokens that these steps process
    "recomputed_tokens",  # tokens that were in the KV cache of a request when it was preempted
    "preemptions",
    "running_ms",  # integral over the window of the running requests
    "waiting_ms",  # integral of the requests that have arrived and do not run
    "kv_ms",  # integral of the tokens of the KV cache in use, reserved drafts included
    "peak_running",
    "peak_kv",
    "first_waiting",  # waiting requests at the beginning of the window
    "last_waiting",  # and at its end
    "half_requests",  # the first half of the kept requests, and their sums
    "half_ttft_ms",
    "half_tpot_ms",
    "half_tpot_requests",
    "half_e2e_ms",
    "ttft_p50",  # the replication's own quantiles, in ms
    "ttft_p95",
    "ttft_p99",
    "tpot_p50",
    "tpot_p95",
    "tpot_p99",
    "itl_p50",
    "itl_p95",
    "itl_p99",
    "e2e_p50",
    "e2e_p95",
    "e2e_p99",
    # of the steps in the window; the first and last are 0 where requests share no budget of drafts
    "unverified",  # drafts that were made and not verified
    "rejected",  # drafts that were verified and not accepted
    "missed",  # drafts that were not verified and would have been accepted
]
Metric = Literal["ttft", "tpot", "itl", "e2e"]

COLUMNS: tuple[Column, ...] = get_args(Column)
METRICS: tuple[Metric, ...] = get_args(Metric)
(
    REQUESTS, GOOD, CLIPPED, TOKENS, WINDOW, TTFT, TPOT, TPOT_REQUESTS, ITL, ITL_BURSTS, ITL_TOKENS,
    E2E, OUTPUT_TOKENS, ROUNDS, PROMPT_TOKENS, STEPS, STEP_TIME, REQUEST_STEPS, DRAFTED, ACCEPTED,
    DEPTH_STEPS, DECODE_STEPS, PREFILL_TOKENS, RECOMPUTED, PREEMPTIONS, RUNNING, WAITING, KV,
    PEAK_RUNNING, PEAK_KV, FIRST_WAITING, LAST_WAITING, HALF_REQUESTS, HALF_TTFT, HALF_TPOT,
    HALF_TPOT_REQUESTS, HALF_E2E, QUANTILES,
) = range(COLUMNS.index("ttft_p50") + 1)  # fmt: skip
UNVERIFIED, REJECTED, MISSED = range(COLUMNS.index("unverified"), len(COLUMNS))
SHARES = (0.5, 0.95, 0.99)  # quantiles in the row, of each metric
OCTAVE_BITS = 7  # bins per octave, as a power of two: a bin is 0.4 to 0.8 % wide
LEAST_EXPONENT, OCTAVES = -10, 40  # from 0.001 ms to 12 days
BINS = OCTAVES << OCTAVE_BITS


def bin_edges() -> Floats:
    """Edges ``[BINS + 1]`` in ms of the bins of every histogram.

    The first bin also holds what is shorter, the last what is longer. An octave is cut into equal
    bins, so that the bin of a time follows from the bits of its float.
    """
    octave, part = np.divmod(np.arange(BINS + 1), 1 << OCTAVE_BITS)
    edges = np.ldexp(1 + part / (1 << OCTAVE_BITS), octave + LEAST_EXPONENT)
    return np.asarray(edges, float)
