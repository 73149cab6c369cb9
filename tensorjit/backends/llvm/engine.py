"""From LLVM IR to machine code in this process.

    module (llvmlite.ir) -> verify -> passes -> object bytes -> Library with addresses

`Engine.compile_ir` gives plain bytes, so that a disk cache can keep them; `Engine.link` takes such bytes
back, together with the addresses of the symbols the object leaves open. Closing a `Library` frees its code.

>>> from llvmlite import ir
>>> module = ir.Module("example")
>>> function = ir.Function(module, ir.FunctionType(ir.IntType(64), []), "tj_answer")
>>> _ = ir.IRBuilder(function.append_basic_block()).ret(ir.IntType(64)(42))
>>> library = default_engine().link(default_engine().compile_ir(module), {}, exports=["tj_answer"])
>>> import ctypes
>>> ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("tj_answer"))()
42
>>> library.close()
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from llvmlite.binding import ffi

from tensorjit.backends.llvm.targets import check_name, lacking
from tensorjit.records import dataclass
from tensorjit.runtime.locks import not_waiting

__all__ = ["HOST", "MINIMAL_PASSES", "Engine", "Library", "Target", "check_runs_here", "default_engine", "host_target"]

HOST = "host"
"""The name of the target that is this very machine, its CPU features included."""

MINIMAL_PASSES = ("simplify_cfg", "sroa", "instruction_combine")
"""Enough to tidy host code (the default pipeline costs three times the compile and leaks inside llvmlite)."""

_FORBIDDEN_PASSES = frozenset({"new_gvn"})  # aborts the process on large functions


@dataclass(frozen=True, slots=True)
class Target:
    """What code is made for. `features` is LLVM's list ("+avx2,-avx512f"), empty for all that the CPU name
    implies."""

    triple: str
    cpu: str
    features: str = ""
    opt: int = 2

    def __post_init__(self) -> None:
        # opt=0 aborts the process on verified AVX-512 IR
        if self.opt not in (2, 3):
            raise ValueError(f"opt must be 2 or 3, not {self.opt}")


def host_target(name: str = HOST, opt: int = 2) -> Target:
    """The target for this machine's triple: `"host"`, or a named CPU of the same architecture, such as
    `"x86-64-v3"`.

    >>> host_target("x86-64-v3").cpu
    'x86-64-v3'
    """
    triple = llvm.get_process_triple()
    if name == HOST:
        return Target(triple, llvm.get_host_cpu_name(), _host_features(), opt)
    check_name(name, triple.partition("-")[0])
    return Target(triple, name, "", opt)


def check_runs_here(target: Target) -> None:
    """ValueError where this machine lacks instructions that code for a target may use: it would end the process."""
    if target.cpu == llvm.get_host_cpu_name():
        return
    _initialise()
    missing = lacking(target.triple, target.cpu, _host_features())
    if missing:
        raise ValueError(f"this machine cannot run code for the target {target.cpu!r}: it lacks {', '.join(missing)}")


def _host_features() -> str:
    try:
        return str(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # not known on this platform: what the CPU's name implies
        return ""


def _lock_of_llvmlite() -> Any:
    """The lock under which llvmlite makes each of its calls: one of our own would be taken before it here, and after it by a signal
    handler or a finaliser that compiles and comes within such a call."""
    return getattr(getattr(ffi.lib, "_lock", None), "_lock", None) or threading.RLock()


_llvm_lock = _lock_of_llvmlite()


@contextmanager
def _in_llvm() -> Iterator[None]:
    """Around calls of LLVM that belong together."""
    with not_waiting(), _llvm_lock:
        yield


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()  # inline assembly is parsed


def _create_machine(target: Target) -> llvm.TargetMachine:
    # pic and small: what is imported may be far away, a library itself is one piece
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=target.opt, reloc="pic", codemodel="small"
    )


def _create_cold_machine(triple: str) -> llvm.TargetMachine:
    return llvm.Target.from_triple(triple).create_target_machine(opt=0, reloc="pic", codemodel="small")


class Library:
    """Linked code. It lives until `close`, or until the last reference to this object goes.

    `keep` holds what the code refers to by address: Python objects, other libraries.
    """

    __slots__ = ("__weakref__", "_tracker", "addresses", "keep")

    def __init__(self, tracker: llvm.orcjit.ResourceTracker, addresses: Mapping[str, int], keep: Sequence[object]) -> None:
        self._tracker = tracker
        self.addresses = addresses
        self.keep = keep

    def address(self, name: str) -> int:
        """Where the exported symbol `name` is."""
        if self.closed:
            raise ValueError("the library is closed")
        return self.addresses[name]

    @property
    def closed(self) -> bool:
        """Whether the code is gone."""
        return bool(self._tracker.closed)

    def close(self) -> None:
        """Free the code. No thread may be inside it."""
        with _in_llvm():
            self._tracker.close()
        self.keep = ()


class Engine:
    """Compiles for one target; links into this process."""

    def __init__(self, target: Target | None = None) -> None:
        _initialise()
        self.target = host_target() if target is None else target
        self._machine = _create_machine(self.target)

    @property
    def arch(self) -> str:
        """The processor's family: "x86_64", "aarch64"."""
        return self.target.triple.partition("-")[0]

    # -- compiling

    def compile_ir(self, module: ir.Module | str, passes: Sequence[str] = (), *, pipeline: bool = False) -> bytes:
        """The object file of `module`, verified first. `passes` are names of llvmlite's `add_…_pass` methods;
        `pipeline=True` runs the default O3 pipeline after them (for loops that LLVM is to vectorise)."""
        with self._parsed(module, passes, pipeline) as parsed:
            return bytes(self._machine.emit_object(parsed))

    def compile_cold(self, module: ir.Module | str) -> bytes:
        """The object file of host code that seldom runs: not optimised, in a fifth of the time. Vectors are not for it: without
        optimisation LLVM aborts on AVX-512, so this is code for any CPU of the architecture."""
        with self._parsed(module, (), False) as parsed:
            return bytes(_create_cold_machine(self.target.triple).emit_object(parsed))

    def as_llvm(self, module: ir.Module | str, passes: Sequence[str] = (), *, pipeline: bool = False) -> str:
        """The LLVM text of `module` after the passes."""
        with self._parsed(module, passes, pipeline) as parsed:
            return str(parsed)

    def as_asm(self, module: ir.Module | str, passes: Sequence[str] = (), *, pipeline: bool = False) -> str:
        """The assembly of `module` after the passes."""
        with self._parsed(module, passes, pipeline) as parsed:
            return str(self._machine.emit_assembly(parsed))

    @contextmanager
    def _parsed(self, module: ir.Module | str, passes: Sequence[str], pipeline: bool) -> Iterator[llvm.ModuleRef]:
        # one context a module: the global one would keep every type and constant of every compile
        with _in_llvm():
            context = llvm.create_context()
            try:
                parsed = llvm.parse_assembly(str(module), context)
                try:
                    parsed.triple = self.target.triple
                    parsed.data_layout = str(self._machine.target_data)
                    parsed.verify()
                    self._run_passes(parsed, passes, pipeline)
                    yield parsed
                finally:
                    parsed.close()
            finally:
                context.close()

    def _run_passes(self, parsed: llvm.ModuleRef, passes: Sequence[str], pipeline: bool) -> None:
        if not passes and not pipeline:
            return
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        options.slp_vectorization = True
        # the builder must outlive the pass managers that run with it
        builder = llvm.create_pass_builder(self._machine, options)
        try:
            if passes:
                _pass_manager(passes).run(parsed, builder)
            if pipeline:
                builder.getModulePassManager().run(parsed, builder)
        finally:
            builder.close()

    # -- linking

    def link(
        self,
        objects: bytes | Iterable[bytes],
        symbols: Mapping[str, int],
        *,
        exports: Sequence[str],
        keep: Sequence[object] = (),
    ) -> Library:
        """Load object files into this process as one library: `symbols` gives the addresses of what they
        leave open.

        Raises RuntimeError if a symbol is missing or the bytes are no object for this machine.
        """
        with _in_llvm():
            builder = llvm.JITLibraryBuilder()
            for data in (objects,) if isinstance(objects, bytes) else objects:
                builder.add_object_img(data)
            for name, address in symbols.items():
                builder.import_symbol(name, address)
            for name in exports:
                builder.export_symbol(name)
            tracker = builder.link(_linkers.next(), f"tj_library_{next(_library_numbers)}")
        return Library(tracker, {name: tracker[name] for name in exports}, keep)


