"""The decorators that compile kernels, and the cache of compiled kernels.

Numba's own cache checks only the file that defines the function, so a change in a helper of another
file would leave stale machine code. Here the cache folder is named after a hash of all kernel code.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import caching, cgutils, event, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher
from numba.core.runtime.nrt import rtsys
from numba.extending import intrinsic

from mtpsim.common.compilation import compilation
from mtpsim.kernels.arrays import BLOCK

Function = Callable[..., Any]
log = logging.getLogger("mtpsim")
_reported: set[str] = set()
_addressed: list[Any] = []
HASH_BYTES = 8
LOADS = (
    (0, 61),
    (0, 68),
)  # releases of numba, first and last, whose cached kernels load by themselves


@cache
def kernel_hash() -> str:
    """Hash of the code of all kernels; two runs may be merged only if it agrees.

    Policy rules are compiled too, so they count. Comments, docstrings and layout do not.
    """
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), *sorted((here.parent / "policy").glob("*.py"))]
    sources = {path.name: path.read_text(encoding="utf-8") for path in files}
    whole = f"{sys.version_info} {sources}".encode()
    known = _cache_home() / f"{hashlib.blake2b(whole, digest_size=8).hexdigest()}.hash"
    with suppress(OSError):  # parsing all the code would take as long as importing NumPy
        if len(found := known.read_text()) == 2 * HASH_BYTES:
            return found
    found = hash_of_code(sources)
    with suppress(OSError):
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(found)
    return found


def _cache_home() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    config: Any = numba.config
    return Path(config.CACHE_DIR or os.path.join(home, "mtpsim")).absolute()


def hash_of_code(sources: dict[str, str]) -> str:
    """Hash of Python files without their comments, docstrings and layout.

    Args:
        sources: text of each file, by file name.
    """
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for name, source in sources.items():
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        digest.update(f"{name}\0{ast.unparse(tree)}\0".encode())
    return digest.hexdigest()


def _cache_folder() -> str | None:
    """Folder of the compiled kernels; None if it is not writable: each process then compiles."""
    folder = _cache_home() / kernel_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return None


CACHE_FOLDER = _cache_folder()


def none_compiled() -> bool:
    """Whether the cache holds no kernel yet, so that the next run compiles some."""
    return CACHE_FOLDER is None or not any(Path(CACHE_FOLDER).glob("*.nbi"))


class _Listener(event.Listener):
    """Reports compilations, which happen one at a time: numba holds a lock."""

    def on_start(self, event: Any) -> None:
        compilation.begin()

    def on_end(self, event: Any) -> None:
        compilation.end()


event.register("numba:compile", _Listener())


class _Locator(caching._CacheLocator):
    """Caches every kernel in one folder without changing numba's global configuration."""

    @classmethod
    def from_function(cls, function: Function, file: str) -> _Locator:
        return cls()

    def get_cache_path(self) -> str:
        return str(CACHE_FOLDER)

    def get_source_stamp(self) -> str:
        return kernel_hash()

    def get_disambiguator(self) -> str:
        return "kernel"


class _CacheImpl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # type: ignore[list-item] # noqa: RUF012


