"""The section of a server: what it refuses, and what its keys mean."""

import numpy as np
import pytest

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.config.hashing import content_hash, point_hash, work_hash
from mtpsim.config.length_tables import cut_means
from mtpsim.engine.server import workload
from mtpsim.engine.simulate import random_key
from mtpsim.kernels.jit import kernel
from mtpsim.kernels.noise import quantile
from mtpsim.kernels.server_requests import draw_lengths
from mtpsim.report.experiment_text import explain
from tests.support.examples import independent, latency, linear_costs, problem_of

HEAD = independent(0.8, 0.7) + linear_costs()
SERVING = """[serving]
arrivals = { rate = 20 }
prompt = 90
output = { mean = 20 }
max_requests = 8
"""
TEXT = HEAD + SERVING


def changed(old, new, text=TEXT):
    assert old in text
    return text.replace(old, new)


REFUSED = [
    (
        "arrivals = { rate = 20 }",
        "",
        "serving.arrivals: is missing: when requests arrive: { rate }",
    ),
    ("{ rate = 20 }", "{ }", "serving.arrivals: give one of rate (requests per second), closed"),
    ("{ rate = 20 }", "{ rate = 2, closed = 4 }", "give only one of rate, closed"),
    ("{ rate = 20 }", "{ closed = 2, cv = 1.0 }", "serving.arrivals.cv: belongs to `rate`"),
    ("{ rate = 20 }", "{ rate = 0 }", "serving.arrivals.rate: 0 is given; it must be above 0"),
    ("prompt = 90\n", "", "serving.prompt: is missing: tokens per request"),
    ("{ mean = 20 }", "0", "serving.output: 0 is given; it must be at least 1"),
    ("{ mean = 20 }", "1", "serving.output: 1 is given; a request needs at least 2 tokens"),
    ("{ mean = 20 }", "{ mean = 0.5 }", "serving.output.mean: 0.5 is given; it must be at least 1"),
    ("{ mean = 20 }", '{ mean = 2, cv = 1, distribution = "geometric" }', "has its mean only"),
    ("max_requests = 8", "max_requests = 8\nmax_tokens = 4", "needs a token per step"),
    ("max_requests = 8", "kv_tokens = 100", "a single request needs 110 (90 of its prompt and 20"),
    ("max_requests = 8", "catch_up = 1e13", "it must be at most 1e+12"),
    ("max_requests = 8", "goals = { }", "serving.goals: give ttft, tpot or e2e, in ms"),
    (
        "max_requests = 8",
        "goals = { ttft = 0 }",
        "serving.goals.ttft: 0 is given; it must be above",
    ),
    ("max_requests = 8", "replications = 12", "12 is given; it must be at least 30"),
    (
        "max_requests = 8",
        "replications = 40\nprecision = 0.1",
        "give only one of replications, prec",
    ),
    ("max_requests = 8", "depths = [0, 3]", "3 is given, but the acceptance model has depth 2"),
    ("max_requests = 8", "depths = [1, 1]", "[1, 1] is given; each depth once"),
    (
        "max_requests = 8",
        'policies = ["oracle"]',
        "a server chooses one depth for its batch, by off",
    ),
    (
        "max_requests = 8",
        'policies = [{ rule = "budget", per_request = true, stale = 2 }]',
        "a request that decides by itself has no shared budget: give `per_request` or `stale`",
    ),
    (
        "max_requests = 8",
        "auc = 0.7\nconfidence = { mean = 0, sd = 1 }",
        "give only one of auc, confidence",
    ),
    (
        "max_requests = 8",
        "confidence = { positions = [{ mean = 0, sd = 1 }] }",
        "serving.confidence: 1 positions are given, but the acceptance model has 2",
    ),
    (
        SERVING,
        '[adaptive]\npolicies = ["budget"]',
        "shares the drafts of a step between the requests of a server: list it in serving.policies",
    ),
    ("max_requests = 8", "policies = '[off]'", "must be a list in brackets; text in a list needs"),
    ("max_requests = 8", 'policies = ["off", "off"]', "2 policies have the label 'off'"),
    ("max_requests = 8", 'policies = [{ rule = "budget", name = "off" }]', "name 'off' is given"),
    ("max_requests = 8", 'policies = [{ rule = "ema", name = "depth 3" }]', "name 'depth 3' is"),
    ("max_requests = 8", 'precision_of = "goodput"', "'goodput' needs `goals`"),
    ("max_requests = 8", 'precision_of = "p99"', "unknown value 'p99'; allowed: throughput"),
    ("max_requests = 8", 'output = "recorded"', "Cannot overwrite a value"),
    ("{ mean = 20 }", '"recorded"', 'requires recorded text positions: model = "trace" with'),
    ("{ rate = 20 }", "{ burst = 20 }\nwarm_up = 3", "a burst has no warm-up: all is measured"),
    ("max_requests = 8", "[simulation]\nrequests = 99", "a server does not read it: see requests,"),
    ("max_requests = 8", '[adaptive]\npolicies = ["ema"]', "a server has its own policies"),
    ('model = "linear"\nbase = 5\nper_token = 0.05', "target = 5\nverify = 5", "give a cost model"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED)
def test_refused(old, new, message):
    assert message in problem_of(changed(old, new))


SHAPE, TRACED = "{ rate = 20 }\nprompt = 90\noutput = { mean = 20 }", '{ trace = "requests.csv" }'
TRACE = "arrival_s,prompt,output\n0.5,10,4\n0.75,20,1\n2,3,9\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TRACE.replace("2,3", "0.7,3"), "requests.csv:4: arrival_s goes back from 0.75 to 0.7;"),
        (TRACE.replace("20,1", "20,0"), "requests.csv:3: output is 0; it must be a whole number"),
        (TRACE.replace("20,1", "20,x"), "requests.csv:3: output is not a number"),
        (TRACE.replace("20,1", "2.5,1"), "requests.csv:3: prompt is 2.5; it must be a whole"),
        (TRACE.replace("prompt", "input"), "requests.csv has no column 'prompt'"),
        (TRACE.replace("arrival_s", "time"), "requests.csv has no column arrival_s or arrival_ms"),
        ("arrival_s,prompt,output\n", "requests.csv has no requests"),
    ],
)
def test_a_trace_is_refused_by_line(text, message, tmp_path):
    (tmp_path / "requests.csv").write_text(text)
    file = changed(SHAPE, TRACED)
    with pytest.raises(InputError) as found:
        mtpsim.parse(file, folder=tmp_path)
    assert message in str(found.value)


