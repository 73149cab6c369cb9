"""The engine: IR to object bytes to code in this process, and back out again."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import pytest
from llvmlite import ir

from tensorjit.backends.llvm.engine import MINIMAL_PASSES, Engine, Target, default_engine, host_target

I64 = ir.IntType(64)


def scale_module(factor: int) -> ir.Module:
    module = ir.Module("scale")
    outer = ir.Function(module, ir.FunctionType(I64, [I64]), "tj_external")
    function = ir.Function(module, ir.FunctionType(I64, [I64]), "tj_scale")
    b = ir.IRBuilder(function.append_basic_block())
    b.ret(b.mul(b.call(outer, [function.args[0]]), I64(factor)))
    return module


Unary = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


@pytest.fixture
def increment() -> tuple[int, object]:
    callback = Unary(lambda x: x + 1)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    assert address is not None
    return address, callback


def test_object_bytes_are_linked_with_given_symbols(increment: tuple[int, object]) -> None:
    address, callback = increment
    engine = default_engine()
    data = engine.compile_ir(scale_module(10), MINIMAL_PASSES)
    assert isinstance(data, bytes)
    libraries = [engine.link(data, {"tj_external": address}, exports=["tj_scale"], keep=[callback]) for _ in range(2)]
    assert [Unary(library.address("tj_scale"))(4) for library in libraries] == [50, 50]
    libraries[0].close()
    assert Unary(libraries[1].address("tj_scale"))(1) == 20
    with pytest.raises(ValueError, match="closed"):
        libraries[0].address("tj_scale")


def test_a_missing_symbol_is_an_error() -> None:
    engine = default_engine()
    with pytest.raises(RuntimeError):
        engine.link(engine.compile_ir(scale_module(2)), {}, exports=["tj_scale"])


@pytest.mark.parametrize("data", [b"", b"no object", b"\x7fELF" + bytes(100)])
def test_bytes_that_are_no_object_are_an_error(data: bytes) -> None:
    with pytest.raises(RuntimeError):
        default_engine().link(data, {}, exports=["tj_scale"])


def test_wrong_ir_is_refused() -> None:
    with pytest.raises(RuntimeError):
        default_engine().compile_ir("define i64 @tj_f() { ret i32 1 }")
    with pytest.raises(RuntimeError):  # parses; only the verifier sees that a value is used before it is made
        default_engine().compile_ir("define i64 @tj_f() {\nentry: br label %b\na: %x = add i64 1, 2\n br label %b\nb: ret i64 %x }")


def test_texts_and_targets() -> None:
    engine = Engine(host_target("x86-64-v3")) if default_engine().arch == "x86_64" else default_engine()
    assert "tj_scale" in engine.as_asm(scale_module(3))
    assert "mul" in engine.as_llvm(scale_module(3), MINIMAL_PASSES)
    assert "shl" in engine.as_llvm(scale_module(4), pipeline=True)
    with pytest.raises(ValueError, match="is no CPU of"):
        host_target("x86-64-v3,+avx")
    with pytest.raises(ValueError, match="opt"):
        Target("x86_64", "generic", opt=0)
    with pytest.raises(ValueError, match="not safe"):
        engine.compile_ir(scale_module(3), ["new_gvn"])


def resident_kilobytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1024


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_closed_libraries_give_their_memory_back(increment: tuple[int, object]) -> None:
    address, _ = increment
    engine = default_engine()
    data = engine.compile_ir(scale_module(2))

    def link_and_drop(count: int) -> None:
        for _ in range(count):
            engine.link(data, {"tj_external": address}, exports=["tj_scale"]).close()

    link_and_drop(200)
    gc.collect()
    before = resident_kilobytes()
    link_and_drop(500)
    gc.collect()
    assert (resident_kilobytes() - before) / 500 < 4  # KB a library; one page of code is 4
