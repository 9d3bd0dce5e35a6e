"""Workers that die, hang, disagree or disconnect: the numbers are those of a run without faults."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.common.errors import InputError
from mtpsim.engine import executors
from mtpsim.engine.block_sizes import first_unit
from mtpsim.engine.executors import (
    Processes,
    WorkerPool,
    fingerprint,
    open_pool,
    remote_task,
    simulate_remotely,
)
from mtpsim.engine.options import ExecutorChoice
from mtpsim.engine.scheduler import BlockFailedError, NoWorkersError, WorkerMismatchError, simulate
from mtpsim.engine.simulate import compile_point, tally_block
from tests.support.children import python
from tests.support.examples import LONG_RUN

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

TEXT = LONG_RUN + "requests = 400000\n"


@pytest.fixture(scope="module")
def experiment():
    return mtpsim.parse(TEXT)


@pytest.fixture(scope="module")
def quiet(experiment):
    return mtpsim.run(experiment).points


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("threads", ("threads", None, None)),
        ("dask:3", ("dask", 3, None)),
        ("dask:tcp://10.0.0.1:8786", ("dask", None, "tcp://10.0.0.1:8786")),
        ("dask:/shared/scheduler.json", ("dask", None, "/shared/scheduler.json")),
    ],
)
def test_executor_names_are_parsed(text, expected):
    assert ExecutorChoice.parse(text) == ExecutorChoice(*expected)


@pytest.mark.parametrize("text", ["thread", "threads:", "threads:0", "processes:tcp://x", "dask:"])
def test_other_executor_names_are_refused(text):
    with pytest.raises(ValueError, match=r"is given|are given"):
        ExecutorChoice.parse(text)


def test_any_executor_of_the_caller_gives_the_same_numbers(experiment, quiet):
    with ThreadPoolExecutor(3) as pool:
        result = mtpsim.run(experiment, executor=pool)
        assert pool.submit(int).result() == 0  # it is still open
    assert result.points == quiet
    assert result.document["provenance"]["executor"] == "ThreadPoolExecutor:3"


class FaultyPool(WorkerPool):
    """Runs blocks at once; some of them fail, or are lost with all blocks in flight."""

    def __init__(self, fault, count=2):
        self.name, self.count, self.timeout = "faulty", count, 0.2
        self.fault, self.tried, self.restarts = fault, [], 0

    disconnected = False

    def submit(self, point, first, size):
        self.tried.append(first)
        future = Future()
        fault = self.fault(first, self.tried.count(first))
        if fault is None:
            future.set_result(tally_block(point.plan, first, size))
        elif isinstance(fault, BaseException):
            future.set_exception(fault)
        return future  # else it never ends

    def restart(self):
        self.restarts += 1

    def close(self):
        pass


def tally_with(experiment, fault):
    pool = FaultyPool(fault)
    plan = {"requests": 400_000, "stop_when": lambda _: False, "on_progress": lambda _: None}
    return simulate(compile_point(experiment), pool, **plan), pool


@pytest.mark.parametrize(
    "fault",
    [
        lambda first, tries: MemoryError() if tries < 3 and first % 5 == 0 else None,
        lambda first, tries: BrokenPipeError() if tries < 2 else None,
        lambda first, tries: "hang" if first > 100_000 and tries < 2 else None,
        lambda first, tries: TimeoutError() if first == 0 and tries < 3 else None,
    ],
)
def test_a_lost_block_is_simulated_again_with_the_same_numbers(fault, experiment):
    expected_tally, _ = tally_with(experiment, lambda *_: None)
    got, pool = tally_with(experiment, fault)
    assert len(pool.tried) > len(set(pool.tried))
    assert (got.mean == expected_tally.mean).all()
    assert (got.comoment == expected_tally.comoment).all()


@pytest.mark.parametrize("how", [ZeroDivisionError("no"), BrokenPipeError("gone"), "hang"])
def test_a_block_that_always_fails_is_reported(how, experiment):
    fifth = first_unit(5) * compile_point(experiment).plan.unit
    with pytest.raises(BlockFailedError, match=r"block 5 \(requests .* failed 3 times"):
        tally_with(experiment, lambda first, _: how if first == fifth else None)


def test_after_a_failed_block_the_rest_is_kept_and_the_next_point_runs(
    tmp_path, monkeypatch, capsys
):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(TEXT + '[sweep]\n"latency.target" = [70, 76]\n')
    tenth = first_unit(10) * compile_point(mtpsim.parse(TEXT)).plan.unit

    def failing(self, point, first, size):
        bad = point.experiment.latency.target == 70 and first >= tenth
        if not bad:
            return kept(self, point, first, size)
        future = Future()
        future.set_exception(ArithmeticError("bad block"))
        return future

    kept = executors.Threads.submit
    with monkeypatch.context() as patch:
        patch.setattr(executors.Threads, "submit", failing)
        assert main(["run", str(file), "--out", str(out), "--quiet"]) == 4
    printed = capsys.readouterr()
    assert "block 10 (requests" in printed.err
    assert "ArithmeticError: bad block" in printed.err
    first, second = json.loads((out / "result.json").read_text())["points"]
    assert first["interrupted"]
    assert first["requests"] == tenth
    assert "incomplete: block 10" in " ".join(first["warnings"])
    assert not second["interrupted"]
    assert main(["run", str(file), "--out", str(out), "--quiet"]) == 0
    whole = mtpsim.run(mtpsim.load(file)).points
    assert json.loads((out / "result.json").read_text())["points"] == json.loads(json.dumps(whole))


def test_workers_that_always_fail_are_exit_4(tmp_path, monkeypatch, capsys):
    def failing(*_):
        raise ArithmeticError("out of order")

    monkeypatch.setattr(executors, "tally_of", failing)
    file = tmp_path / "e.toml"
    file.write_text(TEXT)
    assert main(["run", str(file), "--out", str(tmp_path / "o"), "--quiet"]) == 4
    printed = capsys.readouterr().err
    assert printed.startswith("error: --executor: nothing could be simulated: ")
    assert "out of order" in printed


STARTED = """
import sys, time
from mtpsim.engine.executors import Processes
if __name__ == "__main__":
    print(*(worker.process.pid for worker in Processes(2, 60).workers), flush=True)
    time.sleep(1000)
