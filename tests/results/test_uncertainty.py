"""Uncertain inputs and declared scenarios, against posteriors drawn and solved independently."""

import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance.independent import Independent
from mtpsim.common.errors import InputError
from mtpsim.config.uncertainty import InputUncertainty, Uncertainty, draw_inputs
from mtpsim.engine.options import ExecutorChoice
from mtpsim.formula import closed_form
from mtpsim.report.experiment_text import explain
from mtpsim.report.figures.uncertainty import uncertainty_figure
from mtpsim.report.serialization import from_json
from mtpsim.report.tables.diagnostics import policy_request_sentence, request_sentence
from mtpsim.report.tables.policies import reading
from mtpsim.report.tables.result import depth_table
from mtpsim.report.tables.uncertainty import robust_sentence, uncertain_sentence, worth_sentence
from tests.support.examples import (
    HEAD,
    KNOWN,
    SETS,
    THREE_DEEP,
    TWO_DEEP,
    independent,
    noise,
    problem_of,
    regime,
    section,
)

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

VERIFY, DRAFT = np.array([90, 104, 117.0]), np.array([8, 14, 22.0])


@pytest.fixture(scope="module")
def point():
    return mtpsim.run(mtpsim.parse(HEAD + KNOWN + SETS)).points[0]


def closed(rates, target=76.0, verify=VERIFY, draft=DRAFT):
    return closed_form.speedup(np.asarray(rates), target, np.append(target, verify + draft))


U = (np.arange(20_000)[:, None] + 0.5) / 20_000


def test_input_distributions_have_stated_moments_and_quantiles():
    def law(key, value, **given):
        return InputUncertainty(**given).quantiles_for(key, np.array([value]), U, confidence=0.9)[
            :, 0
        ]

    counted = law("acceptance.rates", 0.8, tried=100.0, design_effect=4.0)
    assert counted.mean() == pytest.approx((0.8 * 25 + 0.5) / 26, abs=1e-4)
    for key, value, se in (("latency.target", 76.0, 3.0), ("acceptance.rates", 0.8, 0.05)):
        drawn = law(key, value, se=se)
        assert (drawn.mean(), drawn.std()) == pytest.approx((value, se), rel=2e-3)
        assert drawn.min() > 0
    for key, low, value, high in (
        ("latency.target", 60.0, 76.0, 90.0),
        ("acceptance.correlation", 0.1, 0.3, 0.6),
    ):
        drawn = law(key, value, low=low, high=high)
        assert np.quantile(drawn, [0.05, 0.95]) == pytest.approx([low, high], rel=1e-3)


def reference(draws=40_000):
    """The same posterior, drawn plainly and put into the closed form."""
    rng = np.random.default_rng(3)
    tried, rates = np.array([150, 120, 89]), np.array([0.80, 0.74, 0.67])
    p = rng.beta(rates * tried + 0.5, (1 - rates) * tried + 0.5, (draws, 3))
    shape = (np.array([76, *VERIFY]) / np.array([3, 2, 2, 3])) ** 2
    times = rng.gamma(shape, np.array([76, *VERIFY]) / shape, (draws, 4))
    return np.array([closed(r, t[0], t[1:]) for r, t in zip(p, times, strict=True)])


def test_probabilities_and_regrets_match_the_posterior(point):
    found, truth = point["uncertainty"], reference()
    best = (truth >= truth.max(1, keepdims=True)).mean(0)
    regret = 1 - truth / truth.max(1, keepdims=True)
    for k, entry in enumerate(found["depths"]):
        error = np.sqrt(best[k] * (1 - best[k]) / 400)
        assert abs(entry["best"] - best[k]) < 4 * error + 1e-9
        assert abs(entry["regret"] - regret[:, k].mean()) < 4 * regret[:, k].std() / 20 + 1e-9
        if k:
            spread = truth[:, k].std()
            assert abs(entry["speedup"]["mean"] - truth[:, k].mean()) < 4 * spread / 20
            width = entry["speedup"]["high"] - entry["speedup"]["low"]
            assert width == pytest.approx(3.92 * spread, rel=0.2)
            assert entry["simulation"] < 0.1 * width  # the draws tell, not the noise of simulation
    assert found["depth"] == int(np.argmin(regret.mean(0)))
    perfect = (truth.max(1).mean() - truth.mean(0).max()) / truth.mean(0).max()
    assert found["perfect"] == pytest.approx(perfect, rel=0.35)


