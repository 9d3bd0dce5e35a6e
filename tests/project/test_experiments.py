"""Every shipped experiment at reduced size, by the command line: results that its header states."""

import json
import re
from pathlib import Path

import pytest

import mtpsim
from mtpsim.exact.chain_solver import solve
from mtpsim.logs import read_logs
from mtpsim.report.exact_text import exact_answer


@pytest.fixture
def document(tmp_path, cli):
    """A function that runs an experiment with fewer requests and returns its document."""

    def run(name, requests=4000, settings=None):
        settings = settings or [f"simulation.requests={requests}"]
        path, fewer = f"experiments/{name}.toml", [f"--set={one}" for one in settings]
        assert cli("check", path, *fewer).code == 0
        assert cli("run", path, *fewer, "--out", tmp_path / "out", "--quiet").code == 0
        assert (tmp_path / "out/report.html").stat().st_size > 10_000
        return json.loads((tmp_path / "out/result.json").read_text())

    return run


@pytest.fixture
def run(document):
    """A function that runs an experiment and returns its points by what they set."""

    def points(name, requests=4000):
        return {tuple(p["set"].values()): p for p in document(name, requests)["points"]}

    return points


def at(point, quantity, depth):
    return point["depths"][depth][quantity]["mean"]


def verdicts(point):
    return [depth["theory_error"]["verdict"] for depth in point["depths"][1:]]


def p1(point):
    return [rates["mean"][0] for rates in point["diagnostics"]["rates_by_depth"]]


def check(point, *, depth=None, last=None, p1_ends=None, **quantities):
    """Advised depth, last verdict, first and last p1, quantities as (depth, value, slack)."""
    assert depth is None or point["advice"]["depth"] == depth
    assert last is None or verdicts(point)[-1] == last
    for found, (value, slack) in zip((p1(point)[0], p1(point)[-1]), p1_ends or (), strict=False):
        assert found == pytest.approx(value, abs=slack)
    for quantity, (at_depth, value, slack) in quantities.items():
        assert at(point, quantity, at_depth) == pytest.approx(value, abs=slack), quantity


def test_trees(document):
    found = document("trees", 2000)
    tree, chain, off = (entry["from"] for entry in found["shapes"]["ranges"])
    assert (tree, chain, off) == (1, 51, 150)
    points = {(p["set"]["draft"]["tree"], p["set"]["latency.batch"]): p for p in found["points"]}
    check(points["topk", 1], depth=2, speedup=(2, 1.316, 0.01))
    check(points["chain", 1], depth=1, speedup=(1, 1.163, 0.01))
    assert [points["topk", batch]["advice"]["depth"] for batch in (64, 256)] == [0, 0]


@pytest.fixture
def served(document):
    """A function that runs a server and returns its arms by point and name."""

    def arms(name, *settings):
        points = document(name, settings=["serving.replications=30", *settings])["points"]
        return {
            tuple(point["set"].values()): {arm["name"]: arm for arm in point["serving"]["arms"]}
            | {"best": point["serving"]["best"]}
            for point in points
        }

    return arms


def test_graphs(run):
    points = {key: point for (key,), point in run("graphs").items()}
    check(points[1], depth=8, speedup=(8, 3.572, 0.02))
    check(points[128], depth=5, speedup=(5, 1.659, 0.01))
    check(points[128], speedup=(8, 0.384, 0.005))
    check(points[256], depth=3, speedup=(3, 1.306, 0.01))
    assert points[512]["advice"]["depth"] == 0


def test_ngram(run):
    (point,) = run("ngram", 1000).values()
    check(point, depth=8, speedup=(8, 1.915, 0.02), accept_length=(8, 2.847, 0.05))
    always = mtpsim.load("experiments/ngram.toml", ["draft=none"])
    found = exact_answer(always).speedup
    assert (int(found.argmax()), found.max()) == (6, pytest.approx(1.58, abs=0.005))


def test_article(run):
    (point,) = run("article").values()
    check(point, depth=2)
    assert verdicts(point) == ["holds"] * 3
    assert "break-even p3 = 0.719" in point["advice"]["sentence"]


def test_noise(run):
    for point in run("noise").values():
        check(point, speedup=(2, 1.5406, 0.002))
        assert verdicts(point) == ["holds"] * 3


def test_heavy_tails(run):
    points = run("heavy_tails", requests=20_000)
    widths = {}
    for key, point in points.items():
        check(point, speedup=(2, 1.5406, 0.006))
        assert verdicts(point) == ["holds"] * 3
        widths[key] = point["depths"][2]["speedup"]["high"] - point["depths"][2]["speedup"]["low"]
    assert widths[0.0, 0.8] > 1.15 * widths[0.0, 0.0]