"""


def test_processes_end_with_their_killed_parent(tmp_path):
    (tmp_path / "started.py").write_text(STARTED)
    with python(tmp_path / "started.py", stdout=subprocess.PIPE) as parent:
        workers = [int(number) for number in parent.stdout.readline().split()]
        parent.kill()
        parent.wait()
        assert len(workers) == 2
        for _ in range(600):
            states = subprocess.run(
                ["ps", "-o", "stat=", "-p", ",".join(map(str, workers))],
                capture_output=True,
                text=True,
            ).stdout.split()
            if all(state.startswith("Z") for state in states):
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"workers are left: {states}")


def test_killed_processes_are_replaced():
    """Real processes, while they work."""
    experiment = mtpsim.parse(TEXT.replace("400000", "3000000"))
    pool = Processes(2, 60)
    killed = []

    def kill_one(blocks):
        if blocks.end in (20, 80):
            victim = pool.workers[0].process
            victim.kill()
            killed.append(victim.pid)

    plan = {"requests": 3_000_000, "stop_when": lambda _: False, "on_progress": kill_one}
    try:
        got = simulate(compile_point(experiment), pool, **plan)
    finally:
        pool.close()
    assert len(killed) == 2
    plan["on_progress"] = lambda _: None
    with open_pool(ExecutorChoice("threads", 2)) as threads:
        expected_tally = simulate(compile_point(experiment), threads, **plan)
    assert (got.mean == expected_tally.mean).all()
    assert (got.comoment == expected_tally.comoment).all()


def test_a_broken_pool_of_the_caller_is_reported(experiment):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(os.getpid).result()
        for process in pool._processes.values():
            process.kill()
        with pytest.raises(NoWorkersError, match="workers of ProcessPoolExecutor:1 are lost"):
            mtpsim.run(experiment, executor=pool)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "9.9"}, "has mtpsim .*this run 9.9"),
        ({"kernels": "0123"}, "has the kernels .*this run 0123"),
        ({"tables": "0123"}, "compiles the point to different numbers"),
    ],
)
def test_a_worker_of_other_code_is_refused(change, message, experiment):
    task = remote_task(compile_point(experiment))
    assert simulate_remotely(task, 0, 64).count == 64
    with pytest.raises(WorkerMismatchError, match=message):
        simulate_remotely(replace(task, **change), 0, 64)


def test_a_mismatch_ends_the_run_with_an_input_error(experiment, monkeypatch):
    monkeypatch.setattr("mtpsim.engine.executors.fingerprint", lambda _: os.urandom(4).hex())
    with ThreadPoolExecutor(1) as pool, pytest.raises(InputError, match="to different numbers"):
        mtpsim.run(experiment, executor=pool)


def test_a_fingerprint_sees_every_table(experiment):
    one = fingerprint(compile_point(experiment).plan)
    assert one == fingerprint(compile_point(mtpsim.parse(TEXT)).plan)
    for old, new in (("76", "76.000001"), ("cv = 0.3", "cv = 0.300001"), ("0.95", "0.950001")):
        assert fingerprint(compile_point(mtpsim.parse(TEXT.replace(old, new))).plan) != one


def test_a_missing_scheduler_is_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.5)
    file = tmp_path / "e.toml"
    file.write_text(TEXT)
    options = ["--out", str(tmp_path / "o"), "--executor", "dask:tcp://127.0.0.1:1"]
    assert main(["run", str(file), *options]) == 2
    assert "no dask scheduler answers at 'tcp://127.0.0.1:1'" in capsys.readouterr().err


CLUSTER = """
import os, signal, sys, threading, time
import mtpsim
from distributed import Client, LocalCluster

