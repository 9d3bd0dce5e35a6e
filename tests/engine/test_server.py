"""A server against exact answers: queueing theory, conservation, and the simulation of requests."""

import numpy as np
import pytest

from mtpsim import parse
from mtpsim.engine.server import compile_server, simulate_replication, timelines_of
from mtpsim.engine.simulate import compile_point, simulate_requests
from mtpsim.kernels.noise import round_factors
from mtpsim.kernels.philox import VERIFY, words_at
from mtpsim.kernels.server_layout import BINS, METRICS

REGIME = 'model = "regime"\nclock = "{clock}"\nrates = [[0.9, 0.8], [0.4, 0.3]]\nsojourn = [9, 9]\n'
PLAIN = 'model = "linear"\nbase = 5\nper_token = 0\ndraft = 0\n'  # 5 ms whatever the step does
LINEAR = 'model = "linear"\nbase = 5\nper_token = 0.05\ndraft = { base = 0.2, per_token = 0.5 }\n'
LIMITS = 4.0  # standard errors


def experiment(serving, acceptance='model = "independent"\nrates = [0.8, 0.7]\n', latency=PLAIN):
    return parse(f"[acceptance]\n{acceptance}[latency]\n{latency}[serving]\n{serving}\n")


def simulated(file, replications=1):
    """Totals ``[replications, arms]`` by column."""
    plan = compile_server(file).plan
    rows = np.zeros((replications, plan.layout.columns))
    for number, row in enumerate(rows):
        histograms = np.zeros((len(plan.arms), len(METRICS), BINS), np.int64)
        simulate_replication(plan, number, row, histograms)
    return lambda column: rows[:, plan.layout.of(column)]


def close(samples, expected):
    """Whether the mean of ``[n, ...]`` samples is within a few standard errors of its value."""
    error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    return (np.abs(samples.mean(0) - expected) <= LIMITS * error + 1e-9 * np.abs(expected)).all()


def test_persistent_noise_goes_from_step_to_step():
    noise = 'noise = { distribution = "lognormal", cv = 0.5 }\npersistence = 0.8\n'
    file = experiment("arrivals = { burst = 1 }\nprompt = 1\noutput = 301", latency=PLAIN + noise)
    plan = compile_server(file).plan
    words, factors = np.zeros((304, 1), np.int32), np.zeros((3, 304, 1))
    for tick in range(0, 304, 8):
        words_at(np.uint64(plan.key), np.uint64(2**32 - 1), tick, VERIFY, words[tick : tick + 8])
    round_factors(plan.noise, words, words, factors)
    steps = np.diff(timelines_of(plan)[0].time_ms)
    assert steps.size == 300
    assert steps / 5 == pytest.approx(factors[1, :300, 0])
    assert np.corrcoef(np.log(steps[1:]), np.log(steps[:-1]))[0, 1] > 0.6


DRAIN = (
    "arrivals = { burst = 60 }\nprompt = { mean = 30 }\noutput = { mean = 40 }\n"
    "max_requests = 12\nmax_tokens = 64\nkv_tokens = 500\n"
)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_drains_conserve_tokens_work_and_sojourn(clock):
    found = simulated(experiment(DRAIN, REGIME.format(clock=clock), LINEAR), 3)
    assert (found("preemptions") > 0).all()
    assert (found("tokens") == found("output_tokens")).all()
    work = found("prefill_tokens") + found("request_steps") + found("accepted")
    least = found("prompt_tokens") + found("output_tokens") - found("requests")
    assert (work == least + found("recomputed_tokens")).all()
    in_system = found("running_ms") + found("waiting_ms")  # Little's law
    assert found("e2e_ms") == pytest.approx(in_system, rel=1e-9)


def test_littles_law_in_a_window():
    serving = (
        "arrivals = { rate = 4 }\nprompt = { mean = 300 }\noutput = { mean = 100 }\n"
        "max_requests = 16\nmax_tokens = 256\nrequests = 600\n"
    )
    found = simulated(experiment(serving, latency=LINEAR), 30)
    in_system = (found("running_ms") + found("waiting_ms")) / found("window_ms")
    by_rate = found("e2e_ms") / found("window_ms")
    assert close(in_system - by_rate, 0.0)
    assert in_system.mean() > 1.5
    assert not close(in_system - 1.02 * by_rate, 0.0)


def test_arms_serve_the_same_requests():
    serving = (
        "arrivals = { rate = 9 }\nprompt = { mean = 90 }\noutput = { mean = 50 }\nrequests = 99"
    )
    found = simulated(experiment(serving, latency=LINEAR), 2)
    for column in ("requests", "prompt_tokens", "output_tokens", "half_requests", "window_ms"):
        assert (found(column) == found(column)[:, :1]).all()
    assert (np.diff(found("e2e_ms")) < 0).all()  # with less time at each depth


def test_off_beside_depth_0_is_one_arm():
    serving = "arrivals = { burst = 9 }\nprompt = 9\noutput = 9\npolicies = ['off']\n"
    for depths, names in (("[0, 1]", ["off", "depth 1"]), ("[1]", ["depth 1", "off"])):
        plan = compile_server(experiment(f"{serving}depths = {depths}")).plan
        assert [one.arm.name for one in plan.arms] == names


