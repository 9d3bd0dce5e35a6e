"""Coverage of the intervals of a server, at light, medium and heavy load.

Each cell simulates many runs of 30 replications and counts how often an interval covers the value
of all replications together (30 times as many runs, so its own error is small). Quantities: mean,
p50, p95 and p99 of TTFT and TPOT, goodput, the speedup over depth 1, and the capacity; in another
setting, the load at which depth 1 becomes faster than depth 2. The negative control takes the
requests of a run as independent: its intervals of the mean TTFT must fail.

A cell is an alarm when its coverage is below nominal by more than 4 binomial standard errors and an
allowance of 0.02. Where a few replications hold the slowest requests, the p99 of the TTFT has no
upper end; such an interval covers if its lower end does. The share of these is on the page.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mtpsim.config.experiment import parse
from mtpsim.engine.server import CompiledServer, compile_server, tally_server
from mtpsim.engine.server_data import ServerData
from mtpsim.kernels.server_layout import SHARES
from mtpsim.report.serving_document import LoadTurn
from mtpsim.results.serving import estimates_of, quantiles_of, served_by_load, served_result
from mtpsim.stats.estimators import Estimates, Tally
from mtpsim.stats.pooled_quantiles import PooledQuantiles, ratios_to
from mtpsim.stats.root_search import greatest_load
from verification.check import Check, Table, coverage_slack

EXPERIMENT = """
[acceptance]
model = "independent"
rates = [0.8, 0.74]
[latency]
model = "linear"
base = 10
per_token = 0.05
draft = {{ base = 0, per_token = 1 }}
noise = {{ distribution = "lognormal", cv = 0.1 }}
[serving]
arrivals = {{ rate = {rate} }}
prompt = {{ mean = 200, cv = 1 }}
output = {{ mean = 100, cv = 1 }}
goals = {{ ttft = 60, tpot = 9 }}
max_requests = 16
max_tokens = 512
requests = {requests}
warm_up = 100
depths = [1, 2]
[simulation]
seed = {seed}
"""
RATES = {"light": 4.0, "medium": 10.0, "heavy": 14.0}  # depth 1 serves about 17 per second
REPLICATIONS, REQUESTS, CONFIDENCE, ARM, TARGET = 30, 500, 0.95, 1, 0.9
CAPACITY_RUNS, CROSSING_RUNS = 60, 100
LOADS = (2.2, 2.5, 2.8, 3.1, 3.4)  # of a sweep in which depth 1 overtakes depth 2
CROSSING = (
    "acceptance.rates=[0.8, 0.3]",
    "latency.per_token=0.5",
    "latency.draft={base=0, per_token=0.1}",
    "serving.prompt={mean=50, cv=1}",
    "serving.goals=none",
)
ALLOWANCE, OPEN = 0.02, "TTFT p99, no upper end"


def compiled(rate: float, seed: int, overrides: Sequence[str] = ()) -> CompiledServer:
    """The server at a load."""
    text = EXPERIMENT.format(rate=rate, seed=seed, requests=REQUESTS)
    return compile_server(parse(text, overrides=list(overrides)))


def data_of(server: CompiledServer, tally: Tally) -> ServerData:
    """The data of some replications, as the results read it."""
    serving = server.experiment.serving
    assert serving is not None
    swept = {"serving.arrivals.rate": serving.arrivals.rate}
    return ServerData(
        point=SimpleNamespace(set=swept, experiment=server.experiment),  # type: ignore[arg-type]
        arms=tuple(arm.arm for arm in server.plan.arms),
        layout=server.plan.layout,
        tally=tally,
        timelines=(),
        precision_reached=None,
        interrupted=False,
    )


def quantities(data: ServerData) -> dict[str, Estimates | PooledQuantiles]:
    """Estimates by name, each ``[arms]``."""
    found: dict[str, Estimates | PooledQuantiles] = {
        f"{name.upper()} mean": estimates_of(data, name) for name in ("ttft", "tpot")
    }
    for name in ("ttft", "tpot"):
        pooled = quantiles_of(data, name)
        for n, share in enumerate(SHARES):
            one = PooledQuantiles(*(part[:, n] for part in pooled))
            found[f"{name.upper()} p{100 * share:g}"] = one
    found["goodput"] = estimates_of(data, "goodput")
    return found | {"speedup": ratios_to(estimates_of(data, "tpot", inverse=True), 0)}


def as_independent(data: ServerData) -> float:
    """Half-width of the mean TTFT if requests were independent, from the histogram."""
    counts, edges = data.histograms[ARM, 0], data.edges
    middle = (edges[1:] + edges[:-1]) / 2
    mean = counts @ middle / counts.sum()
    variance = counts @ (middle - mean) ** 2 / counts.sum()
    return float(1.96 * np.sqrt(variance / counts.sum()))


def coverage(rate: float, runs: int, seed: int) -> tuple[dict[str, float], float, float]:
    """Share of runs whose interval covers, by quantity; of the control; without an upper end."""
    server = compiled(rate, seed)
    tallies = [tally_server(server.plan, n * REPLICATIONS, REPLICATIONS) for n in range(runs)]
    total = tallies[0]
    for tally in tallies[1:]:
        total = total + tally
    truth = {name: e.values[ARM] for name, e in quantities(data_of(server, total)).items()}
    hits, control, open_ = dict.fromkeys(truth, 0), 0, 0
    for tally in tallies:
        data = data_of(server, tally)
        every = quantities(data)
        for name, one in every.items():
            hits[name] += one.low[ARM] <= truth[name] and not one.high[ARM] < truth[name]
        open_ += np.isnan(every["TTFT p99"].high[ARM])
        found = estimates_of(data, "ttft")
        control += abs(found.values[ARM] - truth["TTFT mean"]) <= as_independent(data)
    shares = {name: float(count / runs) for name, count in hits.items()}
    return shares, float(control / runs), float(open_ / runs)


def good_share(first: int, count: int, seed: int) -> "SimpleNamespace":
    """The share of good requests by load over some replications, simulated when asked for."""

    @cache
    def at(rate: float) -> tuple[float, float]:
        server = compiled(rate, seed)
        data = data_of(server, tally_server(server.plan, first, count))
        found = estimates_of(data, "good")
        return float(found.values[ARM]), float(found.half_width[ARM])

    return SimpleNamespace(at=at)


def capacity_coverage(runs: int, seed: int) -> float:
    """Share of runs whose interval of the capacity covers that of all replications."""
    truth = greatest_load(good_share(0, runs * REPLICATIONS, seed).at, TARGET, 8.0).load
    found = [
        greatest_load(good_share(n * REPLICATIONS, REPLICATIONS, seed).at, TARGET, 8.0)
        for n in range(runs)
    ]
    return sum(root.low <= truth <= root.high for root in found) / runs


def crossing_coverage(runs: int, seed: int) -> float:
    """Share of sweeps whose interval of the load where depths cross covers that of all."""
    servers = [compiled(load, seed, CROSSING) for load in LOADS]

    def crossing(first: int, count: int) -> LoadTurn | None:
        data = [data_of(s, tally_server(s.plan, first, count)) for s in servers]
        (group,) = served_by_load(data, [served_result(one) for one in data])
        return group.turns[0] if group.turns else None

    whole = crossing(0, runs * REPLICATIONS)
    assert whole is not None
    found = [crossing(n * REPLICATIONS, REPLICATIONS) for n in range(runs)]
    return float(np.mean([one is not None and _holds(one, whole.load) for one in found]))


def _holds(turn: LoadTurn, load: float) -> bool:
    low, high = turn.low or 0.0, turn.high or np.inf
    return low <= load <= high


def checks(smoke: bool) -> Iterator[Check]:
    """A check per load, of the capacity and of a crossing; the full run writes the page."""
    runs = 40 if smoke else 1000
    rows: dict[str, dict[str, float]] = {}
    for number, (load, rate) in enumerate(RATES.items()):
        found, control, open_ = coverage(rate, runs, 500 + number)
        rows[load] = found | {OPEN: open_}
        least = CONFIDENCE - coverage_slack(CONFIDENCE, runs, ALLOWANCE)
        low = [f"{name} {share:.3f}" for name, share in found.items() if share < least]
        result = "; ".join(low) or f"{len(found)} quantities, lowest {min(found.values()):.3f}"
        yield Check(f"{load} load", "95% intervals of a server cover", result, not low, 1e-3)
        if load == "heavy":
            text, named = f"covers {control:.3f}", "requests as if independent must not cover"
            yield Check("fault: independent", named, text, control < 0.8, 0.0, True)
    shares = []
    for name, of, fewer in (
        ("capacity", capacity_coverage, CAPACITY_RUNS),
        ("crossing", crossing_coverage, CROSSING_RUNS),
    ):
        fewer = 10 if smoke else fewer
        shares.append(share := of(fewer, 600))
        good = share > CONFIDENCE - coverage_slack(CONFIDENCE, fewer, ALLOWANCE)
        yield Check(name, f"95% intervals of the {name} cover", f"{share:.3f}", good, 1e-3)
    if not smoke:
        write(rows, *shares, runs)


def write(rows: dict[str, dict[str, float]], capacity: float, crossing: float, runs: int) -> None:
    """Write the page."""
    names = list(rows["light"])
    table = Table("load", *names)
    for load, found in rows.items():
        table.add(f"{load}, {RATES[load]:g} requests/s", *(f"{found[n]:.3f}" for n in names))
    text = f"""# Coverage of the intervals of a server

Share of {runs:,} runs of {REPLICATIONS} replications ({REQUESTS} requests each, after a warm-up of
100) whose {CONFIDENCE:.0%} interval covers the value of all runs together, at depth 2.
`python verification/run.py server_coverage` writes this page.

{table.markdown()}

Capacity at which {TARGET:.0%} of requests meet the goals: {capacity:.3f} of {CAPACITY_RUNS} runs.
Load at which depth 1 becomes faster than depth 2, in sweeps over {len(LOADS)} loads near it:
{crossing:.3f} of {CROSSING_RUNS} sweeps. Its interval ends at loads of the sweep, so it covers
more.
"""
    Path(__file__).with_name("server_coverage.md").write_text(text)