def test_regimes(run):
    points = run("regimes")
    by_round, by_token = points[("round",)], points[("token",)]
    check(by_token, last="fails", p1_ends=((0.8359, 0.003), (0.7568, 0.008)))  # published
    check(by_token, accept_length=(1, 1.84, 0.005), accept_length_error=(8, 0.10, 0.01))
    check(by_token, accept_length=(8, 4.40, 0.05))
    published = [0.7568, 0.6011, 0.4976, 0.4113, 0.3538, 0.2980, 0.2608, 0.2229]
    assert by_token["measured"]["survival"] == pytest.approx(published, abs=0.01)
    check(by_round, last="fails", accept_length_error=(8, -0.08, 0.01))
    assert max(p1(by_round)) - min(p1(by_round)) < 1e-12


def test_correlation_within_rounds(run):
    points = run("correlation_within_rounds")
    assert verdicts(points[(0.0,)]) == ["holds"] * 3
    check(points[(0.0,)], depth=2)
    for correlation, off in ((0.3, -0.034), (0.6, -0.069), (0.9, -0.112)):
        check(points[(correlation,)], depth=3, last="fails", theory_error=(3, off, 0.003))


def test_bounds(run):
    points = run("bounds")
    for coupling, depth, length, off in (
        ("countermonotone", 2, 2.55, 0.094),
        ("comonotone", 3, 3.21, -0.131),
    ):
        found = {"accept_length": (3, length, 0.01), "theory_error": (3, off, 0.003)}
        check(points[(coupling,)], depth=depth, last="fails", **found)


def test_contagion(run):
    points = run("contagion")
    short = points[(1,)]
    check(short, p1_ends=((0.925, 0.003), (0.723, 0.004)), theory_error=(4, 0.445, 0.01))
    assert short["diagnostics"]["autocorrelation"]["mean"][0] == pytest.approx(0.335, abs=0.01)
    for point in points.values():
        check(point, last="fails")
        assert point["diagnostics"]["too_narrow"]["low"] > 1.2


def test_carried_rates(run):
    points = run("carried_rates")
    published = {
        (0.8, 0.736): [1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58],
        (0.82, 0.969): [1.84, 2.50, 2.99, 3.33, 3.61, 3.78, 3.91, 4.06],
    }
    errors = {(0.8, 0.736): (0.692, 0.140, 0.0275), (0.82, 0.969): (0.150, 0.0838, 0.0439)}
    for curve in published:
        for measured_at, off in enumerate(errors[curve], 1):
            point = points[(*curve, measured_at)]
            check(point, last="fails", theory_error=(8, off, 0.008))
            assert verdicts(point)[:measured_at] == ["holds"] * measured_at
        lengths = [at(point, "accept_length", k) for k in range(1, 9)]
        assert lengths == pytest.approx(published[curve], abs=0.05)


def test_finite_requests(run):
    points = run("finite_requests", requests=60_000)
    for tokens, off, verdict in ((64, 0.0193, "fails"), (256, 0.0046, None), (2048, 6e-4, "holds")):
        check(points[(tokens,)], last=verdict, theory_error=(5, off, 0.0015))


def test_requests_differ(run):
    (point,) = run("requests_differ", requests=20_000).values()
    check(point, accept_length=(4, 2.967, 0.02), theory_error=(4, -0.353, 0.01))
    assert verdicts(point) == ["fails"] * 4
    assert point["diagnostics"]["lasting_share"]["low"] > 0.1


def test_tokens(run):
    (point,) = run("tokens").values()
    check(point, p1_ends=((0.743, 0.004), (0.620, 0.006)))
    assert point["measured"]["conditional"][-1] == pytest.approx(0.914, abs=0.006)
    everywhere = next(r for r in point["trial"]["rows"] if r["weighting"] == "every-position")
    assert everywhere["rates"]["mean"][0] == pytest.approx(0.79, abs=0.005)


def test_workload(run):
    (point,) = run("workload").values()
    rates = point["measured"]["conditional"]
    assert [rates[0], rates[-1]] == pytest.approx([0.62, 0.75], abs=0.01)
    check(point, depth=4, last="fails", theory_error=(5, 0.092, 0.02))


