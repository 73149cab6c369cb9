"""Builds a typed graph from one use of the op table, runs it, and holds it to NumPy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, final
from zlib import crc32

import numpy as np
import pytest

from tensorjit.backends import reference
from tensorjit.compiler import LOWER, SIMPLIFY, CallForm, native, run_passes
from tensorjit.ir.dims import Dim, symbol
from tensorjit.ir.dtypes import from_numpy
from tensorjit.ir.graph import Builder, Graph, Value
from tensorjit.ir.printer import print_graph
from tensorjit.ir.signature import observe as observe_types
from tensorjit.ir.types import PY_BOOL, PY_COMPLEX, PY_FLOAT, PY_INT, ArrayType, Layout, ScalarType, Type
from tensorjit.ir.verifier import verify_graph
from tensorjit.ops import OPS
from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt, of
from tensorjit.ops.typed import TypedBuilder
from tensorjit.passes.specialise import Specialised
from tensorjit.runtime.callable import NativeCallable

Run = Callable[[Graph, Sequence[object]], object]


class _Call(NativeCallable):
    """A graph behind its native entry."""

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise AssertionError("the entry does not take the arguments that it was compiled for")


_compiled: dict[Any, Any] = {}


def run_native(graph: Graph, args: Sequence[object]) -> object:
    """Through every pass and LLVM; all arrays may be written. Equal graphs are compiled once."""
    key = print_graph(graph), observe_types(args)
    call = _compiled.get(key)
    if call is None:
        if len(_compiled) >= 32:
            _compiled.pop(next(iter(_compiled)))._evict_all()
        call = _compiled[key] = _compile(graph, args)
    return call(*args)


def _compile(graph: Graph, args: Sequence[object]) -> Any:
    verify_graph(graph, "specialised")
    order = tuple(range(len(args)))
    written = frozenset(k for k in order if isinstance(graph.params[k].type, ArrayType))
    lowered = run_passes(run_passes(graph, SIMPLIFY), LOWER)
    verify_graph(lowered, "specialised")
    call = _Call()
    given = Specialised(graph, order, (), (), written), observe_types(args), CallForm(len(order), (), order)
    call._install(native().compile_graph(lowered, *given, "host"))
    return call


BACKENDS: dict[str, Run] = {"reference": reference.run, "llvm": run_native}
PYTHON_TYPES = {bool: PY_BOOL, int: PY_INT, float: PY_FLOAT, complex: PY_COMPLEX}


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Run:
    return BACKENDS[request.param]


def type_of(value: Any, index: int, symbols: dict[str, tuple[int, int]]) -> Type:
    """The type of an argument, its sizes but 1 being symbols."""
    if type(value) in PYTHON_TYPES:
        return PYTHON_TYPES[type(value)]
    dtype = from_numpy(value.dtype)
    assert dtype is not None
    if isinstance(value, np.generic):
        return ScalarType(dtype)
    shape: list[Dim] = []
    for axis, size in enumerate(value.shape):
        name = f"x{index}_{axis}"
        shape.append(1 if size == 1 else symbol(name, not_one=True))
        if size != 1:
            symbols[name] = (index, axis)
    layout: Layout = "C" if value.flags.c_contiguous else "F" if value.flags.f_contiguous else "A"
    return ArrayType(dtype, tuple(shape), layout, "writable" if value.flags.writeable else "readonly")


def build(rule: Callable[..., Any], args: Sequence[Any]) -> Graph:
    """The graph of `rule(b, *args)`, where args are parameters."""
    symbols: dict[str, tuple[int, int]] = {}
    params = [Value(type_of(a, k, symbols), f"a{k}") for k, a in enumerate(args)]
    b = TypedBuilder(OPS, Builder(params))
    result = of(rule(b, *params))
    values: list[Value] = []
    structure = _structure(b, result, params, values)
    b.effect("return", values, structure=structure)
    return Graph("test", b.builder.block(), {"symbols": symbols})


def _structure(b: TypedBuilder, x: Abstract, params: Sequence[Value], values: list[Value]) -> Any:
    if isinstance(x, Sequence_):
        return ("list" if x.is_list else "tuple", *(_structure(b, i, params, values) for i in x.items))
    if isinstance(x, Value) and x in params and isinstance(x.type, ArrayType):
        return ("param", params.index(x))
    if isinstance(x, (Value, SymInt)):
        values.append(b.value(x))
        return "value"
    assert isinstance(x, Static)
    return ("const", x.value)


@final
@dataclass(frozen=True)
class Seen:
    """What a call did: its result, or the class and message of what it raised; its warnings."""

    result: Any = None
    error: type[BaseException] | None = None
    message: str = ""
    warnings: tuple[str, ...] = ()


def public(error: type[BaseException]) -> type[BaseException]:
    """NumPy's private subclasses of TypeError count as it."""
    return next(c for c in error.__mro__ if not c.__module__.endswith("._exceptions"))