class _Cache(caching.FunctionCache):
    """A cache that costs a compilation, not the run, if it is damaged or can't be written."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            if not LOADS[0] <= numba.version_info.short <= LOADS[1]:
                return super().load_overload(sig, target_context)
            rtsys.initialize(target_context)  # all that machine code needs; numba loads much more
            return self._load_overload(sig, target_context)
        except Exception as error:  # unpickling damaged bytes may raise anything
            return self._without(error, "is damaged and is written again")

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._without(error, "can't be written, so each run compiles the kernels again")

    def _without(self, error: Exception, text: str) -> None:
        """Forget the entries of this function, and say once which folder it is about."""
        if not _reported:
            reason = getattr(error, "strerror", None) or type(error).__name__
            log.warning("the cache of kernels in %s %s (%s)", CACHE_FOLDER, text, reason)
        _reported.add(text)
        with suppress(OSError):
            self.flush()


def kernel(function: Function, **options: bool) -> Function:
    """Jit for the hot paths: no GIL, cached, IEEE division, no reassociation (bit-identical)."""
    njit: Any = numba.njit
    options = {"nogil": True, "no_cfunc_wrapper": True, **options}
    jitted: Function = njit(error_model="numpy", **options)(function)
    if CACHE_FOLDER is not None:
        jitted._cache = _Cache(function)  # type: ignore[attr-defined]
    return jitted


def bare_kernel(function: Function) -> Function:
    """The same for a kernel that makes no arrays: see :func:`bare`."""
    return kernel(function, _nrt=False)


def unaliased(function: Function, **options: bool) -> Function:
    """The same for a kernel whose arrays do not overlap, so that its loops can be vectorised."""
    jitted: Any = kernel(function, _nrt=False, **options)
    if isinstance(jitted, Dispatcher):  # not while numba is disabled
        compiler: Any = jitted
        compiler._compiler._customize_flags = _noalias
    found: Function = jitted
    return found


def helper(function: Function) -> Function:
    """Jit for what kernels call: compiled into its caller, so not cached by itself."""
    jitted: Function = numba.njit(nogil=True, error_model="numpy")(function)
    return jitted


def inlined(function: Function) -> Function:
    """Jit for scalars within a loop over lanes: a call would keep it from vectorising."""
    jitted: Function = numba.njit(nogil=True, error_model="numpy", inline="always")(function)
    return jitted


def _noalias(flags: Any) -> Any:
    flags.noalias = True
    return flags


class _Part(JITCodeLibrary):
    """Code that is linked into the kernels that call it, and never becomes machine code alone.

    Making that would take as long as making the kernel's own.
    """

    def _finalize_final_module(self) -> None:
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> _Part:
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Drop what only code that raises or handles objects reads."""


