"""Faulty cases: the kernel plays them while the correct case is solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from verification.chains import Case


def changed(**change: Callable[[Any], Any]) -> Callable[[int, Case], Case]:
    """A fault that replaces arrays of the chain, each by a function of the chain."""

    def fault(seed: int, case: Case) -> Case:
        new = {name: function(case.chain) for name, function in change.items()}
        return replace(case, chain=replace(case.chain, **new))

    return fault


def only(applies: Callable[[Any], bool], fault: Callable[[int, Case], Case]):  # type: ignore[no-untyped-def]
    """A fault of chains with several states to which it applies; others are skipped."""
    return lambda seed, case: (
        fault(seed, case) if case.chain.states > 1 and applies(case.chain) else None
    )


def one_wrong_rate(seed: int, case: Case) -> Case:
    """In a single chain, one rate of one state is off by two percentage points."""
    accept = case.chain.accept.copy()
    at = int(case.chain.start.argmax()), 0
    accept[at] += 0.02 if accept[at] < 0.9 else -0.02
    return replace(case, chain=replace(case.chain, accept=accept)) if seed == 5 else case


FAULTS: dict[str, Callable[[int, Case], Case | None]] = {
    "all rates 0.2 % too low": changed(accept=lambda chain: chain.accept * 0.998),
    "one rate of one chain off by 0.02": one_wrong_rate,
    "outcomes swapped": only(
        lambda chain: len(chain.step) == 2, changed(step=lambda chain: chain.step[::-1].copy())
    ),
    "slowdown of another state": only(
        lambda chain: (chain.slowdown != 1).any(),
        changed(slowdown=lambda chain: np.roll(chain.slowdown, 1)),
    ),
    "state redrawn at every tick": only(
        lambda chain: True,
        changed(step=lambda chain: np.broadcast_to(chain.start, chain.step.shape).copy()),
    ),
    "the other clock": only(
        lambda chain: True,
        changed(clock=lambda chain: "token" if chain.clock == "round" else "round"),
    ),
    "one token more": lambda _, case: (
        replace(case, tokens=case.tokens + 1) if case.tokens else None
    ),
}