def test_advice_states_the_interval_including_input_uncertainty(point):
    """The first number that is read must not look surer than its inputs are."""
    depth = point["advice"]["depth"]
    gain = point["uncertainty"]["depths"][depth]["speedup"]
    expected = f"{gain['mean']:.2f}x [{gain['low']:.2f}, {gain['high']:.2f}] including input"
    assert point["advice"]["sentence"].startswith(f"Run depth {depth}: {expected} uncertainty (")
    own = point["depths"][depth]["speedup"]
    assert gain["high"] - gain["low"] > 10 * (own["high"] - own["low"])
    sure = mtpsim.run(mtpsim.parse(HEAD)).points[0]["advice"]["sentence"]
    assert "inputs" not in sure


def test_a_report_does_not_contradict_itself(point):
    """Depth 3 is harmful for these very inputs, and the best in a third of the draws."""
    advice, over = point["advice"], point["uncertainty"]["depths"]
    assert point["depths"][3]["marginal"]["high"] < 1
    assert 0.2 < over[3]["best"] < 0.5
    assert advice["verdicts"] == ["essential", "optional", "undecided"]
    assert advice["candidates"] == [2, 3]
    assert advice["depth"] == point["uncertainty"]["depth"]
    for depth, entry in zip(point["depths"], over, strict=True):
        assert depth["loss"]["best"] == entry["best"]
        assert depth["loss"]["regret"] == entry["regret"]
    ends = [(over[k]["gain"]["low"] - 1, over[k]["gain"]["high"] - 1) for k in (1, 2, 3)]
    assert [(s["low"], s["high"]) for s in advice["steps"]] == [pytest.approx(e) for e in ends]
    near = reference()
    near = (near[:, 2] * 1.01 >= near.max(1)).mean()
    assert advice["confidence"] == pytest.approx(near, abs=4 * np.sqrt(near * (1 - near) / 400))
    (sure,) = mtpsim.run(mtpsim.parse(HEAD)).points  # the negative control
    assert (sure["advice"]["verdicts"][2], sure["advice"]["candidates"]) == ("harmful", [2])


def test_gains_of_policies_include_input_uncertainty():
    """Depth 3 as a policy, and an oracle that knows the inputs: both follow from the posterior."""
    policy = '[adaptive]\npolicies = [{ rule = "fixed", depth = 3 }]\n'
    short = HEAD.replace("2000", "200\nrounds = 20")
    (plain,), (point,) = (
        mtpsim.run(mtpsim.parse(text + policy)).data.points for text in (short, short + KNOWN)
    )
    truth = reference()
    expected = truth[:, 3] / truth[:, 2], truth.max(1) / truth[:, 2]
    found = point.adaptive
    assert (found.best_fixed, found.draws, plain.adaptive.draws) == (2, 400, None)
    for policy, gains in zip(found.policies, expected, strict=True):
        low, high = np.quantile(gains, [0.0125, 0.9875])  # two policies
        assert (policy.gain.low, policy.gain.high) == pytest.approx((low, high), abs=0.01)
        assert policy.captured is None
    over = found.policies[0].over_inputs
    assert over.high - over.low == pytest.approx(3.92 * truth[:, 3].std(), rel=0.2)
    assert (found.policies[0].gain.verdict, plain.adaptive.policies[0].gain.verdict) == (
        "open",
        "slower",
    )
    assert found.policies[1].gain.low > 0.99  # but for the simulation: never slower
    assert "include input uncertainty (400 draws)" in reading(found)
    fixed = found.policies[0], plain.adaptive.policies[0]
    assert ["inputs as given" in policy_request_sentence(one) for one in fixed] == [True, False]


def test_the_table_shows_the_digits_of_the_wider_error(point):
    result = from_json({"points": [point]})
    cells = depth_table(result.points[0], ("speedup", "gain", "step")).rows[3].cells
    over = point["uncertainty"]["depths"][3]["speedup"]
    assert cells[1] == f"1.52 ±{(over['high'] - over['low']) / 2:.2f}"
    assert cells[3] == "-1 %, undecided"
    times = request_sentence(result.points[0])
    assert "inputs as given: p50 23.6 s, p95" in times
    assert "[" not in times


def test_too_few_requests_give_no_probability_over_inputs_either():
    few = mtpsim.run(mtpsim.parse(HEAD.replace("2000", "9") + KNOWN)).data.points[0]
    assert (few.uncertainty, few.advice.candidates) == (None, [])


