"""Cost of a round by size of model and run, and cost of its random words alone."""

import time
from collections.abc import Callable

import numba
import numpy as np
from models import DEPTH, ROUNDS, chain_of, kernel_run
from tables import Table, best

from mtpsim.acceptance import AcceptanceChain, Regime
from mtpsim.kernels.philox import LANES, PATH, TILE, VERIFY, words_at
from mtpsim.report.figures.style import BLUE, INK, VERMILION, Frame, panel_title

CLOCKS = {"round": "round clock", "token": "token clock"}
# For each axis: its name, its values, and the allowed growth from first to last.
AXES: dict[str, tuple[str, tuple[int, ...], str]] = {
    "depth": ("greatest depth", (1, 2, 3, 4, 5, 6, 7, 8), "at most 8"),
    "states": ("hidden states", (1, 2, 4, 8, 16, 32), "under 32"),
    "requests": ("requests", (64, 256, 1024, 4096, 16384), "flat"),
    "rounds": ("rounds per request", (10, 50, 200, 800, 3200), "flat"),
}
Costs = dict[str, dict[str, list[float]]]  # ns per round by axis, clock and value


def chain(clock: str, states: int = 2, depth: int = DEPTH) -> AcceptanceChain:
    """Hidden states from easy to hard; a single one never changes."""
    easy, hard = np.linspace(0.9, 0.76, depth), np.linspace(0.5, 0.22, depth)
    mix = np.linspace(0, 1, max(states, 2))[:, None]
    rates = (1 - mix) * easy + mix * hard
    if states == 1:
        one = np.ones(1)
        return AcceptanceChain(one, np.ones((1, 1, 1)), rates[:1], clock, one)
    sojourn = [20] * states
    return Regime(model="regime", clock=clock, rates=rates.tolist(), sojourn=sojourn).chain()


def _point(clock: str, axis: str, value: int, size: int) -> Callable[[], float]:
    if axis in ("depth", "states"):
        return kernel_run(chain(clock, **{axis: value}), size)[0]
    if axis == "requests":
        return kernel_run(chain(clock), value)[0]
    return kernel_run(chain(clock), LANES, value)[0]


def costs(size: int, turns: int, ends: bool = False) -> Costs:
    """Measure all points in turns; ``ends``: only the first and last value of each axis."""
    found: Costs = {}
    for axis, (_, values, _) in AXES.items():
        kept = values[:: len(values) - 1] if ends else values
        for clock in CLOCKS:
            runs = {str(value): _point(clock, axis, value, size) for value in kept}
            taken = best(runs, turns)
            found.setdefault(axis, {})[clock] = [1e9 * taken[str(value)] for value in kept]
    return found


def table(found: Costs) -> Table:
    rows = []
    for axis, (name, values, goal) in AXES.items():
        for clock, label in CLOCKS.items():
            cost = found[axis][clock]
            shown = cost if len(cost) > 2 else [cost[0], cost[-1]]
            along = f"{name} {values[0]} to {values[-1]}, {label}"
            figures = " / ".join(f"{ns:.1f}" for ns in shown)
            rows.append((along, figures, f"{cost[-1] / cost[0]:.2f}", goal))
    return Table("Scaling", ("along", "ns per round", "last over first", "goal"), rows)


def draw(found: Costs, path: str, machine: str) -> None:
    """Four panels: cost of a round along each axis."""
    frame = Frame(
        "Cost of a simulated round, all depths together",
        f"CPU ns per round, minimum over turns; default depth 3, 2 states, 200 rounds. {machine}",
        panels=4,
        size=(7.8, 6.6),
    )
    for axes, (axis, (name, values, _)) in zip(frame.axes, AXES.items(), strict=True):
        for clock, look in (("round", (BLUE, "o")), ("token", (VERMILION, "s"))):
            style = dict(zip(("color", "marker"), look, strict=True))
            axes.plot(values, found[axis][clock], ms=5, label=CLOCKS[clock], **style)
        if axis != "depth":
            axes.set_xscale("log", base=2 if axis == "states" else 10)
        if axis != "requests":
            axes.set_xticks(values, [f"{value:,}" for value in values], fontsize=9)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(name, fontsize=10, color=INK)
        axes.set_ylabel("ns per round", fontsize=10, color=INK)
        panel_title(axes, f"by {name}")
    frame.axes[0].legend(frameon=False, fontsize=9)
    frame.figure.savefig(path, dpi=130)


@numba.njit(nogil=True)
def _words(key, requests, rounds, words):
    for first in range(0, requests, LANES):
        for tick in range(0, rounds, TILE):
            words_at(key, first, tick, PATH, words)
            words_at(key, first, tick, VERIFY, words)


def words_alone(requests: int) -> Callable[[], float]:
    """The floor: generate the two random words of a round without using them."""
    words, key = np.empty((TILE, LANES), np.int32), np.uint64(1)
    requests = max(requests // LANES, 1) * LANES

    def run() -> float:
        start = time.process_time()
        _words(key, requests, ROUNDS, words)
        return (time.process_time() - start) / (requests * ROUNDS)

    run()
    return run


def floor(requests: int, turns: int) -> Table:
    """Cost of a fixed depth relative to the random words that it needs."""
    runs = {"words": words_alone(requests)}
    for name in ("independent", "round"):
        runs[name] = kernel_run(chain_of(name), requests, shallow=DEPTH)[0]
    taken = best(runs, turns)
    rows = [("two random words alone", f"{1e9 * taken['words']:.2f}", "1", "-")]
    for name, label in (("independent", "independent drafts"), ("round", "two states")):
        ratio = taken[name] / taken["words"]
        cost = f"{1e9 * taken[name]:.2f}"
        rows.append((f"depth 3, {label}, round clock", cost, f"{ratio:.2f}", "at most 2"))
    head = ("kernel", "ns per round", "over the words", "goal")
    return Table("Over the generator's floor", head, rows)
