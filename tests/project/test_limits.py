"""What can't be simulated in time or memory is refused with its number, before it begins."""

import json

import numpy as np
import pytest

from mtpsim.cli.main import main
from mtpsim.exact import chain_solver
from tests.support.random_chains import random_chain
from verification.fuzz import limited_time

TIMES = "latency = { target = 76, verify = 90, draft = 8 }\n"
ONE = 'acceptance = { model = "independent", rates = [0.8, 0.7] }\n'


def regime(states):
    """A regime model with so many states."""
    tables = {"model": "regime", "rates": [[0.5]] * states, "sojourn": [2.0] * states}
    return "[acceptance]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in tables.items())


def tokens(vocabulary, **horizon):
    """Two language models, at a depth of 64."""
    rows = np.random.default_rng(1).dirichlet(np.ones(vocabulary), (2, vocabulary)).tolist()
    keys = {"model": "tokens", "depth": 64, "target": rows[0], "draft": rows[1]}
    text = "[acceptance]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in keys.items())
    return text + "[simulation]\n" + "".join(f"{k} = {v}\n" for k, v in horizon.items())


VALUES = json.dumps(list(range(1, 101)))
SWEPT = "".join(f'"latency.{key}" = {VALUES}\n' for key in ("target", "verify", "draft"))
SWEPT += f'"simulation.rounds" = {VALUES}\n'
EXPERIMENTS = {
    "requests": (
        "run",
        ONE + TIMES + "simulation = { requests = 1_000_000_000_000, rounds = 200 }\n",
        "simulation.requests: 1,000,000,000,000 requests would take about",
    ),
    "points": ("check", f"{ONE}{TIMES}[sweep]\n{SWEPT}", "100,000,000 points are given; at most"),
    "scenarios": (
        "check",
        f"{ONE}{TIMES}[robust]\n{SWEPT}",
        "100,000,000 scenarios are given; at most 1,000",
    ),
    "states": ("check", TIMES + regime(5000), "acceptance.rates: "),
    "solution": (
        "check",
        TIMES + tokens(16, tokens=1_000_000),
        "simulation.tokens: 1,000,000 tokens of a chain of 256 states at depth 64 take",
    ),
    "file": ("check", ONE + TIMES + "#" * (1 << 25), "is larger than 16,777,216 bytes"),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_takes_for_ever_is_refused_with_its_number(name, tmp_path, capsys):
    verb, text, message = EXPERIMENTS[name]
    path = tmp_path / "e.toml"
    path.write_text(text)
    more = ["--out", str(tmp_path / "out"), "--executor", "threads:2"] if verb == "run" else []
    with limited_time(60):
        assert main([verb, str(path), *more]) == 2
    assert message in capsys.readouterr().err


def test_an_estimate_is_shared_by_workers_parts_and_hours(tmp_path, capsys):
    path = tmp_path / "e.toml"
    path.write_text(ONE + TIMES + "simulation = { requests = 100_000_000, rounds = 10_000_000 }\n")
    command = ["run", str(path), "--out", str(tmp_path / "out"), "--executor", "threads:1"]
    found = []
    for more in ([], ["--executor", "threads:2"], ["--part", "2/4"], ["--max-hours", "0.5"]):
        assert main([*command, *more]) == 2
        words = capsys.readouterr().err.split()
        found.append(float(words[words.index("about") + 1].replace(",", "")))
    assert found == pytest.approx([found[0], found[0] / 2, found[0] / 4, found[0]], rel=0.01)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_large_chains_are_solved_token_by_token(clock, monkeypatch):
    chain = random_chain(np.random.default_rng(3), clock)
    small = chain_solver.solve(chain, chain.depth, tokens=40)
    monkeypatch.setattr(chain_solver, "SMALL_CHAIN", 0)
    monkeypatch.setattr(chain_solver, "one_by_one_operations", lambda *_: 1.0)
    large = chain_solver.solve(chain, chain.depth, tokens=40)
    assert large.rounds == pytest.approx(small.rounds, rel=1e-12)
    np.testing.assert_allclose(large.starts, small.starts, rtol=1e-10)