def test_nearly_certain_inputs_are_no_surer_than_the_simulation():
    known = (
        HEAD.replace("2000", "60")
        + """
[uncertainty]
draws = 20
[uncertainty.inputs]
"latency.target" = { se = 0.001 }
"""
    )
    (point,) = mtpsim.run(mtpsim.parse(known)).data.points
    for own, over in zip(point.depths[1:], point.uncertainty.depths[1:], strict=True):
        width = own.speedup.high - own.speedup.low
        assert over.speedup.high - over.speedup.low == pytest.approx(width, rel=0.1)


def test_target_time_changes_speedup_but_not_the_choice(point):
    inputs = {entry["key"]: entry for entry in point["uncertainty"]["inputs"]}
    target, verify = inputs["latency.target"], inputs["latency.verify"]
    assert target["speedup"]["high"] - target["speedup"]["low"] > 0.1
    assert target["worth"] < 1e-9
    assert verify["worth"] > 1e-3
    assert point["uncertainty"]["perfect"] >= max(entry["worth"] for entry in inputs.values())
    ends = closed([0.8, 0.74, 0.67], 76 + 1.96 * 3)[point["uncertainty"]["depth"]]
    assert target["speedup"]["high"] == pytest.approx(ends, rel=0.01)


def test_no_input_is_worth_more_than_all_together():
    section = """
[uncertainty]
draws = 30
[uncertainty.inputs]
"acceptance.rates" = { tried = [1, 1, 1] }
"latency.verify" = { se = [200, 200, 200] }
"""
    few = HEAD.replace("2000", "100\nrounds = 20")
    (point,) = mtpsim.run(mtpsim.parse(few + section)).points
    found = point["uncertainty"]
    assert 0 < max(entry["worth"] for entry in found["inputs"]) <= found["perfect"]


def test_minimax_regret_matches_the_closed_form(point):
    scenarios = np.array(
        [
            closed(np.array([0.80, 0.74, 0.67]) + move, draft=np.array(draft, float))
            for move in (-0.05, 0, 0.05)
            for draft in ([6, 11, 17], [10, 18, 28])
        ]
    )
    regret = 1 - scenarios / scenarios.max(1, keepdims=True)
    found = point["robust"]
    assert found["scenarios"] == 6
    assert found["depth"] == int(np.argmin(regret.max(0)))
    for k, entry in enumerate(found["depths"]):
        assert entry["regret"]["mean"] == pytest.approx(regret[:, k].max(), abs=0.004)
        assert entry["regret"]["high"] >= entry["regret"]["mean"]
        assert entry["least_speedup"] == pytest.approx(scenarios[:, k].min(), abs=0.006)
    assert found["depths"][3]["where"]["latency.draft"] == [10, 18, 28]


def test_draws_do_not_depend_on_workers_or_other_inputs(point):
    again = mtpsim.run(
        mtpsim.parse(HEAD + KNOWN + SETS), executor=ExecutorChoice("processes", 2)
    ).points[0]
    assert again["uncertainty"] == point["uncertainty"]
    assert again["robust"] == point["robust"]
    more = mtpsim.parse(
        HEAD + KNOWN + '"latency.draft" = { low = [7, 12, 20], high = [9, 16, 24] }'
    )
    means = {e["key"]: e["mean"] for e in mtpsim.run(more).points[0]["uncertainty"]["inputs"]}
    for entry in point["uncertainty"]["inputs"]:
        assert means[entry["key"]] == entry["mean"]


def test_sentences_and_figure(point):
    result = from_json({"points": [point]})
    (typed,) = result.points
    assert uncertain_sentence(typed, typed.uncertainty).startswith("Including input uncertainty")
    assert "one alone: verify" in worth_sentence(typed.uncertainty)
    typed.uncertainty.perfect = 0.0
    for entry in typed.uncertainty.inputs:
        entry.worth = 0.0
    worth = worth_sentence(typed.uncertainty)
    draws = typed.uncertainty.draws
    assert worth.startswith(f"No other depth is faster in any of the {draws} draws.")
    assert "are taken as exact" in worth
    typed.uncertainty.depths[typed.uncertainty.depth].regret = 0.0
    assert "regret, less than 0.01 % (" in uncertain_sentence(typed, typed.uncertainty)
    assert "Over 6 scenarios, depth" in robust_sentence(typed.robust)
    assert "lowest expected regret" in uncertainty_figure(result).texts[0].get_text()


