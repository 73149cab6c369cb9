"""Kernels compiled and run on arrays, and small kernels to run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm import abi
from tensorjit.backends.llvm.abi import I8, I32, I64, PTR, VOID
from tensorjit.backends.llvm.clib import IMPLICIT, c_symbols
from tensorjit.backends.llvm.engine import Engine, default_engine, host_target
from tensorjit.backends.llvm.kernels import Target, emit_kernel
from tensorjit.backends.llvm.quiet import declare
from tensorjit.ir.dtypes import I64 as INT64
from tensorjit.ir.dtypes import DType
from tensorjit.ir.kernel import (
    Accumulate,
    Apply,
    Expr,
    For,
    Kernel,
    Load,
    LoopKind,
    Reduction,
    ReductionOp,
    Ref,
    ScalarParam,
    Store,
    ViewParam,
)

ENGINES = {"host": host_target(), "x86-64-v3": host_target("x86-64-v3")}
"""By name, the targets that tests run on; the second has no AVX-512."""

N = Ref("n", INT64)
I = Ref("i", INT64)  # noqa: E741
SLOT = 16  # bytes for each argument


def has_avx512() -> bool:
    return "+avx512bw" in host_target().features


class Context(ctypes.Structure):
    """The context that a kernel gets."""

    _fields_ = (
        ("status", ctypes.c_int32),
        ("error_code", ctypes.c_int32),
        ("error_args", ctypes.c_int64 * abi.ERROR_ARGS),
        ("budget", ctypes.c_int64),
        ("fp_status", ctypes.c_int32),
        ("saved_thread", ctypes.c_void_p),
    )


class Runs:
    """Kernels in one module, compiled for a target. `answer` is what a poll says; `polls` counts them."""

    def __init__(self, kernels: Sequence[Kernel], target: str = "host") -> None:
        self.kernels = {k.name: k for k in kernels}
        self.answer = self.polls = self.flags = 0
        engine: Engine = default_engine(ENGINES[target])
        vector_bytes = 64 if target == "host" and has_avx512() else 32
        module = ir.Module("tests")
        names = [_add_entry(module, emit_kernel(module, k, Target(vector_bytes))) for k in kernels]
        self.module, self.engine = module, engine
        self._poll = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(self._on_poll)
        open_names = [n for n, g in module.globals.items() if getattr(g, "is_declaration", False)]
        symbols = c_symbols([*open_names, *IMPLICIT])
        symbols["tj_rt_poll"] = ctypes.cast(self._poll, ctypes.c_void_p).value or 0
        self._library = engine.link(engine.compile_ir(module), symbols, exports=names)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
        self._functions = {k.name: prototype(self._library.address(n)) for k, n in zip(kernels, names, strict=True)}

    def assembly(self) -> str:
        return self.engine.as_asm(self.module)

    def _on_poll(self, context: int) -> int:
        self.polls += 1
        return self.answer

    def __call__(self, name: str, arrays: Sequence[np.ndarray[Any, Any]], *scalars: Any, budget: int = 1 << 40) -> int:
        """Run a kernel: its code. `flags` has the floating-point flags it raised, as NumPy's bits."""
        kernel = self.kernels[name]
        raw = bytearray()
        for view, array in zip(kernel.views, arrays, strict=True):
            assert array.dtype == view.dtype.numpy and array.ndim == view.rank
            for number in (array.__array_interface__["data"][0], *array.strides):
                raw += np.int64(number).tobytes().ljust(SLOT, b"\0")
        for scalar, value in zip(kernel.scalars, scalars, strict=True):
            raw += np.array(value, scalar.dtype.numpy).tobytes().ljust(SLOT, b"\0")
        slots = ctypes.create_string_buffer(bytes(raw), max(len(raw), 1))
        context = Context(budget=budget)
        result = self._functions[name](ctypes.addressof(context), ctypes.addressof(slots))
        word = result >> 8
        self.flags = (word >> 2 & 7) | (word & 1) << 3
        return int(result & 255)


def _add_entry(module: ir.Module, kernel: ir.Function) -> str:
    """`i32 entry(context, slots)`: the kernel's code, and its flags (MXCSR) from bit 8 on."""
    name = f"tj_run_{kernel.name}"
    b = ir.IRBuilder(ir.Function(module, ir.FunctionType(I32, [PTR, PTR]), name).append_basic_block())
    context, slots = b.function.args
    types = kernel.function_type.args[1:]
    places = [b.gep(slots, [I64(SLOT * k)], source_etype=I8) for k in range(len(types))]
    args = [b.load(p, typ=t, align=8) for p, t in zip(places, types, strict=True)]
    word = abi.stack_room(b, I32)
    b.store(I32(0x1F80), word)
    b.call(declare(module, "llvm.x86.sse.ldmxcsr", VOID, [PTR]), [word])
    code = b.call(kernel, [context, *args])
    b.call(declare(module, "llvm.x86.sse.stmxcsr", VOID, [PTR]), [word])
    flags = b.and_(b.load(word, typ=I32), I32(63))
    b.ret(b.or_(code, b.shl(flags, I32(8))))
    return name


def elementwise(
    name: str,
    formula: Callable[..., Expr],
    dtypes: Sequence[DType],
    result: DType,
    *,
    kind: LoopKind = "vector",
    unit: int | None = None,
    aligned: bool = True,
) -> Kernel:
    """out[i] = formula(in0[i], in1[i], ...) for i < n."""
    views = [ViewParam(f"in{k}", d, 1, unit, aligned=aligned) for k, d in enumerate(dtypes)]
    out = ViewParam("out", result, 1, unit, written=True, aligned=aligned)
    store = Store("out", (I,), formula(*(Load(v.name, (I,), v.dtype) for v in views)))
    return Kernel(name, (*views, out), (ScalarParam("n", INT64),), (For("i", N, (store,), kind),))


def apply(intrinsic: str, result: DType) -> Callable[..., Expr]:
    return lambda *args: Apply(intrinsic, args, result)


def reduction(
    name: str, op: ReductionOp, dtype: DType, *, kind: LoopKind = "vector", unit: int | None = None, ordered: bool = False
) -> Kernel:
    """out[()] = op of x[i] for i < n, by position for argmin and argmax."""
    by_position = op in ("argmin", "argmax")
    result = INT64 if by_position else dtype
    feed = Accumulate("r", Load("x", (I,), dtype), I if by_position else None)
    return Kernel(
        name,
        (ViewParam("x", dtype, 1, unit), ViewParam("out", result, 0, written=True)),
        (ScalarParam("n", INT64),),
        (For("i", N, (feed,), kind, (Reduction("r", op, dtype, ordered=ordered),)), Store("out", (), Ref("r", result))),
    )
