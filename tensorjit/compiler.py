"""The whole compiler on one page.

    generic Graph  -> specialise  -> rollback (traces)  -> simplify  -> lower (fuse, kernels, storage)  -> backend  -> Executable

A pass is a function Graph -> Graph. The verifier runs after each of them where `CHECK` is set (in the tests), and before a backend
always.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from types import FunctionType
from typing import Any, final

from tensorjit.backends import reference
from tensorjit.config import Options
from tensorjit.frontend import script
from tensorjit.ir.graph import Graph
from tensorjit.ir.signature import ArraySig, Signature, flat
from tensorjit.ir.verifier import verify_graph
from tensorjit.loading import loading
from tensorjit.ops import ATTRIBUTES, METHODS, OPS, find
from tensorjit.passes.lower import lower
from tensorjit.passes.rollback import rollback
from tensorjit.passes.simplify import simplify
from tensorjit.passes.specialise import Library, Names, Specialised, specialise
from tensorjit.records import dataclass
from tensorjit.runtime.callable import NativeEntry

Pass = Callable[[Graph], Graph]

NUMPY = Library(OPS, find, METHODS, ATTRIBUTES)
SIMPLIFY: tuple[tuple[str, Pass], ...] = (("simplify", simplify),)
LOWER: tuple[tuple[str, Pass], ...] = (("lower", lambda graph: lower(graph, OPS)),)
CHECK = False


@final
@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What is compiled: a generic graph, where its names come from, and the defaults of its parameters."""

    graph: Graph
    names: Names
    defaults: Mapping[int, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True)
class CallForm:
    """How a call passes its arguments: so many by position, then these keywords. `order[k]` is the index of the parameter that the
    k-th given argument goes to; -1: it is an item of the star parameter."""

    positional: int
    keywords: tuple[str, ...]
    order: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Executable:
    """What runs for one signature and call form; `entry` is native, `run` is the reference backend's."""

    form: CallForm
    signature: Signature
    specialised: Specialised
    graph: Graph
    lowered: Graph | None
    entry: NativeEntry | None
    seconds: float

    def run(self, leaves: Sequence[Any]) -> Any:
        """Run op by op in NumPy: the arguments' leaves in the order of the graph's params, then the captured arrays."""
        return reference.run(self.graph, leaves)


_parsed: dict[Any, Graph] = {}
_MAX_PARSED = 512


def parse(function: FunctionType) -> Graph:
    """The generic graph of a plain function, remembered by its code."""
    # equal code of two files is equal, but its places are not
    key = (function.__code__, function.__code__.co_filename)
    graph = _parsed.get(key)
    if graph is None:
        if len(_parsed) >= _MAX_PARSED:
            _parsed.clear()
        graph = _parsed[key] = script.parse(function).graph
    return graph


def run_passes(graph: Graph, passes: Sequence[tuple[str, Pass]]) -> Graph:
    """Run passes in order; with `CHECK`, verify after each."""
    for _, run in passes:
        graph = run(graph)
        if CHECK:
            verify_graph(graph, "specialised")
    return graph


def analyse(source: Source, signature: Signature) -> tuple[Specialised, Graph]:
    """The typed graph of a signature, as specialised and as simplified."""
    defaults = [source.defaults.get(k) for k in range(len(signature.params))]
    specialised = specialise(source.graph, source.names, signature, defaults, NUMPY, parse)
    if CHECK:
        verify_graph(specialised.graph, "specialised")
    kept = rollback(specialised.graph, writable_params(specialised, signature))
    return specialised, run_passes(kept, SIMPLIFY)


def writable_params(specialised: Specialised, signature: Signature) -> frozenset[int]:
    """The params of the typed graph that are arrays which may be written."""
    leaves = list(flat(signature.params))
    sigs = [*(leaves[k] for k in specialised.leaves), *(i.signature for i in specialised.implicit)]
    return frozenset(k for k, sig in enumerate(sigs) if isinstance(sig, ArraySig) and sig.writable)


def compile(source: Source, signature: Signature, form: CallForm, options: Options) -> Executable:
    """Compile one signature."""
    start = time.perf_counter()
    specialised, graph = analyse(source, signature)
    lowered, entry = None, None
    if options.backend == "llvm":
        lowered = run_passes(graph, LOWER)
        verify_graph(lowered, "specialised")
        entry = native().compile_graph(lowered, specialised, signature, form, options.target)
    seconds = time.perf_counter() - start
    _log("compiled %s for %s in %.1f ms", source.graph.name, signature, 1e3 * seconds)
    return Executable(form, signature, specialised, graph, lowered, entry, seconds)


def _log(message: str, *args: object) -> None:
    """To the logger "tensorjit", if anybody can be listening: loading `logging` for nobody takes 2 ms of the first call."""
    if "logging" in sys.modules:
        sys.modules["logging"].getLogger("tensorjit").info(message, *args)


def native() -> Any:
    """The LLVM backend; llvmlite loads when it is first needed."""
    with loading():
        from tensorjit.backends.llvm import compile as backend  # noqa: PLC0415

    return backend