def test_off_does_not_depend_on_the_acceptance_model():
    serving = (
        "arrivals = { closed = 9 }\nprompt = { mean = 9 }\noutput = { mean = 9 }\nrequests = 99"
    )
    models = (
        REGIME.format(clock="token"),
        'model = "beta"\nmean = 0.6\ndepth = 2\nconcentration = 3\n',
    )
    rows = [simulated(experiment(serving, model, LINEAR)) for model in models]
    for column in ("tokens", "window_ms", "ttft_ms", "e2e_p99", "steps"):
        assert (rows[0](column)[:, 0] == rows[1](column)[:, 0]).all()
    assert (rows[0]("e2e_ms")[:, 2] != rows[1]("e2e_ms")[:, 2]).all()


@pytest.mark.parametrize("clock", ["round", "token"])
def test_requests_play_the_rounds_of_the_simulation_of_requests(clock):
    """Number n of the first replication is request n: it has the same words."""
    text, burst = REGIME.format(clock=clock), 25
    served = simulated(
        experiment(f"arrivals = {{ burst = {burst} }}\nprompt = 7\noutput = 61", text, LINEAR)
    )
    plan = compile_point(
        parse(f"[acceptance]\n{text}[latency]\n{LINEAR}[simulation]\ntokens = 60\n")
    ).plan
    rows = simulate_requests(plan, 0, burst)
    assert (served("rounds")[0] == rows[:, plan.layout.rounds].sum(0)).all()


def test_a_low_rate_is_a_batch_of_one():
    serving = "arrivals = { rate = 0.01 }\nprompt = 7\noutput = 61\nrequests = 25\nwarm_up = 0"
    text = REGIME.format(clock="token")
    served = simulated(experiment(serving, text))
    plan = compile_point(
        parse(f"[acceptance]\n{text}[latency]\n{PLAIN}[simulation]\ntokens = 60\n")
    ).plan
    rows = simulate_requests(plan, 0, 25)
    time = rows[:, plan.layout.time_ms].sum(0)
    assert served("e2e_ms")[0] - served("ttft_ms")[0] == pytest.approx(time, rel=1e-9)
    assert served("ttft_ms")[0] == pytest.approx(25 * 5.0)
    assert served("running_ms")[0] == pytest.approx(served("e2e_ms")[0])


def test_a_closed_loop_of_long_requests_is_the_simulation_of_a_batch():
    text = REGIME.format(clock="round")
    serving = "arrivals = { closed = 8 }\nprompt = 1\noutput = 20000\nrequests = 16\nwarm_up = 16"
    served = simulated(experiment(serving, text, LINEAR), 4)
    file = parse(
        f"[acceptance]\n{text}[latency]\nbatch = 8\n{LINEAR}[simulation]\nrounds = 20000\n"
    )
    plan = compile_point(file).plan
    rows = simulate_requests(plan, 10**6, 128)
    pace = rows[:, plan.layout.tokens].sum(0) / rows[:, plan.layout.time_ms].sum(0)
    throughput = served("tokens").sum(0) / served("window_ms").sum(0)
    assert throughput == pytest.approx(8 * pace, rel=4e-3)
    assert throughput != pytest.approx(7.9 * pace, rel=4e-3)


def test_one_slot_with_poisson_arrivals_is_an_mg1_queue():
    """The Pollaczek-Khinchine formula, with service times of the simulation of requests."""
    rate = 9.0
    serving = (
        f"arrivals = {{ rate = {rate} }}\nprompt = 7\noutput = 31\nmax_requests = 1\n"
        "requests = 2500\nwarm_up = 500\ndepths = [0, 2]"
    )
    text = 'model = "beta"\nmean = 0.6\ndepth = 2\nconcentration = 1\n'
    found = simulated(experiment(serving, text), 40)
    waits = found("ttft_ms") / found("requests") - 5.0  # of which the prefill takes a step
    plan = compile_point(
        parse(f"[acceptance]\n{text}[latency]\n{PLAIN}[simulation]\ntokens = 30\n")
    ).plan
    service = 5.0 + simulate_requests(plan, 10**6, 40_000)[:, plan.layout.time_ms][:, [0, 2]]
    load = rate / 1000 * service.mean(0)
    expected = rate / 1000 * (service**2).mean(0) / (2 * (1 - load))
    assert load[0] > 0.99  # off is not stable: its waits are far from any mean
    assert close(waits[:, 1], expected[1])
    assert not close(waits[:, 1], 1.1 * expected[1])
    busy = found("step_ms")[:, 1] / found("window_ms")[:, 1]
    assert close(busy, load[1])


def test_a_burst_of_geometric_outputs_is_a_pure_death_process():
    """Every request ends in each step with the same probability."""
    mean, burst = 20, 30
    serving = (
        f"arrivals = {{ burst = {burst} }}\nprompt = 1\n"
        f'output = {{ mean = {mean}, distribution = "geometric" }}\ndepths = [0]'
    )
    found = simulated(experiment(serving), 400)
    steps = np.arange(2000)
    longest = (1 - (1 - (1 - 1 / mean) ** steps) ** burst).sum()
    assert close(found("steps"), longest)
    assert close(found("window_ms"), 5 * longest)
    assert close(found("running_ms"), 5 * burst * mean)
    assert not close(found("steps"), 1.05 * longest)
