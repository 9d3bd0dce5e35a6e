"""Inputs found by verification/fuzz.py that once raised a traceback."""

import json

import pytest

from mtpsim.cli.main import main
from mtpsim.common.errors import InputError
from mtpsim.logs import Answers, read_logs
from tests.support.examples import acceptance, beta, section, simulation
from verification.fuzz import TINY

TIMINGS = '{"timings": {"predicted_n": %s, "draft_n": 12, "draft_n_accepted": 4}}'
AIPERF = (
    '{"metrics": {}, "spec_decode_acceptance": {"num_accepted_draft_tokens": 45, '
    '"num_draft_tokens": 60, "num_spec_steps": 15, "num_spec_tokens": 4, "completion_tokens": %s}}'
)
CHUNK = '{"inter_chunk_latency": {"value": [20.5, %s], "unit": "ms"}}'
CHUNKS = AIPERF.replace("{}", CHUNK).replace('": %s}}', '": 60}}')
SUMMARY = (
    '{"id": "a", "usage": {"completion_tokens": 60}, "metrics": {"speculative_decoding": '
    '{"acceptance_histogram_by_draft_length": {"%s": [14, 11, 1, 4, 1]}, "num_spec_steps": 31, '
    '"mean_acceptance_length": 1.9355, "num_accepted_draft_tokens": 29, "num_draft_tokens": 124}}}'
)
PLAIN = SUMMARY.replace("_by_draft_length", "")
SCRAPE = """\
vllm:spec_decode_num_drafts_total{engine="0"} 129.0
vllm:spec_decode_num_draft_tokens_total{engine="0"} 258.0
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 99.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="0"} 99.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",position="1"} %s
"""
LOGS = [
    (TIMINGS % 2**64, None, "implausible count"),
    (TIMINGS % ("1" + "0" * 400), None, "implausible count of 400 digits"),
    (TIMINGS.replace("12", str(10**12)) % 60, None, "at most 64 per round are possible"),
    (AIPERF % 10**30, None, "implausible count"),
    (AIPERF % 60.5, None, "'completion_tokens' is 60.5; it must be a whole number"),
    (SCRAPE % "1e999", None, "'accepted_tokens_per_pos' is inf; it must be a whole number"),
    (SCRAPE % "0.5", None, "'accepted_tokens_per_pos' is 0.5"),
    (SUMMARY % ("9" * 5000), "vllm-requests", "must be an object with lengths as keys"),
    (PLAIN % ("9" * 5000), "vllm-requests", "keys must be 0, 1, 2"),
    (CHUNKS % 1e300, None, "a time of 1e+300 ms is implausible"),
    ("a line of text\n", "csv", "log:1: column 'request' is missing"),
    ("", "csv", "log:1: column 'request' is missing"),
    ("request,accepted\na," + "1" * 200_000, "csv", "log:2: is not a CSV line: field"),
]


@pytest.mark.parametrize(("text", "form", "message"), LOGS, ids=range(len(LOGS)))
def test_malformed_log(text, form, message, tmp_path):
    path = tmp_path / "log"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_logs([path], Answers(depth=3), format=form)
    assert message in str(caught.value)


def test_metric_of_unknown_unit_is_ignored(tmp_path):
    path = tmp_path / "log"
    path.write_text(AIPERF.replace("{}", '{"request_latency": {"value": 5, "unit": {}}}', 1) % 60)
    assert read_logs([path], Answers(depth=4)).accepted.tolist() == [45]


