"""What a command loads before it can do its work; no time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtpsim.cli.main import COMMANDS, main
from mtpsim.common.compilation import COMPILING
from tests.support.examples import article

ARTICLE, SERVING = "experiments/article.toml", "experiments/serving.toml"
QUICK = ["quick", "--target", "76", "--verify", "90", "--draft", "8", "--rates", ".8"]
HEAVY = {"numba", "scipy", "matplotlib", "rich", "jinja2"}


UNDRAWN = (
    "import sys; from mtpsim.results.document import Result; Result.save_report = lambda *_: []; "
)


def printed(*arguments, before="import sys; ", **environment):
    """Lines on stderr of a command that went well; the last one lists the modules it loaded."""
    code = (
        f"{before}from mtpsim.cli.main import main; code = main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def loaded(*arguments):
    return set(printed(*arguments)[-1].split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The founding case at reduced size, finished, without its pictures; its file and directory."""
    folder = tmp_path_factory.mktemp("finished")
    file, out = folder / "small.toml", folder / "run"
    file.write_text(article(2000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtpsim.results.document.Result.save_report", lambda *_: [])
        assert main(["run", str(file), "--out", str(out), "--quiet"]) == 0
    return file, out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["check", ARTICLE], ["check", SERVING], ["schema"], QUICK]
)
def test_simple_commands_import_no_heavy_library(arguments):
    assert not loaded(*arguments) & HEAVY


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_no_library_at_all(command):
    code = (
        "import sys; from mtpsim.cli.main import main\ntry: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    arguments = [sys.executable, "-c", code, *filter(None, [command]), "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert "usage: mtpsim" in done.stdout
    assert not set(done.stderr.split()) & {"numpy", "pydantic", "scipy", "numba", "rich"}


def test_the_engines_in_the_help_are_those_of_exports():
    from mtpsim.cli.arguments import ENGINES
    from mtpsim.runs.export import FORMATS

    assert tuple(FORMATS) == ENGINES


def test_a_quick_answer_needs_numpy_alone():
    ours = loaded(*QUICK)
    assert "numpy" in ours
    assert not ours & {"pydantic", "tomllib", "mtpsim.config.experiment"}


def test_check_loads_nothing_that_simulates_or_compiles_and_no_section_that_is_not_in_the_file():
    ours = {name for name in loaded("check", ARTICLE) if name.startswith("mtpsim.")}
    assert "mtpsim.report.experiment_text" in ours
    assert not ours & {
        "mtpsim.engine.simulate",
        "mtpsim.engine.policy_player",
        "mtpsim.exact.oracle_mdp",
        "mtpsim.engine.scheduler",
        "mtpsim.report.document",
        "mtpsim.config.adaptive",
        "mtpsim.config.draft",
        "mtpsim.config.overrides",
        "mtpsim.config.serving",
        "mtpsim.config.uncertainty",
        "mtpsim.config.validation_errors",
        "mtpsim.acceptance.beta",
        "mtpsim.acceptance.mixture",
        "mtpsim.latency.costs",
        "mtpsim.policy",
    }


def test_models_are_built_when_a_file_is_read_and_not_before():
    code = """
import mtpsim.config.experiment
from mtpsim.common.section import Spec
def built():
    kinds = [Spec]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return [kind.__name__ for kind in kinds if kind.__pydantic_complete__]
print(built())
mtpsim.config.experiment.load("experiments/article.toml")
print(*built())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = done.stdout.splitlines()
    assert before == "[]"
    expected = {"Experiment", "Independent", "Latency", "LognormalNoise", "Decision", "Simulation"}
    assert set(after.split()) <= expected


def test_a_finished_run_is_printed_without_numba_or_scipy(finished):
    file, out = finished
    for arguments in (["run", file, "--out", out, "--json"], ["export", out, "--to", "sglang"]):
        assert not loaded(*arguments) & HEAVY


def test_a_finished_run_is_shown_without_numba(finished, tmp_path):
    found = loaded("show", finished[1], "--out", tmp_path)
    assert "matplotlib" in found
    assert not found & {"numba", "matplotlib.pyplot", "scipy.stats", "scipy.linalg"}


def test_a_first_run_says_so_and_compiles_only_what_it_needs(finished, tmp_path):
    """Kernels for other clocks, dependent noise and more states cost several times as much."""
    run, cache = ["run", finished[0], "--fresh", "--out", tmp_path / "run"], tmp_path / "cache"
    given = {"before": UNDRAWN, "NUMBA_CACHE_DIR": str(cache)}
    assert printed(*run, **given).count(COMPILING) == 1
    compiled = {path.name.partition("-")[0] for path in cache.glob("*/*.nbi")}
    totals = {"moments.complete_rows", "moments._means", "moments._comoments", "philox.words_at"}
    assert compiled == {"round_clock.rounds_3_sums", *totals}
    lines = printed(*run, **given)
    assert COMPILING not in lines
    # with kernels from the cache numba need not load all that it can compile
    assert not set(lines[-1].split()) & {
        "matplotlib",
        "scipy.special",
        "numba.np.arrayobj",
        "mtpsim.config.uncertainty",
        "mtpsim.engine.policy_player",
        "mtpsim.engine.server_data",
        "mtpsim.kernels.token_clock",
        "mtpsim.policy",
        "mtpsim.results.serving",
    }


def test_functions_of_scipy_are_its_own_and_its_package_can_be_imported_later():
    code = """
import sys
seen = set()  # a package that is there for a while would be found by other threads
sys.addaudithook(lambda event, _: event == "import" and seen.update(sys.modules))
from mtpsim.common.special import betaincinv, ndtri, stdtrit
assert "scipy.special" not in seen and "scipy._lib._array_api" not in sys.modules
import scipy.special, scipy.stats
assert scipy.special.ndtri is ndtri and scipy.special.stdtrit is stdtrit
assert scipy.special._ufuncs.betaincinv is betaincinv
assert abs(scipy.stats.t(5).ppf(0.9) - stdtrit(5, 0.9)) < 1e-9
from mtpsim.common import special
try:
    special.no_such_function
except AttributeError:
    print("ok")
"""
    for first in ("", "import scipy.special\n"):
        given = code if not first else first + code.replace('assert "scipy.special" not', "#")
        done = subprocess.run([sys.executable, "-c", given], capture_output=True, text=True)
        assert done.stdout == "ok\n", done.stderr


def test_public_names_are_at_the_root():
    import mtpsim
    from mtpsim.benchmark.power import plan_benchmark
    from mtpsim.fit.model import fit_log
    from mtpsim.logs import read_logs

    assert set(mtpsim._HOMES) == set(mtpsim.__all__) - {"__version__"}
    assert all(hasattr(mtpsim, name) for name in mtpsim.__all__)
    found = mtpsim.fit_log, mtpsim.read_logs, mtpsim.plan_benchmark
    assert found == (fit_log, read_logs, plan_benchmark)


@pytest.mark.parametrize(("wanted", "seen"), [(None, False), ("", True)])
def test_the_command_disables_pydantic_plugins(tmp_path, wanted, seen):
    """Looking reads the metadata of every installed package; a user's own word counts for more."""
    there = tmp_path / "plugged-1.dist-info"
    there.mkdir()
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (there / "entry_points.txt").write_text("[pydantic]\nplugged = plugged:plugin\n")
    (tmp_path / "plugged.py").write_text("print('a plugin of pydantic')\nplugin = None\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYDANTIC_DISABLE_PLUGINS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    if wanted is not None:
        environment["PYDANTIC_DISABLE_PLUGINS"] = wanted
    command = [sys.executable, "-m", "mtpsim", "check", ARTICLE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ("a plugin of pydantic" in done.stdout) == seen


@pytest.mark.parametrize(
    ("arguments", "set_before", "threads"),
    [(["check", ARTICLE], None, "1"), (["check", ARTICLE], "3", "3"), (["schema"], None, "None")],
)
def test_a_check_multiplies_small_matrices_on_one_thread(arguments, set_before, threads):
    code = (
        "import os, sys; from mtpsim.__main__ import entry\ntry: entry()\n"
        "finally: print(os.environ.get('OPENBLAS_NUM_THREADS'), file=sys.stderr)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    if set_before is not None:
        environment["OPENBLAS_NUM_THREADS"] = set_before
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1] == threads
