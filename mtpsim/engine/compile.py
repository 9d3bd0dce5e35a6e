"""From models to what the kernel reads: thresholds, tables, times and the layout of a row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import AcceptanceChain, Recording, Source
from mtpsim.common.arrays import Floats
from mtpsim.engine.blocks import unit_of
from mtpsim.engine.policy_player import PolicySet
from mtpsim.kernels.arrays import ChainArrays, NoiseArrays, RecordingArrays, Task
from mtpsim.kernels.row_layout import RowLayout
from mtpsim.latency import CompiledLatency
from mtpsim.latency.quantile_table import normal_table

WORDS = 2.0**31
KINDS = {"constant": 0, "cells": 1, "samples": 2}


@dataclass(frozen=True)
class KernelPlan:
    """One point of an experiment, ready for the kernel."""

    key: int
    clock: str
    outcomes: int
    source: ChainArrays | RecordingArrays
    noise: NoiseArrays
    task: Task
    layout: RowLayout
    unit: int
    policy_set: PolicySet | None = None


def thresholds(rows: Floats, accept: Floats) -> tuple[npt.NDArray[np.int32], ...]:
    """Cut the 31-bit words by next state, and each part again by acceptance.

    Args:
        rows: ``[R, S]`` law of the next state, by row.
        accept: ``[S, K]`` probability that decides each draft, within the state.

    Returns:
        ``upto`` ``[R, S]``, ``cut`` ``[R, S, K]``, ``guide`` ``[R, 256]``, int32. Probabilities
        0 and 1 are exact, others off by at most 2^-32.

    """
    edge = np.rint(np.cumsum(rows, axis=1) * WORDS).astype(np.int64)
    edge = np.minimum(edge, 2**31)
    edge[:, -1] = 2**31
    below = np.concatenate([np.zeros((len(edge), 1), np.int64), edge[:, :-1]], axis=1)
    width = edge - below
    cut = below[:, :, None] + np.rint(accept[None] * width[:, :, None]).astype(np.int64)
    buckets = np.arange(256, dtype=np.int64) << 23
    guide = np.stack([np.searchsorted(row - 1, buckets, side="left") for row in edge])
    return (edge - 1).astype(np.int32), (cut - 1).astype(np.int32), guide.astype(np.int32)


def chain_arrays(chain: AcceptanceChain) -> ChainArrays:
    """A chain as thresholds; the last row starts a request."""
    rows = np.concatenate([chain.step.reshape(-1, chain.states), chain.start[None]])
    judged = chain.survival if chain.clock == "round" else chain.accept
    slowdown = chain.slowdown
    if chain.states == 1:  # a second, unreachable state: the vector path is made for two
        rows = np.array([[1.0, 0.0]] * 3)
        judged, slowdown = np.repeat(judged, 2, axis=0), np.ones(2) * slowdown
    upto, cut, guide = thresholds(rows, judged)
    two = judged.shape[0] == 2 and (chain.step.shape[0] == 1 or chain.states == 1)
    return ChainArrays(upto, cut, guide, slowdown, two, bool((slowdown != 1).any()))


def noise_arrays(latency: CompiledLatency) -> NoiseArrays:
    """The three quantile tables; that of the normal law only where scores are needed."""
    tables = (latency.target_noise, latency.verify_noise, latency.draft_noise)
    scores = latency.correlation != 0 or latency.persistence != 0
    return NoiseArrays(
        np.array([KINDS[table.kind] for table in tables], np.int64),
        latency.target_noise.values,
        latency.verify_noise.values,
        latency.draft_noise.values,
        normal_table().values if scores else np.zeros((1, 2)),
        latency.shared,
        float(latency.correlation),
        float(latency.persistence),
        0,
    )


def random_key(seed: int) -> int:
    """Key of the random words of a seed.

    All points of an experiment share it, so that depths, models and swept values are compared on
    the same randomness; only another seed gives another one.
    """
    return int.from_bytes(hashlib.blake2b(f"mtpsim {seed}".encode(), digest_size=8).digest(), "big")


def source_arrays(source: Source) -> ChainArrays | RecordingArrays:
    """What the kernel reads of a model."""
    if isinstance(source, Recording):
        by_position = source.clock == "token"
        return RecordingArrays(source.accepted, source.begins, by_position)
    return chain_arrays(source)


def compile_plan(
    source: Source,
    latency: CompiledLatency,
    *,
    seed: int,
    rounds: int = 0,
    tokens: int = 0,
    measured_at: int | None = None,
    policy_set: PolicySet | None = None,
) -> KernelPlan:
    """Compile one point.

    Args:
        source: which drafts are accepted.
        latency: how long rounds take; compiled for the same depth.
        seed: of all randomness.
        rounds: rounds a request, or 0.
        tokens: tokens a request, or 0; just one of the two is given, or none of them where
            recorded requests end by themselves.
        measured_at: depth at which rates are measured, by default the greatest.
        policy_set: adaptive policies.

    """
    outcomes = 1 if isinstance(source, Recording) else source.step.shape[0]
    every = source.clock == "token" or outcomes == 2 or tokens > 0
    measured = measured_at or source.depth
    times = np.stack([latency.verify, latency.draft]).astype(np.float64)
    return KernelPlan(
        random_key(seed),
        source.clock,
        outcomes,
        source_arrays(source),
        noise_arrays(latency),
        Task(rounds, tokens, measured, times, every),
        RowLayout(
            *(source.depth, every, measured, source.clock == "token"),
            len(policy_set.players) if policy_set else 0,
        ),
        unit_of(source, rounds, tokens),
        policy_set,
    )