def test_a_number_of_thousands_of_digits(tmp_path, capsys):
    path = tmp_path / "e.toml"
    path.write_text(TINY.replace("100", "1" * 5000))
    assert main(["check", str(path)]) == 2
    assert "e.toml: not valid TOML: Exceeds the limit (4300 digits)" in capsys.readouterr().err
    path.write_text(TINY)
    for value in ("1" * 5000, "[" * 5000):
        assert main(["check", str(path), "--set", "latency.target=" + value]) == 2
        assert "latency.target" in capsys.readouterr().err


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run and its experiment."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "e.toml").write_text(TINY)
    assert main(["run", str(folder / "e.toml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder, json.loads((folder / "run/result.json").read_text())


CHANGES = [
    lambda point: point["depths"][1].__setitem__("speedup", "fast"),
    lambda point: point["depths"][1]["speedup"].__setitem__("mean", float("nan")),
    lambda point: point.__setitem__("depths", {}),
    lambda point: point["advice"].__setitem__("depth", 10**9),
    lambda point: point["advice"].__setitem__("depth", "two"),
    lambda point: point["trial"]["rows"][0]["depths"].clear(),
]


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
def test_damaged_result(change, done, capsys):
    folder, document = done
    document = json.loads(json.dumps(document))
    change(document["points"][0])
    (folder / "run/result.json").write_text(json.dumps(document))
    run, file = str(folder / "run"), str(folder / "e.toml")
    commands = (["show", run], ["run", file, "--out", run], ["export", run, "--to", "sglang"])
    errors = []
    for command in commands:
        assert main(command) in (0, 2)  # 0: it does not use what is damaged
        errors.append(capsys.readouterr().err)
    assert any("result.json" in text for text in errors)
    assert "Traceback" not in "".join(errors)


def test_titles_in_letters_that_fonts_lack(tmp_path, capsys, caplog):
    path = tmp_path / "e.toml"
    title = "\\u007f 难易段落中的自适应深度 \\U0010FFFD"
    path.write_text(f'title = "{title}"\n' + TINY, encoding="utf-8")
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "Glyph" not in capsys.readouterr().err
    assert not caplog.records  # no message of the font either


def test_distribution_whose_variance_rounds_to_zero(tmp_path, capsys):
    path = tmp_path / "e.toml"
    near_one = beta(0.999999999999, 1e5, 2, slowdown=1.5)
    path.write_text(near_one + TINY[TINY.index("[latency]") :])
    assert main(["check", str(path)]) == 0  # warnings are errors here


def test_error_of_more_than_a_thousand_percent(tmp_path, cli):
    path, draft = tmp_path / "e.toml", {"base": 0, "per_token": 16.5}
    text = acceptance("decay", first=0.98, factor=0.35, depth=35)
    text += section("latency", model="roofline", floor=0.0, per_token=1.3, draft=draft)
    path.write_text(text + simulation(rounds=20, requests=64))
    done = cli("run", path, "--out", tmp_path / "out")
    assert done.code == 0
    assert "+1,0" in done.out


def run_of(text, folder, capsys):
    """Exit code and messages of a run."""
    (folder / "e.toml").write_text(text)
    code = main(["run", str(folder / "e.toml"), "--out", str(folder / "out"), "--quiet"])
    return code, capsys.readouterr().err


EDGES = {  # warnings are errors in these runs
    "a mean time below 0 by control variates": """\
simulation = { seed = 1838737596, rounds = 3, requests = 5, control_variates = true }
[latency]
model = "roofline"
floor = 7
per_token = 0
draft = 185
noise = { distribution = "pareto", alpha = 1.01 }
[acceptance]
model = "tokens"
depth = 2
target = [[0.1, 0.9], [0.6, 0.4]]
draft = [[0.5, 0.5], [0.2, 0.8]]
""",
    "a ratio of survival rates that rounds to more than 1": """\
acceptance = { model = "beta", level = "round", concentration = 0.5, mean = [1e-6, 1e-6, 0.999999] }
latency = { target = 95, verify = 18, draft = 30 }
simulation = { rounds = 20, requests = 64 }
""",
    "survival rates below the smallest number": """\
acceptance = { model = "beta", level = "round", concentration = 1e4, mean = 1e-12, depth = 40 }
latency = { target = 95, verify = 18, draft = 30 }
simulation = { rounds = 20, requests = 64 }
""",
    "requests that take no time": """\
acceptance = { model = "independent", rates = [0.8, 0.7] }
latency = { target = 76, verify = 90, draft = 8, noise = { distribution = "gamma", cv = 80 } }
simulation = { rounds = 20, requests = 100 }
""",
    "a closed form that is off by more than 1,000 %": """\
acceptance = { model = "decay", first = 0.99, factor = 0.05, depth = 32 }
latency = { target = 76, verify = 90, draft = 8 }
simulation = { rounds = 20, requests = 100 }
""",
}


@pytest.mark.parametrize("name", EDGES)
def test_extreme_experiments_have_results(name, tmp_path, capsys, no_pictures):
    assert run_of(EDGES[name], tmp_path, capsys) == (0, "")
    assert "NaN" not in (tmp_path / "out/result.json").read_text()


NOISES = [
    ("lognormal", "cv = 1e200", "latency.noise.cv: 1e+200 is given; it must be at most 1e+06"),
    ("lognormal", "cv = 1e5", "the distribution can't be tabulated"),
    ("gamma", "cv = 80", "3 simulated rounds of depth 0 take 0 ms per request, and 76 ms"),
    ("pareto", "cv = 1e-200", "latency.noise.cv: 1e-200 is given; it must be at least 1e-09"),
    ("spike", "probability = 0.5, factor = 1e200", "it must be at most 1e+06"),
    ("scipy", 'name = "gamma", parameters = { a = 1e-300 }', "can't be tabulated"),
    ("scipy", 'name = "studentized_range", parameters = { k = 3, df = 10 }', "s to tabulate; at"),
]


@pytest.mark.parametrize(("distribution", "keys", "message"), NOISES)
def test_noise_that_can_not_be_simulated_is_refused(
    distribution, keys, message, tmp_path, capsys, no_pictures
):
    code, errors = run_of(
        'acceptance = { model = "independent", rates = [0.8, 0.7] }\n'
        "simulation = { rounds = 1, requests = 3 }\n"
        "latency = { target = 76, verify = 90, draft = 8, noise = "
        f'{{ distribution = "{distribution}", {keys} }} }}\n',
        tmp_path,
        capsys,
    )
    assert code == 2
    assert message in errors


def test_times_of_less_than_a_nanosecond_are_refused(tmp_path, capsys):
    path = tmp_path / "log"
    path.write_text(
        '{"accepted": [1, 0, 2], "depth": 2, "seconds": [1e-322, 1e-322, 1e-322]}\n' * 40
    )
    assert main(["fit", str(path), "--quiet"]) == 2
    assert "log:1: a time of 9.88131e-320 ms is implausible" in capsys.readouterr().err
    path.write_text("batch,depth,verify\n" + "1,1,1e-322\n" * 5)
    assert main(["fit", str(path), "--quiet"]) == 2
    assert "log:2: times of 9.88131e-323 ms are implausible" in capsys.readouterr().err


@pytest.mark.parametrize(("begin", "end"), [('{"a":', "}"), ("[", "]")])
def test_deeply_nested_documents(begin, end, tmp_path):
    path = tmp_path / "log"
    for depth in (960, 975, 990, 100_000):  # around the limit of Python's parser
        path.write_text(begin * depth + "1" + end * depth)
        with pytest.raises(InputError):
            read_logs([path], Answers(depth=3))
