"""What workers do: one point, compiled where it is simulated, and checked to be the same there."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from mtpsim import __version__
from mtpsim.acceptance import Source
from mtpsim.config.experiment import Experiment
from mtpsim.engine.compile import KernelPlan
from mtpsim.engine.simulate import compiled, plan_experiment, tally_block
from mtpsim.kernels.jit import kernel_hash
from mtpsim.latency import CompiledLatency
from mtpsim.stats.moments import Tally


class WorkerMismatchError(RuntimeError):
    """A worker has other code or other tables: its numbers would not be those of this run."""


@dataclass(frozen=True)
class Order:
    """A point for a worker elsewhere, which compiles it for itself.

    Attributes:
        experiment: pickled, a few kB; files of samples and traces are read by the worker.
        version: of mtpsim.
        kernels: hash of their source.
        tables: hash of the compiled point.

    """

    experiment: bytes
    version: str
    kernels: str
    tables: str


@dataclass(frozen=True)
class Work:
    """A point, compiled here; and the order by which others compile it."""

    experiment: Experiment
    source: Source
    latency: CompiledLatency
    plan: KernelPlan

    @classmethod
    def of(cls, experiment: Experiment) -> Work:
        """Compile an experiment without a sweep."""
        return cls(experiment, *compiled(experiment))

    @cached_property
    def order(self) -> Order:
        """The order, made when first needed."""
        pickled = pickle.dumps(self.experiment)
        return Order(pickled, __version__, kernel_hash(), fingerprint(self.plan))


def fingerprint(plan: KernelPlan) -> str:
    """Hash of every number that a plan's kernels read."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(plan):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    elif not callable(value):
        yield repr(value).encode()


@lru_cache(maxsize=4)
def _plan(order: Order) -> KernelPlan:
    here = f"the worker {os.getpid()} on {platform.node()}"
    for what, mine, asked in (
        ("mtpsim", __version__, order.version),
        ("the kernels", kernel_hash(), order.kernels),
    ):
        if mine != asked:
            raise WorkerMismatchError(f"{here} has {what} {mine}, this run {asked}")
    plan = plan_experiment(pickle.loads(order.experiment))
    if fingerprint(plan) != order.tables:
        raise WorkerMismatchError(
            f"{here} compiles the point to other numbers than this run: it has numpy "
            f"{np.__version__}; install the same versions of numpy and scipy everywhere"
        )
    return plan


def work_block(order: Order, first: int, count: int) -> Tally:
    """Tally of one block, on a worker elsewhere.

    Raises:
        WorkerMismatchError: the worker's code or tables are not those of the run.

    """
    return tally_block(_plan(order), first, count)
