"""The command `fit`: logs of every engine make experiments that run."""

import io
import json
import os
import re
import signal
import subprocess

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.cli.sample import sample_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.model import fit_log
from mtpsim.logs import read_logs
from mtpsim.report.experiment_text import rates_are_note
from tests.support.children import python
from tests.support.engine_logs import written
from tests.support.examples import THREE_DEEP, noise, regime

RATES = regime([0.9, 0.85, 0.8], [0.5, 0.4, 0.3], sojourn=[8, 5])
EXPERIMENT = RATES + THREE_DEEP + noise(0.2, "gamma") + "[simulation]\ntokens = 100\n"


@pytest.fixture(scope="module")
def requests():
    return list(sample_requests(mtpsim.parse(EXPERIMENT), [3], 120))


# Formats with the same rounds as "rounds", for which all candidates are fitted.
ONE_CANDIDATE = ("vllm-requests", "csv", "trtllm-requests", "aiperf-requests", "llamacpp-log")
# Units, granularities and times of all formats; tests/logs reads each of them.
FORMS = (
    *("vllm-requests", "vllm-log", "vllm-log-old", "vllm-metrics", "vllm-bench", "vllm-console"),
    *("sglang-requests", "sglang-log", "sglang-sweep", "trtllm-requests", "trtllm-stats"),
    *("aiperf-requests", "llamacpp-timings", "llamacpp-log", "llamacpp-log-current"),
    *("rounds", "csv", "rates", "one-number"),
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_fit_with_words(number, tmp_path):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with python(
        "-m", "mtpsim", "fit", "-", env={**os.environ, "TMPDIR": str(tmp_path)}, **pipes
    ) as fit:
        fit.stdin.write("x\n" * 500_000)  # more than a pipe holds: the command reads it
        fit.stdin.flush()
        fit.send_signal(number)
        assert fit.wait(60) == 130
        assert fit.stderr.read().startswith("interrupted: the fit is not complete")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_fitted_experiment_of_every_format_loads(form, requests, tmp_path, capsys):
    path, out = written(tmp_path, form, requests), tmp_path / "fitted.toml"
    fast = ["--candidates", "independent"] if form in ONE_CANDIDATE else []
    fast += ["--no-replay"] * (form != "csv")  # tests/cli/test_fit_replay.py plays
    command = ["fit", str(path), "-o", str(out), "--target", "76", *fast]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "fitted.json").read_text())
    experiment = mtpsim.load(out, ["simulation.precision=0.05", "uncertainty.draws=20"])
    assert experiment.uncertainty is not None
    length = report["accept_length"]["mean"]
    truth = 1 + sum(r.hits for r in requests) / sum(r.rounds for r in requests)
    assert length == pytest.approx(truth, rel=0.01)
    exact = solve(experiment.acceptance.chain(), 3).accept_length
    assert exact == pytest.approx(truth, rel=0.06)
    if report["times"]["by_depth"]:
        assert report["times"]["by_depth"]["3"] == pytest.approx(139, rel=0.02)
        assert experiment.latency.times(3)[0][-1] == pytest.approx(139, rel=0.02)


