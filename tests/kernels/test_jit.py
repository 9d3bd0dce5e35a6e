"""Compiled kernels: where they are cached, and when a cached one may be used again."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest

from mtpsim.kernels import jit
from mtpsim.kernels.jit import hash_of_code

FOUR_THREADS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor

import numba

from mtpsim.kernels import jit
from mtpsim.kernels.policies import _apply

before = numba.config.CACHE_DIR
folders = set()
sys.setswitchinterval(1e-6)


def build(thread):
    for number in range(300):
        kernel = jit.unaliased(jit.with_globals(_apply, f"thread_{thread}_{number}"))
        folders.add(kernel._cache.cache_path)


with ThreadPoolExecutor(4) as pool:
    list(pool.map(build, range(4)))
assert numba.config.CACHE_DIR == before, numba.config.CACHE_DIR
assert all(folder.startswith(jit.CACHE_FOLDER) for folder in folders), folders
"""


def python(code, folder, **environment):
    known = {**os.environ, "PYTHONPATH": str(Path.cwd()), **environment}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True)


def test_threads_that_build_kernels_leave_the_configuration_of_numba_as_it_was(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    done = python(FOUR_THREADS, here, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert list(here.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be made below a file there either")
def test_kernels_run_without_a_writable_cache_and_leave_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = """
    import numpy as np
    from mtpsim.kernels.philox import philox_block
    out = np.empty(4, np.uint64)
    philox_block(np.zeros(4, np.uint64), np.zeros(2, np.uint64), out)
    print(out[0])
    """
    cache = str(tmp_path / "file" / "cache")
    done = python(code, tmp_path, NUMBA_CACHE_DIR=cache, TMPDIR=str(temporary))
    assert done.stdout.split() == ["1713891541"], done.stderr
    assert list(temporary.iterdir()) == []


CODE = '''
"""A module."""

def double(x):
    """Twice x."""
    return 2 * x  # exact
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("A module.", "Another text.", True),
        ('    """Twice x."""\n', "", True),
        ("  # exact", "", True),
        ("return 2 * x", "return (2 * x)", True),
        ("2 * x", "3 * x", False),
        ("double", "twice", False),
    ],
)
def test_the_hash_of_kernels_is_of_their_code_alone(old, new, same):
    changed = hash_of_code({"a.py": CODE.replace(old, new)})
    assert (changed == hash_of_code({"a.py": CODE})) == same
    assert changed != hash_of_code({"b.py": CODE.replace(old, new)})


def test_the_hash_is_remembered_by_the_whole_text_of_the_files(monkeypatch, tmp_path):
    known, counted = jit.kernel_hash(), []
    monkeypatch.setattr(jit, "_cache_home", lambda: tmp_path / "new")
    monkeypatch.setattr(jit, "hash_of_code", lambda code: counted.append(1) or hash_of_code(code))
    assert [jit.kernel_hash.__wrapped__() for _ in range(2)] == [known, known]
    assert len(counted) == 1
    (file,) = (tmp_path / "new").iterdir()
    file.write_text(known[:5])  # as of a full disk
    assert jit.kernel_hash.__wrapped__() == known == file.read_text()


@jit.bare
def add(x, y):
    return x + y


def test_parts_of_kernels_compile_once_for_constants_and_variables_alike():
    def total(count):
        found = add(0, 1)
        for number in range(count):
            found = add(found, number)
        return found

    assert jit.kernel(total)(4) == add(1, 6) == 7
    assert [str(types) for types in getattr(add, "signatures", [])] in ([], ["(int64, int64)"])


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NumPy flattens any order")
def test_rows_in_another_order_are_not_read_flat():
    last = jit.kernel(lambda table: jit.flat(table)[1])
    assert last(np.array([[1.0, 2.0], [3.0, 4.0]])) == 2
    with pytest.raises(numba.TypingError):
        last(np.array([[1.0, 2.0], [3.0, 4.0]], order="F"))


CACHED = """
import logging, sys
from pathlib import Path

from mtpsim.kernels import jit

def function(x):
    return x + 1

assert jit.kernel(function)(1) == 2
for file in Path(jit.CACHE_FOLDER).glob(sys.argv[1]):
    file.write_bytes(b"damaged")
"""


@pytest.mark.parametrize("files", ["*.nbi", "*.nbc"])
def test_a_damaged_cache_is_named_and_replaced(files, tmp_path):
    code = tmp_path / "code.py"
    code.write_text(CACHED)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "NUMBA_CACHE_DIR": str(tmp_path)}
    errors = [
        subprocess.run(
            [sys.executable, code, pattern], env=environment, capture_output=True, text=True
        ).stderr
        for pattern in (files, "nothing", "nothing")
    ]
    assert errors[0] == errors[2] == ""
    assert f"the cache of kernels in {tmp_path}" in errors[1]
    assert "is damaged and is written again (UnpicklingError)" in errors[1]


def test_a_cache_that_can_not_be_written_is_named(monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jit.caching.IndexDataCacheFile, "save", full)
    monkeypatch.setattr(jit, "_reported", set())
    monkeypatch.setattr(jit.log, "disabled", False)  # other libraries disable existing loggers
    kernel = jit.kernel(lambda x: x + 2)
    assert kernel(1) == 3
    assert f"{jit.CACHE_FOLDER} can't be written, so each run compiles" in caplog.text
    assert "(No space left on device)" in caplog.text
