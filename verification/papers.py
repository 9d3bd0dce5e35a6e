"""Numbers published in papers, and in the article that motivated this software."""

from collections.abc import Iterator

from mtpsim.exact.chain_solver import solve, speedups
from verification.published_fact import Fact, experiment, near, rounded, shipped, simulated
from verification.published_values import TABLE_1, TABLE_4


def founding_case(smoke: bool) -> Iterator[Fact]:
    """Rates 0.80 0.74 0.67; verify 90 104 117 ms; draft 8 14 22 ms; target 76 ms."""
    (point,) = shipped("article", 3_000 if smoke else 50_000)
    published = {
        "accept_length": ([1.8, 2.392, 2.78864], 5e-6),
        "speedup": ([1.395918, 1.540610, 1.524724], 5e-7),
        "marginal": ([1.3959, 1.1037, 0.9897], 5e-5),
    }
    for quantity, (values, half_unit) in published.items():
        for depth, value in enumerate(values, 1):
            found = point["depths"][depth][quantity]
            name = f"{quantity.replace('_', ' ')}, depth {depth}"
            yield rounded(f"{name}, closed form", value, found["theory"], half_unit)
            if quantity != "marginal":
                yield rounded(f"{name}, exact", value, found["exact"], half_unit)
            yield near(f"{name}, simulated", value, found, half_unit)
    yield rounded("break-even p3", 0.7191, point["depths"][3]["break_even_rate"], 5e-5)
    yield rounded("best depth", 2, point["advice"]["depth"], 0, why="an integer")
    off = "the article rounds intermediate results: 181.6 / 118 is 1.539 with its own numbers"
    for name, value, quantity, depth in (
        ("speedup, depth 1", 1.39, "speedup", 1),
        ("speedup, depth 2", 1.55, "speedup", 2),
        ("speedup, depth 3", 1.53, "speedup", 3),
        ("marginal, depth 2", 1.11, "marginal", 2),
        ("marginal, depth 3", 0.99, "marginal", 3),
    ):
        ours, same = point["depths"][depth][quantity]["theory"], value == 0.99
        why = "rounding" if same else off
        yield rounded(f"as printed: {name}", value, ours, 0.005, why=why, differs=not same)


def geometric(alpha: float, gamma: int, cost: float) -> tuple[float, float]:
    """Exact accept length and speedup for one rate; ``cost``: of a draft, in target steps."""
    given = experiment(
        {"model": "independent", "rate": alpha, "depth": gamma},
        {"target": 1, "verify": 1, "draft": {"base": 0, "per_token": cost}},
    )
    chain = given.acceptance.chain()
    times = given.latency.compile(gamma).round_time
    return solve(chain, gamma).accept_length, float(speedups(chain, times)[-1])


def leviathan_1(smoke: bool) -> Iterator[Fact]:
    """Leviathan et al. 2023, table 1: operations and speedup with drafts of no cost."""
    for alpha, gamma, operations, speedup in TABLE_1:
        length, fast = geometric(alpha, gamma, 0.0)
        name = f"rate {alpha}, {gamma} drafts"
        yield rounded(f"{name}: operations", operations, (gamma + 1) / length, 0.005)
        yield rounded(f"{name}: speedup", speedup, fast, 0.005)
        if smoke and alpha != 0.8:
            continue
        keys = {"model": "independent", "rate": alpha, "depth": gamma}
        point = simulated(keys, {"target": 1, "verify": 1, "draft": 0}, 2_000)
        found = point["depths"][gamma]["speedup"]
        yield near(f"{name}: speedup, simulated", speedup, found, 0.005)


def leviathan_4(smoke: bool) -> Iterator[Fact]:
    """Leviathan et al. 2023, table 4: expected speedups for measured rates and costs."""
    for alpha, gamma, cost, speedup in TABLE_4:
        mid = geometric(alpha, gamma, cost)[1]
        low = geometric(alpha - 0.005, gamma, cost + 0.005)[1]
        high = geometric(alpha + 0.005, gamma, cost - 0.005)[1]
        inputs = max(high - mid, mid - low)
        why = f"rounding 0.05, and of rate and cost [{low:.2f}, {high:.2f}]"
        why += "" if abs(mid - speedup) <= 0.05 else "; not within its own rounding alone"
        name = f"rate {alpha}, {gamma} drafts at {cost}"
        yield rounded(name, speedup, mid, 0.05 + inputs, why=why)