def test_fitted_experiment_has_input_uncertainty(requests, tmp_path, capsys):
    path, out = written(tmp_path, "rounds", requests), tmp_path / "fitted.toml"
    options = ["--target", "76", "--candidates", "independent,regime2-round", "--no-replay"]
    assert main(["fit", str(path), "-o", str(out), *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Selected: regime2-round (simplest model within 2 SE" in shown
    assert "length: expected in requests of" in shown  # it is not the log's accept length
    assert "Noise: gamma (cv" in shown
    for picture in ("fitted.png", "fitted.times.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    settings = ["simulation.requests=400", "uncertainty.draws=20"]
    (point,) = mtpsim.run(mtpsim.load(out, settings)).points
    inputs = {entry["key"]: entry for entry in point["uncertainty"]["inputs"]}
    assert set(inputs) == {"acceptance.rates", "acceptance.sojourn"}
    assert len(inputs["acceptance.rates"]["sd"]) == 6
    assert min(inputs["acceptance.rates"]["sd"]) > 0.002
    deepest = point["uncertainty"]["depths"][3]["speedup"]
    assert deepest["low"] < deepest["mean"] < deepest["high"]


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(("target", "slower"), [(1000, True), (76, False)])
def test_target_slower_than_the_log_is_said_first(target, slower, quiet, requests, tmp_path, cli):
    path, out = written(tmp_path, "rounds", requests), tmp_path / "fitted.toml"
    options = ["--no-replay", *["--quiet"] * quiet]
    done = cli("fit", path, "-o", out, "--target", target, "--candidates", "independent", *options)
    text = f"--target {target} ms is slower than a round of the log, "
    assert out.read_text().startswith(f"# {text}") == slower
    assert done.shown.startswith(f"warning: {text}") == (slower and not quiet)
    assert (text in "".join(json.loads(out.with_suffix(".json").read_text())["warnings"])) == slower


@pytest.mark.parametrize("quiet", [False, True])
def test_missing_times_are_a_comment_of_the_experiment(quiet, requests, tmp_path, cli):
    path, out = written(tmp_path, "sglang-requests", requests), tmp_path / "fitted.toml"
    assert cli("fit", path, "-o", out, *["--quiet"] * quiet).code == 0
    assert "# No step times given: 1 ms is used for every round" in out.read_text()
    assert "drafting costs no time" in cli("plan", out, "--delta", "0.3").shown


@pytest.mark.parametrize("piped", [False, True])
def test_experiment_on_stdout_needs_no_other_file(piped, requests, tmp_path, capsys, monkeypatch):
    path = written(tmp_path, "sglang-requests", requests)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert main(["fit", "-" if piped else str(path), "--quiet"]) == 0
    text = capsys.readouterr().out
    experiment = mtpsim.parse(text)
    assert experiment.title == f"Fitted to {'standard input' if piped else path.name}"
    assert experiment.latency.times(3)[0].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert "No step times given: 1 ms is used for every round" in text
    assert "round correlation cannot be estimated" in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("accepted", ["[3, 3]", "[0, 0]"])
def test_logs_with_all_or_no_drafts_accepted(accepted, tmp_path, capsys):
    path, out = tmp_path / "log", tmp_path / "fitted.toml"
    path.write_text(f'{{"accepted": {accepted}, "drafted": [3, 3]}}\n' * 40)
    assert main(["fit", str(path), "-o", str(out), "--candidates", "geometric"]) == 0
    never = re.findall(r"^ *\d +- +\[0.0000, 1.0000\] +0$", capsys.readouterr().out, re.MULTILINE)
    assert len(never) == (2 if accepted == "[0, 0]" else 0)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_result_is_no_log(indent, tmp_path, cli):
    path, points = tmp_path / "result.json", [{"confidence": 0.95, "accepted": 2}]
    path.write_text(
        json.dumps({"mtpsim": "1.0", "experiment": {}, "points": points}, indent=indent)
    )
    found = cli("fit", path)
    assert found.code == 2
    assert "result.json: is a result.json or the report of a fit that mtpsim wrote" in found.err
    assert "give the log of an engine" in found.err


@pytest.mark.parametrize(
    ("lines", "measured"),
    [(['{"rounds": 100, "drafted": 300, "accepted": 180}'], True),
     (['{"rounds": 100, "drafted": 100, "accepted": 60}'], False),
     (['{"rates": [0.8, 0.6, 0.4], "rates_are": "survival", "rounds": 1000}'], False)],
)  # fmt: skip
def test_one_rate_of_totals_is_named_as_such(lines, measured, tmp_path, cli):
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines) + "\n")
    shown = " ".join(cli("fit", path).err.split())
    assert ("one rate was measured" in shown) is measured


def test_kept_samples_are_left_out_of_stdout(tmp_path, capsys):
    path = tmp_path / "log"
    path.write_text('{"accepted": [1, 0], "drafted": [2, 2], "seconds": [0.1, 0.2]}\n' * 6)
    options = ["--keep-samples", "--quiet", "--target", "50", "--candidates", "independent"]
    assert main(["fit", str(path), *options]) == 0
    assert mtpsim.parse(capsys.readouterr().out).latency.noise is None


def test_logs_with_step_times_or_with_like(requests, tmp_path, capsys):
    steps = tmp_path / "steps.csv"
    steps.write_text(
        "batch,depth,verify\n"
        + "".join(f"{b},{k},{6 + 0.1 * b * (k + 1)}\n" for b in (1, 8, 64) for k in range(4))
    )
    path, out = written(tmp_path, "trtllm-requests", requests), tmp_path / "fitted.toml"
    before = set(tmp_path.iterdir())
    fast = ["--candidates", "independent", "--no-replay"]
    assert main(["fit", str(path), str(steps), "-o", str(out), *fast]) == 0
    (wrote,) = re.findall("^wrote (.*)$", capsys.readouterr().err, re.M)
    assert set(wrote.split(", ")) == {str(new) for new in set(tmp_path.iterdir()) - before}
    experiment = mtpsim.load(out)
    assert experiment.latency.times(3)[0] == pytest.approx([6.1, 6.2, 6.3, 6.4], abs=1e-3)
    assert (tmp_path / "fitted.steps.png").exists()
    like = tmp_path / "like.toml"
    like.write_text(EXPERIMENT)
    assert main(["fit", str(path), "--like", str(like), "-o", str(out), *fast]) == 0
    experiment = mtpsim.load(out)
    assert sum(experiment.latency.times(3)).tolist() == [76, 98, 118, 139]
    assert experiment.simulation.tokens == 100
    capsys.readouterr()


def test_limitations_of_totals_are_noted(requests, tmp_path, capsys):
    path, out = written(tmp_path, "vllm-bench", requests), tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), "--design-effect", "4"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "too narrow by a factor of 1.4 to 26" in shown
    known = mtpsim.load(out).uncertainty.inputs["acceptance.rates"]
    assert known.design_effect == 4
    assert known.trials[0] == sum(r.rounds for r in requests)


def test_totals_by_request_have_clustered_intervals(requests, tmp_path, capsys):
    path, out = written(tmp_path, "llamacpp-timings", requests), tmp_path / "fitted.toml"
    assert main(["fit", str(path), "-o", str(out), "--depth", "3", "--quiet"]) == 0
    known = json.loads((tmp_path / "fitted.json").read_text())["rates"]
    assert mtpsim.load(out).acceptance.model == "beta"  # regimes that differ between requests
    hits, rounds = (np.array([getattr(r, n) for r in requests]) for n in ("hits", "rounds"))
    off = hits - hits.sum() / rounds.sum() * rounds
    error = np.sqrt((off**2).sum() * 120 / 119) / rounds.sum()  # of A / N, by hand
    low, high = (sum(np.cumprod([rate] * 3)) for rate in (known["low"][0], known["high"][0]))
    assert high - low == pytest.approx(2 * 1.98 * error, rel=0.03)
    few = written(tmp_path, "rounds", requests[:3])
    assert main(["fit", str(few)]) == 0
    assert "3 requests are too few" in " ".join(capsys.readouterr().err.split()).lower()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candidates", "regime"], "unknown candidate 'regime' for this log; allowed: geometric"),
        (["--candidates", "regime2"], "did you mean 'regime2-"),
        (["--holdout", "1"], "it must be a share from 0 to 0.9"),
        (["--design-effect", "0.5"], "at least 1"),
        (["--target", "0"], "above 0 ms"),
        (["--target", "9", "--like", "experiments/article.toml"], "9 is given, but so are the"),
        (["--depth", "0"], "a whole number from 1 to 64"),
        (["--rounds", "-5"], "a whole number from 1"),
        (["--format", "vllm"], "unknown format 'vllm'"),
        (["--out", "/nowhere/fitted.toml"], "can't be written"),
        (["--like", "/nowhere/like.toml"], "No such file"),
        (["--experts", "8"], "give both"),
    ],
)
def test_wrong_options(options, message, requests, tmp_path, capsys):
    path = written(tmp_path, "rounds", requests[:20])
    fast = [] if "--candidates" in options else ["--candidates", "geometric"]
    assert main(["fit", str(path), *fast, *options]) == 2
    assert message in capsys.readouterr().err