def test_from_log(run):
    (point,) = run("from_log", requests=6000).values()
    check(point, depth=2, theory_error=(1, -0.02, 0.004), p1_ends=((0.72, 0.005), (0.685, 0.005)))
    assert point["uncertainty"]["depth"] == 2
    assert point["uncertainty"]["depths"][2]["best"] > 0.99
    truth = solve(mtpsim.load("experiments/logs/truth.toml").acceptance.chain(), 1, tokens=300)
    assert truth.accept_length == pytest.approx(1.721, abs=0.001)
    length = point["depths"][1]["accept_length"]
    assert length["exact"] == pytest.approx(truth.accept_length, abs=0.004)
    assert length["theory"] == pytest.approx(1.685, abs=0.002)


def test_replay(run):
    (point,) = run("replay", requests=3000).values()
    log = read_logs([Path("experiments/logs/chat.jsonl.zst")])
    lengths = [depth["accept_length"]["exact"] for depth in point["depths"]]
    assert lengths[4] == pytest.approx(log.accept_length, rel=1e-12)
    assert lengths[4] == pytest.approx(2.6992, abs=1e-4)
    assert lengths[1] == pytest.approx(1.685, abs=1e-3)
    assert point["advice"]["depth"] == 2
    gains = {p["name"]: p["gain"]["mean"] for p in point["adaptive"]["policies"]}
    assert gains["heuristic"] == pytest.approx(1.006, abs=0.004)


def test_batch(document):
    short, long = document("batch", 4000)["by_batch"]
    assert [entry["depth"] for entry in short["schedule"]] == [2, 1, 0]
    assert short["schedule"][0]["to"] == pytest.approx(92, abs=3)
    assert short["turns"][0]["batch"] == pytest.approx(600.7, abs=6)
    assert (long["turns"], long["schedule"][0]["depth"]) == ([], 2)


def test_throughput(document):
    found = document("throughput", 4000)
    published = [4, 4, 4, 4, 3, 3, 3]  # fastest depth in the table
    assert [point["advice"]["depth"] for point in found["points"]] == published
    (group,) = found["by_batch"]
    assert [entry["depth"] for entry in group["schedule"]] == [4, 3]
    assert group["schedule"][0]["to"] == pytest.approx(11, abs=1)
    for point in found["points"]:
        assert max(depth["loss"]["mean"] for depth in point["depths"][3:]) < 0.1


def test_uncertain(run):
    (point,) = run("uncertain").values()
    found = point["uncertainty"]
    assert found["depth"] == 2
    assert found["depths"][2]["best"] == pytest.approx(2 / 3, abs=0.1)
    assert found["depths"][2]["regret"] == pytest.approx(0.007, abs=0.003)
    keys = [entry["key"] for entry in found["inputs"]]
    assert (keys[0], keys[-1]) == ("latency.verify", "latency.target")
    assert point["robust"]["depth"] == 2


def test_robust(run):
    (point,) = run("robust").values()
    found = point["robust"]
    assert (found["scenarios"], found["depth"]) == (27, 3)
    worst = [depth["regret"]["mean"] for depth in found["depths"]]
    assert worst[3] == pytest.approx(0.0997, abs=0.005)
    assert min(worst[:3] + worst[4:]) > 0.15
    assert found["depths"][3]["where"]["latency.batch"] == 192


def gains(point):
    return {p["name"]: 100 * (p["gain"]["mean"] - 1) for p in point["adaptive"]["policies"]}


def test_policies(run):
    (point,) = run("policies").values()
    gain = gains(point)
    assert point["adaptive"]["best_fixed"] == 3
    for name, expected in {
        "oracle": 15.5,
        "filter": 9.4,
        "heuristic": 5.8,
        "threshold": 2.6,
        "goodput": -6,
        "adaptive_k": -20,
        "adaptive_k, probes": 1.3,
        "bandit ucb": -2.7,
    }.items():
        assert gain[name] == pytest.approx(expected, abs=0.6), name
    harder = {p["name"]: p["learning"]["harder"] for p in point["adaptive"]["policies"]}
    assert harder["heuristic"]["half"] <= 2
    assert 15 <= harder["ema"]["half"] <= 30


def test_adapting(run):
    points = run("adapting", requests=300)
    oracle = {place: gains(point)["oracle"] for place, point in points.items()}
    for sd, gain in ((0.0, 0), (0.5, 8.8), (1.0, 15), (2.0, 17.5), (3.0, 17.5)):
        for length in (1, 4, 16):
            assert oracle[sd, length] == pytest.approx(gain, abs=1.5)
    own = ("heuristic", "ema", "goodput", "adaptive_k", "bandit ucb")
    best = {place: max(gains(p)[name] for name in own) for place, p in points.items()}
    assert all(best[0.0, length] < 0 for length in (1, 4, 16, 64, 256))
    for sd in (1.0, 2.0, 3.0):
        got = [best[sd, length] / oracle[sd, length] for length in (1, 4, 16, 256)]
        assert got[0] < 0.1 < got[1] < got[2] < got[3]
        assert got[3] > 0.7


