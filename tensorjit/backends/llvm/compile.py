"""From a lowered graph to a linked native entry: what the rest of the package calls of this backend."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, final

import numpy as np

from tensorjit.backends.llvm import entry as entries
from tensorjit.backends.llvm.clib import IMPLICIT, c_symbols
from tensorjit.backends.llvm.driver import Driver
from tensorjit.backends.llvm.engine import Engine, check_runs_here, default_engine, host_target
from tensorjit.backends.llvm.entry import (
    ArrayParam,
    CaptureParam,
    EntryCode,
    EntrySpec,
    LinkedEntry,
    NoneParam,
    Overlap,
    Param,
    ScalarParam,
    StaticParam,
    TupleParam,
)
from tensorjit.backends.llvm.kernels import Target
from tensorjit.backends.llvm.pyapi import HostBuilder
from tensorjit.ir.graph import Graph
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.signature import ArraySig, DefaultSig, ParamSig, Place, ScalarSig, Signature, StaticSig, TupleSig, flat
from tensorjit.ops import OPS
from tensorjit.passes.specialise import Guard, Implicit, Specialised
from tensorjit.passes.specialise.state import MISSING
from tensorjit.records import dataclass
from tensorjit.runtime.fpstatus import reporter

_PYTHON_KINDS = {"b": "bool", "i": "int", "f": "float", "c": "complex"}
_PLAIN = (bool, int, float, complex, str, bytes, tuple)


@final
@dataclass(frozen=True, slots=True)
class Code:
    """A compiled module before it is linked, and the ops that it is made of."""

    entry: EntryCode
    pipeline: bool


def compile_graph(lowered: Graph, specialised: Specialised, signature: Signature, form: Any, target: str) -> LinkedEntry:
    """The native entry of one signature and call form."""
    engine = _engine(target)
    check_runs_here(engine.target)
    code = emit(lowered, specialised, signature, form, engine)
    data = engine.compile_ir(code.entry.module, pipeline=code.pipeline)
    symbols = c_symbols([*code.entry.module.globals, *IMPLICIT])
    return entries.link_entry(engine, data, code.entry, symbols=symbols)


def as_text(lowered: Graph, specialised: Specialised, signature: Signature, form: Any, target: str, what: str) -> str:
    """The module as LLVM IR (`what="llvm"`) or assembly (`"asm"`)."""
    engine = _engine(target)
    code = emit(lowered, specialised, signature, form, engine)
    show = engine.as_llvm if what == "llvm" else engine.as_asm
    return show(code.entry.module, pipeline=code.pipeline)


def emit(lowered: Graph, specialised: Specialised, signature: Signature, form: Any, engine: Engine) -> Code:
    """The module of one entry."""
    order, params = _given(signature, form, specialised)
    place = {leaf: k for k, leaf in enumerate(order)}
    aligned = all(sig.aligned for sig in flat(signature.params) if isinstance(sig, ArraySig))
    driver = Driver(lowered, OPS, Target(_vector_bytes(engine)), aligned)
    spec = EntrySpec(
        params,
        form.keywords,
        _captures(specialised),
        _equal_dims(signature, specialised, order),
        _overlaps(signature, specialised, order),
        fp_status=driver.reads_flags,
        handled=bool(lowered.attrs.get("handled")),
    )

    def body(host: HostBuilder, values: list[Any]) -> None:
        given = list(_leaves(values[: len(params)]))
        captured = [
            v for v, c in zip(values[len(params) :], spec.captures, strict=True) if isinstance(c.param, ArrayParam | ScalarParam)
        ]
        driver.body(host, [*(given[place[leaf]] for leaf in specialised.leaves), *captured])

    def raiser(code: int, *numbers: int) -> None:
        driver.errors[code].throw(numbers)

    report = reporter(fused_names(lowered))
    entry = entries.build_entry(spec, body, arch=engine.arch, raiser=raiser, report=report)
    return Code(entry, driver.wants_pipeline)


def fused_names(lowered: Graph) -> Sequence[str]:
    """The names of the elementwise ops and reductions that a lowered graph runs, for warnings."""
    names: list[str] = []
    for op in lowered.walk():
        kernel = op.attrs.get("kernel")
        if isinstance(kernel, Kernel):
            names += kernel.ops
        elif op.name in OPS and OPS[op.name].kind == "elementwise":
            names.append(f"scalar {op.name}")
    silent = {"cast", "copy", "full", "iota", "store", "where"}
    return [n for n in names if n not in silent] or names


@functools.lru_cache(maxsize=8)
def _engine(target: str) -> Engine:
    return default_engine(host_target(target))


def _vector_bytes(engine: Engine) -> int:
    features = engine.target.features
    if "+avx512f" in features or "x86-64-v4" in engine.target.cpu:
        return 64
    return 32 if "+avx2" in features or "x86-64-v3" in engine.target.cpu else 16


# -- the entry's spec ------------------------------------------------------------------------------------------


def _given(signature: Signature, form: Any, specialised: Specialised) -> tuple[list[int], tuple[Param, ...]]:
    """The leaves in the order of the call, and the params that check them."""
    starts: list[int] = []
    count = 0
    for sig in signature.params:
        starts.append(count)
        count += len(list(flat([sig])))
    written = {specialised.leaves[k] for k in specialised.written if k < len(specialised.leaves)}
    order: list[int] = []
    params: list[Param] = []
    star = 0
    for index in form.order:
        if index >= 0:
            sig, start = signature.params[index], starts[index]
        else:
            whole = signature.params[~index]
            assert isinstance(whole, TupleSig)
            sig, start = whole.items[star], starts[~index] + len(list(flat(whole.items[:star])))
            star += 1
        leaves = range(start, start + len(list(flat([sig]))))
        order += leaves
        it = iter(leaves)
        params.append(_param(sig, it, written))
    return order, tuple(params)


def _param(sig: ParamSig, leaves: Iterator[int], written: set[int]) -> Param:
    if isinstance(sig, TupleSig):
        return TupleParam(tuple(_param(i, leaves, written) for i in sig.items), list if sig.is_list else sig.record or tuple)
    leaf = next(leaves)
    if isinstance(sig, ArraySig):
        return array_param(sig, leaf in written)
    if isinstance(sig, ScalarSig):
        kind = sig.type.dtype.kind
        return ScalarParam(_PYTHON_KINDS[kind] if sig.type.python else sig.type.dtype.numpy)  # type: ignore[arg-type]
    if isinstance(sig, StaticSig):
        return static_param(sig.value)
    assert not isinstance(sig, DefaultSig), "a default is not given by the call"
    raise AssertionError(sig)


def array_param(sig: ArraySig, written: bool) -> ArrayParam:
    """The check of one array. A read-only array that the function would write is another version: there it raises."""
    dims: tuple[int | None, ...] = sig.exact or tuple(1 if one else None for one in sig.ones)
    layout = {"C": "C", "F": "F", "A": "strided"}[sig.layout]
    writable = (True if written else None) if sig.writable else False
    overlap = False if written and sig.layout == "A" and sig.writable else None
    return ArrayParam(sig.dtype.numpy, sig.rank, layout, writable, sig.aligned, dims, overlap)  # type: ignore[arg-type]


def static_param(value: Any) -> Param:
    """The check of a value that was known while compiling."""
    if value is None:
        return NoneParam()
    return StaticParam(value, identity=not isinstance(value, (*_PLAIN, np.dtype, np.integer)))


def _captures(specialised: Specialised) -> tuple[CaptureParam, ...]:
    """What is read from elsewhere: guards in their order, then arrays."""
    arrays = [CaptureParam(i.source, _implicit_param(i, _is_written(specialised, i))) for i in specialised.implicit]
    told = {i.source.key for i in specialised.implicit} | {g.source.key for g in specialised.guards if g.expected is not MISSING}
    guards = [CaptureParam(g.source, static_param(_expected(g))) for g in specialised.guards if _is_guarded(g, told)]
    return (*guards, *arrays)


def _implicit_param(implicit: Implicit, written: bool) -> Param:
    sig = implicit.signature
    return array_param(sig, written) if isinstance(sig, ArraySig) else ScalarParam(sig.type.dtype.numpy)


def _expected(guard: Guard) -> Any:
    source = guard.source
    if source.kind == "global" and source.name not in source.container:
        return MISSING  # a builtin: as long as the function's module does not define its name
    return guard.expected


def _is_guarded(guard: Guard, told: Collection[tuple[Any, ...]]) -> bool:
    source = guard.source
    if source.kind == "what":  # not where the object's own check says it
        return source.container.key not in told
    return source.kind != "constant"


def _is_written(specialised: Specialised, implicit: Implicit) -> bool:
    return specialised.graph.params.index(implicit.value) in specialised.written


def _array_numbers(signature: Signature, order: Sequence[int]) -> dict[int, int]:
    arrays = {k for k, sig in enumerate(flat(signature.params)) if isinstance(sig, ArraySig)}
    return {leaf: n for n, leaf in enumerate(leaf for leaf in order if leaf in arrays)}


def _equal_dims(signature: Signature, specialised: Specialised, order: Sequence[int]) -> tuple[tuple[Place, Place], ...]:
    number = _array_numbers(signature, order)
    given = [((number[a], i), (number[b], j)) for (a, i), (b, j) in signature.equal]
    captured = [len(specialised.leaves) + k for k, i in enumerate(specialised.implicit) if isinstance(i.signature, ArraySig)]
    params = {k: number[leaf] for k, leaf in enumerate(specialised.leaves) if leaf in number}
    params |= {k: n for n, k in enumerate(captured, len(number))}
    return (*given, *(((params[a], i), (params[b], j)) for (a, i), (b, j) in specialised.equal))


def _overlaps(signature: Signature, specialised: Specialised, order: Sequence[int]) -> tuple[Overlap, ...]:
    number = _array_numbers(signature, order)
    written = {specialised.leaves[k] for k in specialised.written if k < len(specialised.leaves)}
    disjoint, identical = set(signature.disjoint), set(signature.identical)
    alike = {a: a for a in number}  # an array -> one that it is identical to, as far as that is checked
    out = []
    for a, b in itertools.combinations(sorted(number), 2):
        if not (a in written or b in written):
            continue
        if (a, b) in disjoint:
            out.append(Overlap(number[a], number[b], "disjoint"))
        elif (a, b) not in identical:
            out.append(Overlap(number[a], number[b], "overlapping"))
        elif alike[a] != alike[b]:  # else it follows from others
            old, new = alike[b], alike[a]
            alike.update({c: new for c, d in alike.items() if d == old})
            out.append(Overlap(number[a], number[b], "identical"))
    return tuple(out)


def _leaves(values: Sequence[Any]) -> Iterator[Any]:
    for v in values:
        if isinstance(v, tuple):
            yield from _leaves(v)
        else:
            yield v