def killer(pids):
    time.sleep(0.5)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)

if __name__ == "__main__":
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with Client(cluster) as client:
            pids = list(client.run(os.getpid).values())
        thread = threading.Thread(target=killer, args=(pids,))
        thread.start()
        experiment = mtpsim.parse(open(sys.argv[1]).read())
        result = mtpsim.run(experiment, executor=f"dask:{cluster.scheduler_address}")
        thread.join()
    print(__import__("json").dumps(result.points))
"""


def test_workers_of_a_dask_cluster_may_be_killed(tmp_path):
    """A real cluster; both worker processes are killed, one after the other."""
    text = TEXT.replace("400000", "6000000")
    (tmp_path / "e.toml").write_text(text)
    (tmp_path / "cluster.py").write_text(CLUSTER)
    command = [sys.executable, str(tmp_path / "cluster.py"), str(tmp_path / "e.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == json.loads(json.dumps(mtpsim.run(mtpsim.parse(text)).points))


SCHEDULER = "distributed.cli.dask_scheduler"
IMPATIENT = """
import mtpsim.__main__
import mtpsim.engine.executors as executors

executors.CONNECT_SECONDS, executors.DISCONNECT_SECONDS = 3, 2
mtpsim.__main__.entry()
"""


def test_after_a_lost_scheduler_finished_blocks_are_kept(tmp_path):
    """The scheduler is killed during the run: exit code 4, and its blocks are kept."""
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(TEXT.replace("400000", "40000000"))
    address = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    flags = ["--scheduler-file", address]
    command = ["-c", IMPATIENT, "run", file, "--out", out, "--executor", f"dask:{address}"]
    with (
        python("-m", SCHEDULER, "--no-dashboard", "--port", "0", *flags, **quiet) as scheduler,
        python("-m", "distributed.cli.dask_worker", "--nthreads", "1", *flags, **quiet),
    ):
        while not address.exists():
            time.sleep(0.1)
        with python(*command, "--quiet", stderr=subprocess.PIPE) as run:
            while run.poll() is None and not (out / "tallies.jsonl").exists():
                time.sleep(0.05)
            scheduler.kill()
            _, errors = run.communicate(timeout=120)
    assert run.returncode == 4, errors
    assert "no dask scheduler answers" in errors
    kept = json.loads((out / "result.json").read_text())
    assert kept["points"][0]["interrupted"]
    assert 0 < kept["points"][0]["requests"] < 40_000_000


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"address": 5}', "[" * 100_000])
def test_a_file_of_no_scheduler_is_refused(text, tmp_path):
    (tmp_path / "scheduler.json").write_text(text)
    choice = ExecutorChoice.parse(f"dask:{tmp_path / 'scheduler.json'}")
    with pytest.raises(InputError, match="--executor: not a file of `dask scheduler"):
        executors._client(choice)


def test_a_cluster_of_this_machine_listens_on_loopback_only():
    import psutil

    with executors.open_pool(ExecutorChoice("dask", 1)):
        every = [psutil.Process(), *psutil.Process().children(recursive=True)]
        found = [c for p in every for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert found
    assert {connection.laddr.ip for connection in found} <= {"127.0.0.1", "::1"}