def test_every_experiment_has_a_test():
    shipped = {path.stem for path in Path("experiments").glob("*.toml")}
    assert {f"test_{name}" for name in shipped} <= globals().keys()


def test_serving(served):
    points = served("serving", "serving.requests=200", "serving.capacity.share=0.95")
    assert {key: arms["best"] for key, arms in points.items()} == dict.fromkeys(points, "depth 3")
    middle = points[(12,)]
    assert middle["depth 3"]["speedup"]["mean"] == pytest.approx(1.92, abs=0.05)
    assert middle["off"]["good"]["mean"] == pytest.approx(0.65, abs=0.2)
    assert middle["depth 3"]["good"]["low"] > 0.99
    assert points[(18,)]["depth 3"]["good"]["mean"] < 0.98


def test_adaptive_verification(document):
    found = document("adaptive_verification", settings=["serving.requests=400"])
    points = {point["serving"]["load"]: point["serving"] for point in found["points"]}
    gains = {
        load: {gain["over"]: gain for gain in point["budgets"][0]["gains"]}
        for load, point in points.items()
    }
    for load, depth, gain in ((1, 7, -0.0065), (8, 5, 0.041), (64, 5, 0.060), (128, 3, -0.042)):
        assert points[load]["budgets"][0]["name"] == "adaptive"
        assert gains[load][f"depth {depth}"]["mean"] == pytest.approx(gain, abs=0.008)
        assert abs(gains[load]["early"]["mean"]) < 0.006
        assert abs(gains[load]["stale 0"]["mean"]) < 0.011
        assert -0.13 < gains[load]["oracle_budget"]["mean"] < -0.025
    (group,) = found["by_load"]
    assert group["budget_sentence"].startswith("Fixed depth 7 is within 1 % of adaptive up to 2")
    assert re.search(r"fixed depth 3 is .* or faster above", group["budget_sentence"])


def test_adaptive_verification_beyond_graphs(document):
    setting = ["serving.requests=400", "serving.arrivals.closed=128", "serving.max_tokens=2048"]
    (wide,) = document("adaptive_verification", settings=setting)["points"]
    gains = {gain["over"]: gain["mean"] for gain in wide["serving"]["budgets"][0]["gains"]}
    assert min(gains[name] for name in ("depth 2", "depth 3")) == pytest.approx(0.27, abs=0.06)


def test_serving_burst(served):
    (arms,) = served("serving_burst").values()
    gain = {name: arm["throughput_ratio"]["mean"] for name, arm in arms.items() if name != "best"}
    for name, ratio in (("depth 2", 1.21), ("depth 3", 1.15), ("2 then 1", 1.23)):
        assert gain[name] == pytest.approx(ratio, abs=0.03)
    assert gain["off above 300"] == pytest.approx(1.16, abs=0.03)
    assert arms["best"] == "2 then 1"
    late = [arms[name]["ttft"]["p95"]["mean"] for name in ("depth 3", "off")]
    assert late == pytest.approx([25_400, 20_600], rel=0.03)


def test_serving_context(served):
    points = served("serving_context", "serving.requests=200")
    for prompt, best, ratio, speedup in ((500, 3, 1.40, 1.36), (16_000, 4, 1.24, 3.0)):
        arms = points[(prompt,)]
        assert arms["best"] == f"depth {best}"
        assert arms[f"depth {best}"]["throughput_ratio"]["mean"] == pytest.approx(ratio, abs=0.03)
        assert arms["depth 4"]["speedup"]["mean"] == pytest.approx(speedup, rel=0.05)


def test_serving_chunks(served):
    points = {key: arms for (key,), arms in served("serving_chunks").items()}
    p99 = {most: {name: arm["tpot"]["p99"]["mean"] for name, arm in arms.items() if name != "best"}
           for most, arms in points.items()}  # fmt: skip
    assert p99[1024]["depth 5"] == pytest.approx(5.2, abs=0.3)
    assert p99[1024]["off"] == pytest.approx(10.9, abs=0.8)
    first = [points[most]["depth 5"]["ttft"]["p99"]["mean"] for most in (512, 1024)]
    assert first[0] > 1.7 * first[1]
    assert all(time > 30 for time in p99[2048].values())
