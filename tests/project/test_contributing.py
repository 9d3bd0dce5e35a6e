"""The recipes of CONTRIBUTING.md, followed: a toy of each kind, entered where they say, works."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtpsim.acceptance.registry import SIMPLE
from mtpsim.latency import COSTS
from mtpsim.logs import FORMATS
from mtpsim.policy import RULES

TEXT = Path("CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^## Add an? ([\w ]+)\n\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M))
CLASSES = {
    "acceptance model": SIMPLE.values(),
    "policy": RULES.values(),
    "cost model": COSTS.values(),
}
MEMBERS = {kind: [member.__name__ for member in CLASSES[kind]] for kind in CLASSES}
TABLES = {
    "acceptance model": ("docs/experiment.md", SIMPLE),
    "policy": ("docs/experiment.md", RULES),
    "cost model": ("docs/experiment.md", COSTS),
    "log format": ("docs/logs.md", FORMATS),
}

# What the toys enter: file, registry, an entry that is there, and what to put in its place.
ENTERED = {
    "acceptance model": [
        (
            *("mtpsim/acceptance/registry.py", "SIMPLE", '"tokens": Tokens'),
            '"tokens": Tokens, "toy": Toy',
        ),
        ("mtpsim/acceptance/registry.py", "Simple", "| Tokens", "| Tokens | Toy"),
    ],
    "policy": [
        (
            *("mtpsim/policy/__init__.py", "RULES", '"clairvoyant": Clairvoyant'),
            '"clairvoyant": Clairvoyant, "toy": Toy',
        ),
        ("mtpsim/policy/__init__.py", "Table", "| Clairvoyant", "| Clairvoyant | Toy"),
    ],
    "cost model": [
        ("mtpsim/latency/__init__.py", "COSTS", '"moe": Moe', '"moe": Moe, "toy": Toy'),
        (
            *("mtpsim/latency/__init__.py", "AnyLatency", 'Annotated[Moe, Tag("moe")]'),
            'Annotated[Moe, Tag("moe")] | Annotated[Toy, Tag("toy")]',
        ),
    ],
    "log format": [
        ("mtpsim/logs/__init__.py", "FORMATS", "neutral.CSV", "neutral.CSV, toy.REQUESTS"),
        ("mtpsim/logs/write.py", "WRITERS", '"rates": _rates', '"rates": _rates, "toy": write'),
    ],
}  # fmt: skip
IMPORTED = {
    "mtpsim/acceptance/registry.py": "from mtpsim.acceptance.toy import Toy",
    "mtpsim/policy/__init__.py": "from mtpsim.policy.toy import Toy",
    "mtpsim/latency/__init__.py": "from mtpsim.latency.toy import Toy",
    "mtpsim/logs/__init__.py": "from mtpsim.logs import toy",
    "mtpsim/logs/write.py": "from mtpsim.logs.toy import write",
}
WRITTEN = {
    "mtpsim/acceptance/toy.py": '''
"""Drafts that are accepted or not as a whole."""
from typing import Literal
import numpy as np
from pydantic import Field
from mtpsim.acceptance.base import AcceptanceModel, independent_rounds
from mtpsim.common.section import Depth, Probability

class Toy(AcceptanceModel):
    """All of a round's drafts, or none."""
    model: Literal["toy"]
    chance: Probability = Field(description="that a round is accepted")
    depth: Depth = Field(description="drafts a round")

    def chain(self):
        """One state."""
        return independent_rounds(np.array([self.chance] + [1.0] * (self.depth - 1)))
''',
    "mtpsim/policy/toy.py": '''
"""Turn and turn about."""
from typing import Literal
import numpy as np
from mtpsim.policy.base import PolicySpec

class Toy(PolicySpec):
    """Depth 1 and the greatest, in turn."""
    rule: Literal["toy"] = "toy"

    def parameters(self, environment):
        """The greatest depth."""
        return np.array([environment.depth], float)

    def memory_size(self, environment):
        """The turn."""
        return 1

def start(p, m):
    """First the deep one."""
    m[0] = 1

def choose(p, m, now, hints):
    """By turn."""
    return int(p[0]) if m[0] > 0 else 1

def learn(p, m, round):
    """The other one's turn."""
    m[0] = 1 - m[0]
''',
    "mtpsim/latency/toy.py": '''
"""A step that takes as long as the root of its tokens."""
from typing import Literal
import numpy as np
from pydantic import Field
from mtpsim.latency.costs import CostModel
from mtpsim.latency.times import Milliseconds