def test_bic_selects_if_there_are_few_requests(requests, tmp_path, capsys):
    path = written(tmp_path, "rounds", requests[:12])
    fast = ["--candidates", "geometric,independent", "--no-replay"]
    assert main(["fit", str(path), *fast]) == 0
    assert "least BIC; too few requests" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("count", [3, 20])  # rates by position alone, and a selected model
def test_fitted_rates_state_their_definition(count, tmp_path, capsys):
    path = tmp_path / "log"
    path.write_text('{"accepted": [2, 2, 1, 1, 0], "drafted": [2, 2, 2, 2, 2]}\n' * count)
    fast = ["--candidates", "independent", "--no-replay"]
    assert main(["fit", str(path), "--quiet", *fast]) == 0
    text = capsys.readouterr().out
    assert not rates_are_note(mtpsim.parse(text))
    assert rates_are_note(mtpsim.parse(text.replace('rates_are = "conditional"', "")))


def test_log_windows_are_the_rows(requests, tmp_path):
    found = fit_log(read_logs([written(tmp_path, "vllm-log", requests)]))
    assert found.selection is not None
    assert {f.name for f in found.selection.fits} == {"geometric", "decay", "independent"}
    assert any("log windows aggregate requests" in note for note in found.notes)


def test_held_out_histograms_are_predicted(requests, tmp_path):
    found = fit_log(read_logs([written(tmp_path, "sglang-requests", requests)]), holdout=0.4)
    assert [row.depth for row in found.predictions] == [1, 2, 3]
    assert len(found.selection.test) == 48
    for row in found.predictions:
        assert row.model == pytest.approx(row.observed.mean, rel=0.06)
    assert not any(name.startswith("regime") for name in found.goodness)


def test_shipped_log_gives_the_shipped_experiment(tmp_path, capsys):
    out = tmp_path / "chat.toml"
    logs = [f"experiments/logs/{name}" for name in ("chat.jsonl.zst", "steps.csv")]
    assert main(["fit", *logs, "-o", str(out), "--json", "--quiet", "--no-replay"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["candidates"]) == 13
    assert report["chosen"] == "regime2-token"
    shipped = mtpsim.load("experiments/from_log.toml")
    found = mtpsim.load(out)
    for key in ("rates", "sojourn"):
        one, two = (np.array(getattr(e.acceptance, key)) for e in (found, shipped))
        assert one == pytest.approx(two, rel=0.01)
    assert found.latency.base == pytest.approx(shipped.latency.base)
    truth = mtpsim.load("experiments/logs/truth.toml").acceptance
    sampled = found.uncertainty.sampled
    off = np.ravel(truth.rates) - np.ravel(found.acceptance.rates)
    assert abs(off / sampled["acceptance.rates"].std(0)).max() < 3
