"""Entries with bodies written by hand, and a callable that counts its misses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from tensorjit.backends.llvm.abi import ArrayValue, Value
from tensorjit.backends.llvm.entry import (
    ANY_DIM,
    ArrayParam,
    Body,
    EntrySpec,
    LinkedEntry,
    Param,
    build_entry,
    default_engine,
    link_entry,
)
from tensorjit.backends.llvm.pyapi import HostBuilder
from tensorjit.runtime.callable import NativeCallable

F8 = np.dtype("f8")
VECTOR = ArrayParam(F8, 1, dims=(ANY_DIM,))
MISS = "miss"
F8_ONE = ir.DoubleType()(1.0)


class Function(NativeCallable):
    """Counts its misses, and answers them with their arguments."""

    def __init__(self) -> None:
        self.misses: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (MISS, args, kwargs)


def compile_entry(spec: EntrySpec, body: Body, **options: Any) -> LinkedEntry:
    engine = default_engine()
    code = build_entry(spec, body, arch=engine.arch, **options)
    return link_entry(engine, engine.compile_ir(code.module), code)


def function_of(*params: Param, body: Body, options: dict[str, Any] | None = None, **spec: Any) -> Any:
    function = Function()
    function._install(compile_entry(EntrySpec(params, **spec), body, **options or {}))
    return function


def emit_map(host: HostBuilder, source: ArrayValue, target: ArrayValue, emit: Callable[[ir.Value], ir.Value]) -> None:
    with host.loop(source.dims[0]) as i:
        element = host.load_element(source.dtype, host.element_address(source, [i]))
        host.store_element(target.dtype, emit(element), host.element_address(target, [i]))


def add_one(host: HostBuilder, args: list[Value]) -> None:
    x = args[0]
    assert isinstance(x, ArrayValue)
    result = host.new_array(x.dtype, x.dims)
    emit_map(host, x, result, lambda e: host.emit.fadd(e, e.type(1.0)))
    host.ret(result)


def give_back(host: HostBuilder, args: list[Value]) -> None:
    """Return the only argument, or all of them."""
    host.ret(args[0] if len(args) == 1 else tuple(args))


def is_miss(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 3 and result[0] is MISS


def is_closed(entry: LinkedEntry) -> bool:
    return entry.library.closed
