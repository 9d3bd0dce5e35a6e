"""Faulty chains: the kernel plays them while the correct chain is solved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from verification.chains import Case


def wrong_rates(share: float) -> Callable[[int, Case], Case]:
    """Every acceptance rate is too low by a share."""

    def make(seed: int, case: Case) -> Case:
        return replace(case, chain=replace(case.chain, accept=case.chain.accept * (1 - share)))

    return make


def one_wrong_rate(seed: int, case: Case) -> Case:
    """In a single chain, one rate of one state is off by two percentage points."""
    if seed != 5:
        return case
    accept = case.chain.accept.copy()
    at = int(case.chain.start.argmax()), 0
    accept[at] += 0.02 if accept[at] < 0.9 else -0.02
    return replace(case, chain=replace(case.chain, accept=accept))


def wrong_chain(change: Callable[[AcceptanceChain], AcceptanceChain | None]):  # type: ignore[no-untyped-def]
    """A fault of the chain; cases to which it does not apply are skipped."""

    def make(seed: int, case: Case) -> Case | None:
        chain = change(case.chain)
        return None if chain is None else replace(case, chain=chain)

    return make


def _swapped(chain: AcceptanceChain) -> AcceptanceChain | None:
    outcomes = len(chain.step) == 2 and chain.states > 1
    return replace(chain, step=chain.step[::-1].copy()) if outcomes else None


def _late_slowdown(chain: AcceptanceChain) -> AcceptanceChain | None:
    if (chain.slowdown == 1).all() or chain.states == 1:
        return None
    return replace(chain, slowdown=np.roll(chain.slowdown, 1))


def _independent(chain: AcceptanceChain) -> AcceptanceChain | None:
    """Rounds are independent of each other, each with the same start distribution."""
    if chain.states == 1:
        return None
    return replace(chain, step=np.broadcast_to(chain.start, chain.step.shape).copy())


def _other_clock(chain: AcceptanceChain) -> AcceptanceChain | None:
    if chain.states == 1:
        return None
    return replace(chain, clock="token" if chain.clock == "round" else "round")


def _one_token_more(seed: int, case: Case) -> Case | None:
    return replace(case, tokens=case.tokens + 1) if case.tokens else None


FAULTS: dict[str, Callable[[int, Case], Case | None]] = {
    "all rates 0.2 % too low": wrong_rates(0.002),
    "one rate of one chain off by 0.02": one_wrong_rate,
    "outcomes swapped": wrong_chain(_swapped),
    "slowdown of another state": wrong_chain(_late_slowdown),
    "state redrawn at every tick": wrong_chain(_independent),
    "the other clock": wrong_chain(_other_clock),
    "one token more": _one_token_more,
}