@pytest.mark.parametrize("depths", [None, [1, 2, 4]])
def test_drawn_accept_lengths_are_those_of_some_rates(depths):
    lengths, se = [1.8, 2.35, 2.78], 0.05
    section = {"model": "independent", "accept_length": lengths}
    raw = {"acceptance": section | ({"measured_at": depths} if depths else {})}
    inputs = {"acceptance.accept_length": InputUncertainty(se=se)}
    one = {"seed": 1, "confidence": 0.95}
    drawn = draw_inputs(raw, Uncertainty(inputs=inputs), **one)["acceptance.accept_length"]
    for row in drawn.tolist():
        Independent(**{**raw["acceptance"], "accept_length": row})
    assert np.allclose(drawn.mean(0), lengths, atol=0.03)


def test_invalid_draws_are_reported():
    times = THREE_DEEP + noise(0.1) + "persistence = 0.9\n"
    too_uncertain = HEAD.replace(THREE_DEEP, times)
    too_uncertain += '[uncertainty.inputs]\n"latency.persistence" = { se = 0.3 }'
    with pytest.raises(InputError, match=r"uncertainty.inputs: a draw .* is invalid"):
        mtpsim.run(mtpsim.parse(too_uncertain))


def test_no_sections_without_uncertainty_or_robust():
    (plain,) = mtpsim.run(mtpsim.parse(HEAD)).points
    assert plain["uncertainty"] is None
    assert plain["robust"] is None


TARGET, VERIFY_KEY, RATES = "latency.target", "latency.verify", "acceptance.rates"
SHALLOW = section(
    "robust", **{"acceptance.rates": [[0.8]], "latency.verify": [90], "latency.draft": [8]}
)


@pytest.mark.parametrize(
    ("key", "law", "message"),
    [
        (TARGET, "tried = 10", "for acceptance rates"),
        ("latency.taget", "se = 1", "did you mean 'target'"),
        (VERIFY_KEY, "se = [1, 2]", "2 numbers are given for 3"),
        (TARGET, "se = 0", "must be above 0"),
        (TARGET, "se = 1, low = 1, high = 2", "give one of"),
        (TARGET, "low = 3", "give one of"),
        (TARGET, "low = 80, high = 90", "is outside"),
        (TARGET, "low = 90, high = 70", "must be below"),
        (RATES, "se = 0.9", "`se`: 0.9 is given; for 0.8 it must be at least 8e-07 and below 0.4"),
        (RATES, "se = [0.1, 0.1, 1e-9]", "1e-09 is given; for"),
        (TARGET, "se = 1e-9", "it must be at least 7.6e-05"),
        (RATES, "tried = 0", "tried: 0 is given; it must be at least 1"),
        (RATES, "tried = 1e300", "it must be at most 1e+12"),
        (RATES, "tried = 9.5", "9.5 is given; it must be a wh"),
        (RATES, "tried = [9, 9, -1]", "tried[2]: -1 is given; it must be at least 1"),
        (
            TARGET,
            "se = 761",
            "`se`: 761 is given; for 76 it must be at least 7.6e-05 and at",
        ),
        (TARGET, "low = 1e-9, high = 1e300", "[1e+300] is given; it must be at most 1e+06 times"),
        ("acceptance.model", "se = 1", "numbers and lists of numbers"),
        (TARGET, "sd = 1", "unknown key"),
        ("simulation.seed", "se = 1", "not a key of acceptance"),
    ],
)
def test_invalid_uncertain_inputs_are_reported(key, law, message):
    assert message in problem_of(HEAD + f'[uncertainty.inputs]\n"{key}" = {{ {law} }}')


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("[uncertainty]\ndraws = 3\n[uncertainty.inputs]", "at least 20"),
        ('[robust]\n"latency.target" = [70, -1]', "must be at least 0"),
        ('[robust]\n"latency.taget" = [70]', "did you mean 'target'"),
        ('[robust]\n"latency.target" = 3', "must be a list"),
        (
            '[adaptive]\npolicies = ["ema"]\n[robust]\n"adaptive.resumed" = [0, 0.2]',
            "robust: adaptive.resumed can't vary; scenarios vary keys of acceptance, ",
        ),
        (SHALLOW, "all scenarios must have depth 3"),
        ('[robust]\n"acceptance.model" = { plus_minus = 1 }', "numbers and lists of numbers"),
    ],
)
def test_invalid_sections_are_reported(section, message):
    assert message in problem_of(HEAD + section)