_library_numbers = itertools.count()  # a name can not be used again, not even after its library is gone


def _pass_manager(passes: Sequence[str]) -> llvm.ModulePassManager:
    manager = llvm.create_new_module_pass_manager()
    for name in passes:
        if name in _FORBIDDEN_PASSES:
            raise ValueError(f"the pass {name} is not safe to run")
        add: Callable[[], None] = getattr(manager, f"add_{name}_pass")
        add()
    return manager


class _Linkers:
    """Hands out LLJIT instances, a new one every `LIBRARIES` libraries.

    LLJIT keeps 10 KB of each library that is closed, for as long as it lives itself; libraries keep theirs
    alive.
    """

    LIBRARIES = 64

    def __init__(self) -> None:
        self._served = 0
        self._current: llvm.orcjit.LLJIT | None = None

    def next(self) -> llvm.orcjit.LLJIT:
        """An instance that takes one library more."""
        if self._current is None or self._served == self.LIBRARIES:
            _initialise()
            self._current = llvm.create_lljit_compiler(_create_machine(host_target()), use_jit_link=True, suppress_errors=True)
            self._served = 0
        self._served += 1
        return self._current


_linkers = _Linkers()


@functools.lru_cache(maxsize=8)
def default_engine(target: Target | None = None) -> Engine:
    """The process's engine for a target, this machine by default."""
    return Engine(target)