def test_a_trace_brings_its_arrivals_and_lengths(tmp_path):
    (tmp_path / "requests.csv").write_text(TRACE)
    file = changed(SHAPE, TRACED)
    experiment = mtpsim.parse(file, folder=tmp_path)
    load = workload(experiment.serving)
    assert load.arrival_ms.tolist() == [0, 250, 1500]
    assert load.pairs.tolist() == [[10, 4], [20, 1], [3, 9]]
    assert (experiment.serving.measured, experiment.serving.dropped) == (3, 0)
    before = content_hash(experiment), point_hash(experiment.points()[0])
    (tmp_path / "requests.csv").write_text(TRACE + "3,1,1\n")
    after = mtpsim.parse(file, folder=tmp_path)
    assert content_hash(after) != before[0]
    assert point_hash(after.points()[0]) != before[1]


@pytest.mark.parametrize("policies", ["", '"budget"', '"off", { rule = "fixed", depth = 0 }'])
def test_costs_of_a_change_are_described_or_have_no_effect(policies):
    text = TEXT + "switch_cost = 0.5\nresumed = 0.146\n"
    (warning,) = mtpsim.parse(f"{text}policies = [{policies}]\n").warnings()
    assert warning.endswith("nothing reads serving.switch_cost, serving.resumed")
    with_policy = mtpsim.parse(text + 'policies = ["goodput"]\n')
    assert not with_policy.warnings()
    assert "change of the depth: switch_cost 0.5, resumed 0.146" in explain(with_policy)