class _PartCompiler(Compiler):
    def compile_extra(self, func: Function) -> Any:
        self.state.library = _Part(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class _Bare(Dispatcher):
    """Has no entry for Python, where the uncompiled function runs instead."""

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile once for all integers, not again for each constant that is an argument."""
        return super().get_call_template([types.unliteral(arg) for arg in args], kws)


def bare(function: Function, inline: str = "never") -> Function:
    """Jit for what kernels call and what makes no arrays.

    Counting references to arrays would cost ten times the work, and the entries for Python and C
    half of the compilation. The options have no public names.
    """
    njit: Any = numba.njit
    options: dict[str, Any] = {"_nrt": False, "pipeline_class": _PartCompiler}
    options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    jitted: Function = njit(nogil=True, error_model="numpy", inline=inline, **options)(function)
    if isinstance(jitted, Dispatcher):  # not while numba is disabled
        jitted.__class__ = _Bare
    return jitted


def bare_inlined(function: Function) -> Function:
    """The same for what is called each round: handing over all the arrays costs more than it."""
    return bare(function, "always")


def _row(context: Any, builder: Any, array: Any, data: Any, count: Any, step: int = 1) -> Any:
    """An array of one axis over memory that it doesn't own, its numbers ``step`` apart."""
    size = array.dtype.bitwidth // 8
    width, apart = (context.get_constant(types.intp, bytes) for bytes in (size, size * step))
    found = context.make_array(array)(context, builder)
    context.populate_array(
        found, data=data, shape=[count], strides=[apart], itemsize=width, meminfo=None
    )
    return found._getvalue()


def _on_stack(element: Any, word: Any, size: Any) -> Any:
    if not isinstance(size, types.IntegerLiteral):
        return None  # numba tries again with the literal
    array: Any = types.Array(element, 1, "C")
    count = size.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.alloca_once(builder, ir.ArrayType(word, count))
        data = builder.bitcast(data, word.as_pointer())
        return _row(context, builder, array, data, context.get_constant(types.intp, count))

    return array(size), generate


@intrinsic
def _stack_floats(typing: Any, size: Any) -> Any:
    """An array of a constant size on the stack, its content unset.

    LLVM knows that it overlaps with no other array, so loops that write only to it vectorise.
    """
    return _on_stack(types.float64, ir.DoubleType(), size)


@intrinsic
def _stack_ints(typing: Any, size: Any) -> Any:
    """The same of int32."""
    return _on_stack(types.int32, ir.IntType(32), size)


@intrinsic
def _flat(typing: Any, table: Any) -> Any:
    """A contiguous array as one axis; the method ``reshape`` needs modules that load slowly."""
    if table.layout != "C":
        return None  # a view would read other elements, or beyond the end
    array: Any = types.Array(table.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(signature.args[0])(context, builder, arguments[0])
        return _row(context, builder, array, whole.data, whole.nitems)

    return array(table), generate


@intrinsic
def _float_bits(typing: Any, number: Any) -> Any:
    """Bits of a float32 as int32; the method ``view`` needs some of them too."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _column(typing: Any, array: Any, number: Any, size: Any) -> Any:
    """Column of ``size`` rows of BLOCK numbers, which follow each other in an array."""
    view: Any = types.Array(types.float64, 1, "A")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(array)(context, builder, arguments[0])
        data = builder.gep(whole.data, [arguments[1]], inbounds=True)
        return _row(context, builder, view, data, arguments[2], step=BLOCK)

    return view(array, types.intp, types.intp), generate


# Types of the arguments of the kernel of a rule: see :func:`mtpsim.kernels.policies._apply`
FLOATS: Any = types.Array(types.float64, 1, "C")
RULE = types.int64, FLOATS, types.Array(types.int64, 1, "C"), FLOATS, FLOATS, FLOATS


def address_of(function: Function) -> Any:
    """Address of a function compiled for arguments of types RULE, which must not overlap."""
    if _config.DISABLE_JIT:
        return function
    compiled: Any = unaliased(function, no_cpython_wrapper=True)
    compiled.compile(RULE)
    _addressed.append(compiled)  # so that its code stays where it is
    found = compiled.overloads[RULE]
    return found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


@intrinsic
def _call_at(
    typing: Any, address: Any, task: Any, p: Any, ints: Any, floats: Any, hints: Any, memory: Any
) -> Any:
    """Call the function at an address, with arguments of types RULE."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        pointer = convention.get_function_type(types.none, RULE).as_pointer()
        function = builder.inttoptr(arguments[0], pointer)
        status, _ = convention.call_function(builder, function, types.none, RULE, arguments[1:])
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.int64, *RULE), generate


def _call_in_python(function: Function, *arguments: Any) -> None:
    function(*arguments)


def _column_in_python(array: Any, number: int, size: int) -> Any:
    return array[number::BLOCK][:size]


_config: Any = numba.config
stack_floats: Function = _stack_floats
stack_ints: Function = _stack_ints
flat: Function = _flat
float_bits: Function = _float_bits
column: Function = _column
call_at: Function = _call_at
if _config.DISABLE_JIT:
    stack_floats, stack_ints = np.empty, partial(np.empty, dtype=np.int32)
    flat, float_bits = np.ravel, partial(np.float32.view, dtype=np.int32)
    column, call_at = _column_in_python, _call_in_python


def with_globals(function: Function, name: str, **more: Any) -> Function:
    """A copy of a function with other global variables, which numba compiles as constants.

    Numba can't cache a kernel that is handed a jitted function, nor a closure over one; it can
    cache a function whose globals are jitted functions. A branch that a constant excludes is not
    compiled.

    Args:
        function: the template.
        name: of the copy; unique, for the cache.
        more: the global variables that differ.
    """
    copy = FunctionType(function.__code__, {**function.__globals__, **more}, name)
    copy.__qualname__ = name
    return copy
