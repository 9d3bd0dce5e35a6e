"""The recipes of CONTRIBUTING.md work: a toy of each kind, registered as they say, runs."""

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.examples import acceptance, section, simulation

TEXT = Path("CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^## Add an? ([\w ]+)\n\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M))

# Registrations of the toys: file, name, an existing entry, the entry with the toy, the import.
MODEL, POLICY = "mtpsim/acceptance/registry.py", "mtpsim/policy/__init__.py"
COST, LOGS, WRITE = "mtpsim/latency/__init__.py", "mtpsim/logs/__init__.py", "mtpsim/logs/write.py"
REGISTERED = {
    "acceptance model": [
        (MODEL, "SIMPLE", '"decay": "decay.Decay"', '"decay": "decay.Decay", "toy": "toy.Toy"'),
    ],
    "policy": [
        (POLICY, "RULES", '"fixed": "fixed.Fixed"', '"fixed": "fixed.Fixed", "toy": "toy.Toy"'),
    ],
    "cost model": [
        (COST, "COSTS", '"moe": "costs.Moe"', '"moe": "costs.Moe", "toy": "toy.Toy"'),
    ],
    "log format": [
        (LOGS, "FORMATS", "neutral.CSV", "neutral.CSV, toy.REQUESTS"),
        (WRITE, "WRITERS", '"rates": _rates', '"rates": _rates, "toy": write'),
    ],
}
IMPORTED = {
    MODEL: "",
    POLICY: "",
    COST: "",
    LOGS: "from mtpsim.logs import toy",
    WRITE: "from mtpsim.logs.toy import write",
}
WRITTEN = {
    "mtpsim/acceptance/toy.py": '''
"""All drafts of a round are accepted, or none."""
from typing import Literal
import numpy as np
from pydantic import Field
from mtpsim.acceptance.base import AcceptanceModel, independent_rounds
from mtpsim.common.section import Depth, Probability

class Toy(AcceptanceModel):
    model: Literal["toy"]
    chance: Probability = Field(description="that a round is accepted")
    depth: Depth = Field(description="drafts a round")

    def chain(self):
        return independent_rounds(np.array([self.chance] + [1.0] * (self.depth - 1)))
''',
    "mtpsim/policy/toy.py": '''
"""Two depths in turn."""
from typing import Literal
import numpy as np
from mtpsim.policy.base import PolicySpec

class Toy(PolicySpec):
    rule: Literal["toy"] = "toy"

    def parameters(self, environment):
        return np.array([environment.depth], float)

    def memory_size(self, environment):
        return 1

def start(p, m):
    m[0] = 1

def choose(p, m, now, hints):
    return int(p[0]) if m[0] > 0 else 1

def learn(p, m, round):
    m[0] = 1 - m[0]
''',
    "mtpsim/latency/toy.py": '''
"""A step time that grows with the root of the number of tokens."""
from typing import Literal
import numpy as np
from pydantic import Field
from mtpsim.latency.cost_model import CostModel
from mtpsim.latency.times import Milliseconds

class Toy(CostModel):
    model: Literal["toy"]
    unit: Milliseconds = Field(description="ms of one token alone")

    def step(self, batch, depth):
        return self.unit * np.sqrt(batch * (depth + 1))

    def formula(self):
        return f"{self.unit:g} sqrt(B (k + 1)) ms"
''',
    "mtpsim/logs/toy.py": '''
"""A toy engine that logs accepted drafts per round."""
import json
from mtpsim.logs.entry import Entry
from mtpsim.logs.format import json_format

def _request(table, document, answers):
    accepted, depth = table["toy"], table["deep"]
    rounds = len(accepted)
    return Entry("request", rounds, sum(accepted), depth * rounds, depth, per_round=(accepted, []))

REQUESTS = json_format("toy", "Toy", "request of a toy", lambda table: "toy" in table, _request)

def write(requests):
    for request in requests:
        yield json.dumps({"toy": request.accepted, "deep": request.depth}) + "\\n"
''',
}
EXPERIMENT = (
    acceptance("toy", chance=0.8, depth=3)
    + section("latency", model="toy", unit=10, batch=4, draft=1)
    + simulation(rounds=20, requests=40)
    + section("adaptive", policies=["toy"])
)
# Kernels run as plain Python: compiling them for a copy of the package takes half a minute.
CHECK = """
import sys
from pathlib import Path
import mtpsim
from mtpsim.cli.main import main
from mtpsim.config.experiment import schema
from mtpsim.logs import read_logs

assert Path(mtpsim.__file__).parents[1] == Path.cwd(), mtpsim.__file__
assert main(["check", "toy.toml"]) == 0
assert str(schema()).count("'const': 'toy'") == 3
(point,) = mtpsim.run(mtpsim.load("toy.toml")).points
deep = point["depths"][3]
assert abs(deep["accept_length"]["exact"] - 3.4) < 1e-12
low, high = deep["accept_length"]["low"], deep["accept_length"]["high"]
assert low < 3.4 < high < low + 0.6
assert abs(deep["round_time"]["theory"] - (10 * 16 ** 0.5 + 1)) < 1e-9
(toy,) = (found for found in point["adaptive"]["policies"] if found["rule"] == "toy")
assert toy["depths"] == [0, 0.5, 0, 0.5]
assert main(["sample", "toy.toml", "--as", "toy", "--requests", "30", "-o", "toy.log"]) == 0
log = read_logs([Path("toy.log")])
assert (log.level, log.depth, len(log.rounds)) == ("rounds", 3, 30)
assert set(log.sequence.accepted) == {0, 3}
"""


def places(recipe):
    """Files and registries in a recipe, written as `NAME` and `NAME` (`FILE`)."""
    for names, path in re.findall(r"((?:`\w+`[^`(.:]*)+)\(`(mtpsim/[\w/]+\.py)`\)", recipe):
        yield from ((path, name) for name in re.findall(r"`(\w+)`", names))


def registry(path, name):
    """Source of the assignment to a name at module level."""
    source = Path(path).read_text()
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.get_source_segment(source, node)
    raise AssertionError(f"{path} has no assignment to {name}")


@pytest.mark.parametrize("kind", REGISTERED)
def test_a_recipe_is_short_and_names_existing_files_and_every_registry(kind):
    steps, _, _ = RECIPES[kind].partition("\n\n")
    assert len(steps.splitlines()) < 10
    for path in re.findall(r"`((?:mtpsim|docs|tests|tools|experiments)/[\w/.]+)`", steps):
        assert Path(path).exists() or {"NAME", "ENGINE"} & set(re.findall(r"[A-Z]+", path)), path
    needed = [(path, name) for path, name, _, _ in REGISTERED[kind]]
    assert sorted(places(RECIPES[kind])) == sorted(needed)


def follow(folder):
    """Register the toys in a copy of the package, as the recipes say."""
    shutil.copytree("mtpsim", folder / "mtpsim", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in WRITTEN.items():
        (folder / path).write_text(text.lstrip())
    for path, name, before, after in itertools.chain(*REGISTERED.values()):
        found = registry(folder / path, name)
        assert found.count(before) == 1, (path, name)
        source = (folder / path).read_text()
        entered = f"{IMPORTED[path]}\n{found.replace(before, after)}"
        (folder / path).write_text(source.replace(found, entered))


def test_extensions_that_follow_the_recipes_run(tmp_path):
    follow(tmp_path)
    (tmp_path / "toy.toml").write_text(EXPERIMENT)
    (tmp_path / "check.py").write_text(CHECK)
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "check.py"]
    checked = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