@pytest.mark.parametrize("known", ["se = 0.1", "low = 0.5, high = 1.0"])
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_rates_of_0_and_1_need_counts(known, end):
    """A law with a standard error would leave the rates that there are."""
    head = independent(end, 0.7) + TWO_DEEP + "[simulation]\nrequests = 2000\n"
    section = '[uncertainty.inputs]\n"acceptance.rates" = {{ {} }}'
    with pytest.raises(InputError, match="a rate of 0 or 1 can only be given with `trials`"):
        mtpsim.parse(head + section.format(known))
    mtpsim.parse(head + section.format("tried = 100"))


@pytest.mark.parametrize("given", ["inf", "-1", "[2, 2, -1]", "[2, 2, inf]"])
def test_one_error_per_wrong_value(given):
    with pytest.raises(InputError) as error:
        mtpsim.parse(HEAD + f'[uncertainty.inputs]\n"latency.verify" = {{ se = {given} }}')
    (problem,) = error.value.problems
    assert problem.key == "uncertainty.inputs.latency.verify.se" + "[2]" * given.startswith("[")


SAMPLED = f"""\
{regime([0.9, 0.8], [0.5, 0.4], sojourn=[8, 5])}
{TWO_DEEP}
[simulation]
requests = 300
rounds = 20
[uncertainty]
draws = 40
samples = "s.csv"
"""
HEADER = (
    "acceptance.rates[0][0],acceptance.rates[0][1],acceptance.rates[1][0],acceptance.rates[1][1]"
)


def samples(count=40):
    """Easy and hard rates that move together."""
    shift = np.linspace(-0.05, 0.05, count)[:, None]
    return np.array([0.9, 0.8, 0.5, 0.4]) + shift


def parsed(folder, rows=None, header=HEADER, text=SAMPLED):
    table = samples() if rows is None else rows
    lines = [",".join(f"{value:.6f}" for value in row) for row in table]
    (folder / "s.csv").write_text("\n".join([header, *lines]) + "\n")
    return mtpsim.parse(text, folder=folder)


def test_draws_are_rows_of_the_file(tmp_path):
    (point,) = mtpsim.run(parsed(tmp_path)).points
    found = point["uncertainty"]
    (entry,) = found["inputs"]
    assert entry["key"] == "acceptance.rates"
    assert entry["mean"] == pytest.approx([0.9, 0.8, 0.5, 0.4])
    assert entry["sd"] == pytest.approx([samples()[:, 0].std(ddof=1)] * 4, rel=1e-4)
    deepest = found["depths"][2]["speedup"]
    assert deepest["high"] / deepest["low"] > 1.08  # all four rates rise and fall as one
    assert entry["speedup"]["low"] < deepest["mean"] < entry["speedup"]["high"]


def test_check_names_sampled_inputs(tmp_path):
    assert "uncertain inputs: acceptance.rates; 40 draws" in explain(parsed(tmp_path))


def test_invalid_samples_are_reported(tmp_path):
    short = HEADER.rsplit(",", 1)[0]
    for header, rows, message in (
        (HEADER, samples(30), "40 draws are required, but `samples` has 30 rows"),
        (
            short,
            samples()[:, :3],
            "`samples` has 3 columns of acceptance.rates, the file has 4 numbers",
        ),
        (HEADER.replace("rates[0][0]", "rate"), samples(), "acceptance.rate is not in the file"),
        (HEADER.replace("acceptance", "simulation"), samples(), "not a key of acceptance"),
        (HEADER, np.full((40, 4), np.nan), "rows of finite numbers"),
    ):
        with pytest.raises(InputError) as caught:
            parsed(tmp_path, rows, header)
        assert message in str(caught.value)
    (tmp_path / "s.csv").write_text("a,b\nx,y\n")
    for text, message in (
        (SAMPLED, "every cell below the header must be a number"),
        (SAMPLED.replace("s.csv", "t.csv"), "can't read"),
        (SAMPLED.replace('samples = "s.csv"', ""), "give `inputs`, `samples` or both"),
    ):
        with pytest.raises(InputError) as caught:
            mtpsim.parse(text, folder=tmp_path)
        assert message in str(caught.value)
    both = SAMPLED + '[uncertainty.inputs]\n"acceptance.rates" = { se = 0.1 }\n'
    with pytest.raises(InputError, match="is in both"):
        parsed(tmp_path, text=both)
