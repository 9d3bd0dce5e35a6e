"""Made-up data of a server: a queue whose latencies follow from the load and the depth."""

from types import SimpleNamespace

import numpy as np

from mtpsim.engine.server_data import Arm, ServerData, ServerLayout, Timeline
from mtpsim.kernels.server_layout import METRICS, SHARES, bin_edges
from mtpsim.stats.estimators import Tally
from mtpsim.stats.pooled_quantiles import cluster_counts

ARMS = (Arm("off", 0), Arm("depth 1", 1), Arm("depth 3", 3), Arm("ema", None, "ema"))
STEP_MS = np.array([10.0, 12.0, 15.0, 14.0])  # by arm, with one request
PER_REQUEST = np.array([0.05, 0.12, 0.4, 0.2])  # ms more with each running request
ACCEPT = np.array([1.0, 1.7, 2.6, 2.3])
OUTPUT, PROMPT = 200, 300
GOALS = {"ttft": 60.0, "tpot": 10.0}


class Experiment:
    """What the results read of an experiment."""

    tree = None

    def __init__(self, rate, goals, capacity):
        self._serving = {"arrivals": {"rate": rate}, "goals": goals, "kv_tokens": 100_000}
        self._serving["capacity"] = capacity
        self.simulation = SimpleNamespace(confidence=0.95)
        self.decision = SimpleNamespace(indifference=0.0)

    def model_dump(self, mode):
        return {"serving": self._serving}

    def warnings(self):
        return []


def one_arm(random, layout, arm, rate, requests):
    """Totals of a replication, and the counts of its times."""
    running = 2.0
    for _ in range(30):  # Little's law
        tpot = (STEP_MS[arm] + PER_REQUEST[arm] * running) / ACCEPT[arm]
        running = rate * OUTPUT * tpot / 1000
    step = STEP_MS[arm] + PER_REQUEST[arm] * running
    noise = random.lognormal(0, 0.02)
    times = {
        "ttft": step * noise * random.lognormal(0.3, 0.5, requests),
        "tpot": tpot * noise * random.lognormal(0, 0.1, requests),
        "itl": step * noise * random.lognormal(0, 0.05, 4 * requests),
    }
    tokens = random.geometric(1 / OUTPUT, requests)
    times["e2e"] = times["ttft"] + times["tpot"] * tokens
    window = requests / rate * 1000
    steps, request_steps = window / step, tokens.sum() / ACCEPT[arm]
    good = (times["ttft"] <= GOALS["ttft"]) & (times["tpot"] <= GOALS["tpot"])
    half = slice(0, requests // 2)
    row = dict.fromkeys(("clipped", "preemptions", "first_waiting", "last_waiting"), 0.0)
    row |= {"requests": requests, "good": good.sum(), "tokens": tokens.sum(), "window_ms": window}
    row |= {f"{name}_ms": values.sum() for name, values in times.items()}
    row |= {"tpot_requests": requests, "itl_bursts": 4 * requests, "output_tokens": tokens.sum()}
    row |= {"itl_tokens": 4 * requests * ACCEPT[arm], "steps": steps, "step_ms": steps * step}
    row |= {"request_steps": request_steps, "rounds": request_steps}
    row |= {"drafted": request_steps * (ARMS[arm].depth or 3) * (arm > 0)}
    row |= {"accepted": request_steps * (ACCEPT[arm] - 1), "waiting_ms": 0.01 * window}
    row |= {"running_ms": running * window, "kv_ms": running * window * (PROMPT + OUTPUT)}
    row |= {"half_requests": requests // 2, "half_e2e_ms": times["e2e"][half].sum()}
    total = np.zeros(layout.columns // layout.arms)
    for name, value in row.items():
        total[layout.index(name)] = value
    for place, name in enumerate(METRICS):
        first = layout.index("ttft_p50") + len(SHARES) * place
        total[first : first + len(SHARES)] = np.quantile(times[name], SHARES)
    return total, [times[name] for name in METRICS]


def server_data(rate=4.0, *, goals=GOALS, capacity=None, replications=20, requests=400, swept=True):
    """A point of a server at a load."""
    layout, random = ServerLayout(len(ARMS)), np.random.default_rng(round(1000 * rate))
    rows, counts = [], 0
    for _ in range(replications):
        seed = random.integers(1 << 40)
        found = [
            one_arm(np.random.default_rng(seed), layout, arm, rate, requests)
            for arm in range(len(ARMS))
        ]
        rows.append(np.concatenate([row for row, _ in found]))
        counts = counts + cluster_counts(
            np.array([[np.histogram(t, bin_edges())[0] for t in times] for _, times in found])
        )
    tally = Tally.of(np.array(rows))
    tally = Tally(tally.count, tally.mean, tally.comoment, counts)
    time = np.arange(0.0, 20_000.0, 50.0)
    lines = tuple(
        Timeline(
            time, 5 + n + np.sin(time / 900), 0 * time, 900.0 * (5 + n) + 0 * time, 0 * time + n
        )
        for n in range(len(ARMS))
    )
    point = SimpleNamespace(
        set={"serving.arrivals.rate": rate} if swept else {},
        experiment=Experiment(rate, goals, capacity),
    )
    return ServerData(
        point=point,
        arms=ARMS,
        layout=layout,
        tally=tally,
        timelines=lines,
        precision_reached=None,
        interrupted=False,
    )