def observe(function: Callable[..., Any], *args: Any) -> Seen:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function(*args)
        except Exception as error:
            return Seen(error=public(type(error)), message=str(error))
    return Seen(result, warnings=tuple(str(w.message) for w in caught))


def fresh(args: Sequence[Any]) -> list[Any]:
    """Arguments of one's own, of the same strides."""
    copies = []
    for a in args:
        if isinstance(a, np.ndarray) and a.flags.writeable and a.base is None:
            copies.append(a.copy(order="K"))
        else:
            copies.append(a)
    return copies


def same(found: Any, wanted: Any, ulps: int = 0) -> str:
    """What differs between two results; nothing where they are equal to the bit (or to `ulps`), NaN being equal to NaN."""
    if isinstance(wanted, (tuple, list)):
        if type(found) is not type(wanted) or len(found) != len(wanted):
            return f"{found!r} is not {wanted!r}"
        return "".join(same(f, w, ulps) for f, w in zip(found, wanted, strict=True))
    if type(found) is not type(wanted):
        return f"a {type(found).__name__} where NumPy gives a {type(wanted).__name__}"
    if isinstance(wanted, (np.ndarray, np.generic)):
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            return f"{found.dtype}{found.shape} where NumPy gives {wanted.dtype}{wanted.shape}"
        return "" if _equal(np.asarray(found), np.asarray(wanted), ulps) else f"{found!r} is not {wanted!r}"
    if isinstance(wanted, (float, complex)):
        return "" if _equal(np.asarray(found), np.asarray(wanted)) else f"{found!r} is not {wanted!r}"
    return "" if found == wanted else f"{found!r} is not {wanted!r}"


def _equal(found: Any, wanted: Any, ulps: int = 0) -> bool:
    if wanted.dtype.kind == "c" and ulps:  # parts that cancel have no relative bound
        near = np.abs(found - wanted) <= ulps * np.finfo(wanted.dtype).eps * np.abs(wanted) + np.finfo(wanted.dtype).tiny
        return bool((near | ~np.isfinite(wanted)).all())
    if wanted.dtype.kind == "c":
        return _equal(found.real, wanted.real, ulps) and _equal(found.imag, wanted.imag, ulps)
    if wanted.dtype.kind != "f":
        return bool((found == wanted).all())
    alike = (found == wanted) & (np.signbit(found) == np.signbit(wanted))
    if ulps:
        bits = f"i{wanted.dtype.itemsize}"
        near = np.abs(found.view(bits).astype("i8") - wanted.view(bits).astype("i8")) <= ulps
        alike |= (found == wanted) | (near & np.isfinite(wanted))
    return bool((alike | ((found != found) & (wanted != wanted))).all())


@pytest.fixture(name="build")
def _build() -> Callable[..., Graph]:
    return build


@pytest.fixture(name="observe")
def _observe() -> Callable[..., Seen]:
    return observe


Check = Callable[..., None]


# compiling a case takes some 20 ms: without TENSORJIT_TEST_THOROUGH=1 a slow backend takes one in so many, others in each test
STRIDE = {"reference": 1, "llvm": 1 if os.environ.get("TENSORJIT_TEST_THOROUGH") else 16}


@pytest.fixture
def check(backend: Run, request: pytest.FixtureRequest) -> Iterator[Check]:
    """`check(rule, numpy, *args)`: the rule's graph does to the arguments what NumPy's function does.

    `rule` gets a builder and abstract values; a string is the name of a row. `numpy` gets the arguments.
    """
    stride = next(STRIDE[name] for name, run in BACKENDS.items() if run is backend)
    cases = count(crc32(request.node.nodeid.encode()) % stride)

    def run(rule: Any, numpy: Callable[..., Any], *args: Any, message: bool = True, ulps: int = 0) -> None:
        if next(cases) % stride:
            return
        made = (lambda b, *xs: b.call(rule, *xs)) if isinstance(rule, str) else rule
        ours, theirs = fresh(args), fresh(args)
        graph = build(made, ours)
        found, wanted = observe(lambda: backend(graph, ours)), observe(numpy, *theirs)
        where = f"{getattr(numpy, '__name__', numpy)} of {args!r}"
        assert found.error == wanted.error, f"{where}: {found.error} {found.message}, NumPy: {wanted.error} {wanted.message}"
        if wanted.error is not None:
            assert not message or found.message == wanted.message, f"{where}: {found.message!r}, not {wanted.message!r}"
            return
        assert not (difference := same(found.result, wanted.result, ulps)), f"{where}: {difference}"
        for k, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert not isinstance(one, np.ndarray) or not same(one, other, ulps), f"{where}: argument {k}: {one}, not {other}"

    yield run