class Toy(CostModel):
    """The root of the tokens of a pass."""
    model: Literal["toy"]
    unit: Milliseconds = Field(description="ms of one token alone")

    def step(self, batch, depth):
        """Ms of a step."""
        return self.unit * np.sqrt(batch * (depth + 1))

    def formula(self):
        """In words."""
        return f"{self.unit:g} sqrt(B (k + 1)) ms"
''',
    "mtpsim/logs/toy.py": '''
"""A toy engine, whose requests say how many drafts each round accepted."""
import json
from mtpsim.logs.entry import Entry
from mtpsim.logs.format import json_format

def _request(table, document, answers):
    accepted, depth = table["toy"], table["deep"]
    rounds = len(accepted)
    return Entry("request", rounds, sum(accepted), depth * rounds, depth, per_round=(accepted, []))

REQUESTS = json_format("toy", "Toy", "request of a toy", lambda table: "toy" in table, _request)

def write(requests):
    """As the engine would."""
    for request in requests:
        yield json.dumps({"toy": request.accepted, "deep": request.depth}) + "\\n"
''',
}
EXPERIMENT = """
[acceptance]
model = "toy"
chance = 0.8
depth = 3
[latency]
model = "toy"
unit = 10
batch = 4
draft = 1
[simulation]
rounds = 20
requests = 40
[adaptive]
policies = ["toy"]
"""
# Kernels run as plain Python here: compiling them for a copy of the package takes half a minute.
PLAYED = """
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
    """Registries and their files, as a recipe names them: `A` and, with care, in `B` (`FILE`)."""
    for names, path in re.findall(r"((?:`\w+`[^`(.:]*)+)\(`(mtpsim/[\w/]+\.py)`\)", recipe):
        yield from ((path, name) for name in re.findall(r"`(\w+)`", names))


def registry(path, name):
    """The source of what is assigned to a name at the top of a file."""
    source = Path(path).read_text()
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.get_source_segment(source, node)
    raise AssertionError(f"{path} assigns nothing to {name}")


@pytest.mark.parametrize("kind", ENTERED)
def test_a_recipe_is_short_and_names_files_that_there_are(kind):
    steps, _, _ = RECIPES[kind].partition("\n\n")
    assert len(steps.splitlines()) < 10
    for path in re.findall(r"`((?:mtpsim|docs|tests|tools|experiments)/[\w/.]+)`", steps):
        assert Path(path).exists() or {"NAME", "ENGINE"} & set(re.findall(r"[A-Z]+", path)), path


@pytest.mark.parametrize("kind", ENTERED)
def test_a_recipe_names_every_place_that_its_toy_needs(kind):
    assert sorted(places(RECIPES[kind])) == sorted((path, name) for path, name, *_ in ENTERED[kind])


def absent(kind, source):
    return [member for member in MEMBERS[kind] if not re.search(rf"\b{member}\b", source)]


@pytest.mark.parametrize("kind", MEMBERS)
def test_all_that_there_are_stand_at_every_place(kind):
    for path, name in places(RECIPES[kind]):
        assert not absent(kind, registry(path, name)), f"{name} of {path}"


def test_one_that_was_forgotten_is_found():
    """Negative control."""
    source = registry("mtpsim/latency/__init__.py", "AnyLatency").replace("[Moe", "[Roofline")
    assert absent("cost model", source) == ["Moe"]


def test_every_log_format_is_written_too():
    from mtpsim.logs.write import WRITERS

    assert not FORMATS.keys() - WRITERS.keys()


@pytest.mark.parametrize("kind", TABLES)
def test_all_that_there_are_stand_in_the_table(kind):
    path, names = TABLES[kind]
    assert f"`{path}`" in RECIPES[kind]
    text = Path(path).read_text()
    assert [name for name in names if f"\n| `{name}`" not in text] == []


def follow(folder):
    """Enter the toys in a copy of the package, at the places that the recipes name."""
    shutil.copytree("mtpsim", folder / "mtpsim", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in WRITTEN.items():
        (folder / path).write_text(text.lstrip())
    for steps in ENTERED.values():
        for path, name, before, after in steps:
            found = registry(folder / path, name)
            assert found.count(before) == 1, (path, name)
            source = (folder / path).read_text()
            entered = f"{IMPORTED[path]}\n{found.replace(before, after)}"
            (folder / path).write_text(source.replace(found, entered))


def test_toys_that_follow_the_recipes_work(tmp_path):
    follow(tmp_path)
    (tmp_path / "toy.toml").write_text(EXPERIMENT)
    (tmp_path / "play.py").write_text(PLAYED)
    room = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}
    played = subprocess.run(
        [sys.executable, "play.py"], cwd=tmp_path, env=room, capture_output=True, text=True
    )
    assert played.returncode == 0, played.stderr