@pytest.mark.parametrize("key", ["auc = 0.7", "confidence = { own_rate = true }"])
def test_confidences_that_no_policy_reads(key):
    costs = independent(0.8, 0.7) + latency(target=76, verify=90, draft=8)
    for text, none, reader in (
        (TEXT, '"goodput"', '"budget"'),
        (costs + "[adaptive]\n", '"ema"', '"threshold"'),
    ):
        (warning,) = mtpsim.parse(f"{text}{key}\npolicies = [{none}]\n").warnings()
        assert warning.startswith("no policy reads the draft's confidence, so nothing reads ")
        assert not mtpsim.parse(f"{text}{key}\npolicies = [{reader}]\n").warnings()


@pytest.mark.parametrize(
    "given",
    [
        "serving.confidence={ own_rate = true }",
        'sweep."serving.confidence"=[{ own_rate = true }, { mean = 1.0, sd = 1.0 }]',
    ],
)
def test_override_by_a_law_of_the_confidence_removes_the_auc(given):
    text = TEXT + 'policies = ["budget"]\nauc = 0.7\n'
    for point in mtpsim.parse(text, overrides=[given]).points():
        serving = point.experiment.serving
        assert serving.auc is None
        assert serving.confidence is not None


@pytest.mark.parametrize("given", ['={ trace = "requests.csv" }', '.trace="requests.csv"'])
def test_override_by_a_trace_removes_the_lengths(given, tmp_path):
    (tmp_path / "requests.csv").write_text(TRACE)
    serving = mtpsim.parse(TEXT, folder=tmp_path, overrides=["serving.arrivals" + given]).serving
    assert (serving.prompt, serving.output, serving.arrivals.kind) == (None, None, "trace")
    both = ["serving.arrivals" + given, "serving.prompt=7"]
    with pytest.raises(InputError, match="the trace has the lengths"):
        mtpsim.parse(TEXT, folder=tmp_path, overrides=both)


@pytest.mark.parametrize(
    ("given", "mean", "cv"),
    [
        ("{ mean = 200, cv = 0.5 }", 200, 0.5),
        ('{ mean = 200, distribution = "gamma" }', 200, 1),
        ('{ mean = 20, distribution = "geometric" }', 20, np.sqrt(0.95)),
        ("150", 150, 0),
        ("{ mean = 150, cv = 0 }", 150, 0),
    ],
)
def test_lengths_have_their_mean_and_deviation(given, mean, cv):
    load = workload(mtpsim.parse(changed("{ mean = 20 }", given)).serving)
    words = np.random.default_rng(1).integers(-(2**31), 2**31, 40_000).astype(np.int32)
    found = np.empty(len(words))
    kernel(fill_quantiles)(load.kinds[1], load.output_values, words, found)
    tokens = np.floor(load.scale[1] * found + load.offset[1])
    error = cv * mean / np.sqrt(len(words))
    assert tokens.mean() == pytest.approx(mean, abs=4 * error + 0.01)
    assert tokens.std() == pytest.approx(cv * mean, rel=0.05, abs=1e-9)


def test_overrides_replace_excluded_keys():
    experiment = mtpsim.parse(
        TEXT + "precision = 0.1\n",
        overrides=["serving.arrivals.closed=4", "serving.replications=50"],
    )
    assert experiment.serving.arrivals.kind == "closed"
    assert experiment.planned == 50
    assert mtpsim.parse(TEXT).planned == 40
    assert mtpsim.parse(TEXT + "precision = 0.1\n").planned is None


def test_the_precision_does_not_change_the_blocks():
    one, other = mtpsim.parse(TEXT), mtpsim.parse(TEXT + "precision = 0.01\n")
    assert work_hash(one) == work_hash(other) != work_hash(mtpsim.parse(TEXT + "requests = 3\n"))
    assert content_hash(one) != content_hash(other)


