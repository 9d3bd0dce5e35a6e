"""The log's own tokens per second against those of the fitted experiment."""

import json

import pytest

import mtpsim
from mtpsim.cli.main import main

TIMED = '{"accepted": [3, 1, 2, 0], "drafted": [3, 3, 3, 3], "seconds": [0.04, 0.04, 0.04, 0.04]}\n'


def fitted(tmp_path, capsys, *options, log=TIMED * 30):
    (tmp_path / "log").write_text(log)
    out = tmp_path / "fitted.toml"
    command = [
        "fit",
        str(tmp_path / "log"),
        "-o",
        str(out),
        "--candidates",
        "geometric",
        "--no-replay",
    ]
    assert main([*command, *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    return json.loads(out.with_suffix(".json").read_text())["speed"], shown, out.read_text()


def test_a_log_with_its_own_times_agrees(tmp_path, capsys):
    """10 tokens in 4 rounds of 40 ms: 62.5 tokens/s, 1.875 times a plain step of 30 ms."""
    speed, shown, _ = fitted(tmp_path, capsys, "--target", "30")
    assert speed["log"]["mean"] == pytest.approx(62.5)
    assert speed["speedup"] == pytest.approx(1.875)
    assert abs(speed["difference"]) <= speed["allowed"]
    assert speed["suspects"] == []
    assert "The log itself" not in shown


def test_times_of_another_machine_are_told_of_first(tmp_path, capsys):
    """Rounds of 20 ms instead of 40 ms double the speed."""
    like = tmp_path / "like.toml"
    like.write_text("[latency]\ntarget = 10\nverify = 20\ndraft = 0\n")
    speed, shown, text = fitted(tmp_path, capsys, "--like", str(like))
    assert speed["difference"] == pytest.approx(1, abs=0.1)  # the model is 4 % off
    assert shown.startswith("The log itself runs at 62.50 tokens/s per request (0.62x plain")
    assert "a round took 40.00 ms in the log and takes 20.00 ms by" in shown
    assert text.startswith("# The log itself runs at 62.50")


def test_without_times_there_is_no_comparison(tmp_path, capsys):
    assert fitted(tmp_path, capsys)[0] is None


def test_stated_times_of_a_round(tmp_path, capsys):
    """28 ms of verification and 12 ms of drafting: 40 ms."""
    given = ["--target", "25", "--verify", "28", "--draft", "12"]
    speed, _, text = fitted(tmp_path, capsys, *given)
    assert speed["round_ms"] == pytest.approx(40)
    assert "target = 25.0\nverify = 28.0\ndraft = 12.0\n" in text
    for wrong, message in (
        (["--verify", "28"], "--verify: needs --target"),
        (["--target", "25", "--draft", "4"], "--draft: needs --verify"),
        (["--target", "25", "--verify", "-1"], "must be above 0"),
    ):
        assert main(["fit", str(tmp_path / "log"), *wrong]) == 2
        assert message in capsys.readouterr().err


def test_a_log_of_several_depths_is_compared_at_its_deepest(tmp_path, capsys):
    """Accept length 2.5 at 40 ms, 62.5 tokens/s; rows of depth 1 would lower it to 1.75."""
    line = {"accepted": [0] * 4, "drafted": [1] * 4, "seconds": [0.03] * 4}
    text = TIMED * 30 + (json.dumps(line) + "\n") * 30
    speed, *_ = fitted(tmp_path, capsys, "--target", "25", log=text)
    assert speed["log"]["mean"] == pytest.approx(62.5)


def test_times_of_shallow_depths_are_kept(tmp_path, capsys):
    one = {"rounds": 3000, "accepted": 2440, "depth": 1, "round_ms": 60}
    path = tmp_path / "log"
    path.write_text(json.dumps(one) + '\n{"rounds": 3000, "accepted": 5481, "depth": 4}\n')
    for options, target in (([], 60), (["--target", "50"], 50)):
        assert main(["fit", str(path), "--quiet", "--no-replay", *options]) == 0
        text = capsys.readouterr().out
        latency = mtpsim.parse(text).latency
        assert sum(latency.times(4)).tolist() == [target, 60, 60, 60, 60]
        assert "round times beyond depth 1 are not measured" in text