def test_a_load_beyond_every_depth_and_a_goal_below_every_time_are_warned_of():
    def warnings(*overrides):
        return mtpsim.parse(TEXT, overrides=overrides).warnings()

    assert warnings() == []
    most = 1000 * 8 * 2.36 / (5 + 0.05 * 24 + 0.5) / 20  # accept length 1 + 0.8 + 0.56
    (load,) = warnings("serving.arrivals.rate=200")
    assert (
        f"a rate of 200 per second is more than any depth serves: at most {most:.3g} per second"
        in load
    )
    assert "(depth 2, 8 running requests)" in load
    (goal,) = warnings("serving.goals.tpot=2.3")
    assert "no depth meets the goal of 2.3 ms per token (serving.goals.tpot): a request" in goal
    assert f"takes {(5 + 0.15 + 0.5) / 2.36:.3g} ms (depth 2)" in goal


def test_limits_are_those_of_requests_as_cut():
    """Half of the requests need more KV cache than there is: the mean is of what is served."""
    overrides = ["serving.prompt={mean=800,cv=1}", "serving.output={mean=300,cv=1}"]
    found = mtpsim.parse(TEXT, overrides=[*overrides, "serving.kv_tokens=1200"])
    drawn = drawn_lengths(workload(found.serving))
    prompt = np.minimum(drawn[:, 0], 1199)
    output = np.minimum(drawn[:, 1], 1200 - prompt)
    error = 4 * np.std([prompt, output], axis=1) / np.sqrt(len(drawn))
    assert (np.abs(cut_means(found.serving) - np.mean([prompt, output], 1)) < error).all()
    assert np.mean(drawn[:, 1]) - np.mean(output) > 4 * error[1]  # uncut lengths differ
    assert cut_means(mtpsim.parse(TEXT, overrides=overrides).serving) == (800, 300)


def test_check_describes_the_server():
    text = explain(mtpsim.parse(TEXT + 'policies = ["off"]\ngoals = { tpot = 5 }\n'))
    for line in (
        "  20 requests/s (Poisson)",
        "  prompt: 90 tokens; output: 20 tokens (lognormal, cv 1)",
        "  at most 8 running requests, 8,192 tokens per step; KV cache: no limit",
        "  goals: tpot 5 ms",
        "  1 point, seed 1; 2,000 measured requests per replication after 400 of the warm-up",
        "  40 replications; 95 % intervals",
    ):
        assert line in text.splitlines()
    assert "closed form" not in text


def fill_quantiles(kind, values, words, out):
    for i in range(words.size):
        out[i] = quantile(kind, values, words[i])


def fill_lengths(key, load, out):
    for number in range(out.shape[0]):
        out[number] = draw_lengths(key, 0, number, load)


def drawn_lengths(load, count=4000):
    found = np.empty((count, 2), np.int64)
    kernel(fill_lengths)(np.uint64(random_key(1)), load, found)
    return found


def test_lengths_are_drawn_together(tmp_path):
    law = "{ mean = 500, cv = 1.0 }"
    file = changed("prompt = 90\noutput = { mean = 20 }", f"prompt = {law}\noutput = {law}")
    for given, expected in ((0.0, 0.0), (0.7, 0.7), (-0.5, -0.5)):
        load = workload(mtpsim.parse(file + f"correlation = {given}\n").serving)
        logs = np.log(drawn_lengths(load))
        assert np.corrcoef(logs.T)[0, 1] == pytest.approx(expected, abs=0.05)
    (tmp_path / "requests.csv").write_text("prompt,output\n10,1\n20,2\n30,3\n")
    file = changed("prompt = 90\noutput = { mean = 20 }", 'lengths = { samples = "requests.csv" }')
    found = drawn_lengths(workload(mtpsim.parse(file, folder=tmp_path).serving))
    assert (found[:, 0] == 10 * found[:, 1]).all()
    assert np.bincount(found[:, 1])[1:] / 4000 == pytest.approx(np.ones(3) / 3, abs=0.03)
