"""The native entry and the callable around it, with bodies written by hand."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import sys
import types
import weakref
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from tensorjit.backends.llvm import abi
from tensorjit.backends.llvm.abi import I32, I64, PTR, ArrayValue, ObjectValue, ScalarValue, Value
from tensorjit.backends.llvm.entry import (
    ArrayParam,
    CaptureParam,
    NoneParam,
    OpaqueParam,
    Overlap,
    Param,
    ScalarParam,
    StaticParam,
    TupleParam,
)
from tensorjit.backends.llvm.pyapi import HostBuilder
from tensorjit.passes.specialise.state import Source
from tests.llvm.entries import F8, F8_ONE, MISS, VECTOR, Function, add_one, emit_map, function_of, give_back, is_miss

# -- before anything is compiled ---------------------------------------------------------------------


def test_without_entries_calls_go_to_python() -> None:
    function = Function()
    assert function(1, 2, three=3) == (MISS, (1, 2), {"three": 3})
    assert function() == (MISS, (), {})
    assert list(map(function, [1])) == [(MISS, (1,), {})]


def test_it_is_an_ordinary_object() -> None:
    function = Function()
    function.__doc__, function.colour = "words", "red"
    assert function.__doc__ == "words"
    assert callable(function)
    assert weakref.ref(function)() is function
    for twin in (copy.deepcopy(function), copy.copy(function)):
        assert twin is not function
        assert (twin.colour, twin(1)) == ("red", (MISS, (1,), {}))


def test_copies_and_pickles_start_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    home = types.ModuleType("entry_pickles")
    home.Function = Function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "entry_pickles", home)
    monkeypatch.setattr(Function, "__module__", "entry_pickles")
    function = function_of(VECTOR, body=add_one)
    for twin in (copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        assert is_miss(twin(np.zeros(1)))
        assert twin._entries == []


def test_it_binds_as_a_method() -> None:
    class Thing:
        method = function_of(OpaqueParam(), OpaqueParam(), body=give_back)

    thing = Thing()
    assert thing.method(5) == (thing, 5)
    bound = thing.method
    assert bound(6) == (thing, 6)
    assert Thing.method(1, 2) == (1, 2)


def test_cycles_are_collected() -> None:
    function = function_of(VECTOR, body=add_one)
    function.me = function
    gone = weakref.ref(function)
    del function
    gc.collect()
    assert gone() is None


# -- what is served ----------------------------------------------------------------------------------


def test_adds_one() -> None:
    function = function_of(VECTOR, body=add_one)
    for x in (np.arange(5.0), np.arange(10.0)[::2], np.arange(5.0)[::-1], np.zeros(0), np.ones(1)):
        result = function(x)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, x + 1.0)
        assert result.flags.owndata and result.flags.writeable and result.base is None
    (entry,) = function._entries
    assert (entry.hits, entry.in_use) == (5, 0)


class Subclass(np.ndarray[Any, Any]):
    pass


READ_ONLY = np.zeros(3)
READ_ONLY.flags.writeable = False
UNALIGNED = np.frombuffer(bytearray(25), np.uint8)[1:].view("f8")


@pytest.mark.parametrize(
    "args",
    [
        (np.zeros(3, "f4"),),
        (np.zeros(3, ">f8"),),
        (np.zeros((3, 3)),),
        (np.zeros(()),),
        (np.zeros(3).view(Subclass),),
        (np.ma.masked_array(np.zeros(3)),),
        ([0.0],),
        (1.0,),
        (None,),
        (),
        (np.zeros(3), np.zeros(3)),
        (UNALIGNED,),
    ],
    ids=repr,
)
def test_other_arguments_miss(args: tuple[Any, ...]) -> None:
    function = function_of(VECTOR, body=add_one)
    result = function(*args)
    assert is_miss(result)
    assert len(result[1]) == len(args) and all(a is b for a, b in zip(result[1], args, strict=True))
    assert function._entries[0].in_use == 0


@pytest.mark.parametrize(
    ("param", "hits", "misses"),
    [
        (ArrayParam(F8, 2, layout="C"), np.zeros((2, 3)), np.zeros((2, 3)).T),
        (ArrayParam(F8, 2, layout="F"), np.zeros((2, 3)).T, np.zeros((2, 3))),
        (ArrayParam(F8, 2, layout="strided"), np.zeros((4, 6))[::2, ::2], np.zeros((2, 3))),
        (ArrayParam(F8, 1, writable=True), np.zeros(3), READ_ONLY),
        (ArrayParam(F8, 1, writable=False), READ_ONLY, np.zeros(3)),
        (ArrayParam(F8, 1, aligned=None), UNALIGNED, np.zeros(1)),
        (ArrayParam(F8, 1, aligned=False), UNALIGNED, np.zeros(3)),
        (ArrayParam(F8, 1), np.zeros(2), np.zeros(1)),
        (ArrayParam(F8, 1, dims=(1,)), np.zeros(1), np.zeros(2)),
        (ArrayParam(F8, 2, dims=(3, None)), np.zeros((3, 4)), np.zeros((4, 4))),
        (ArrayParam(np.dtype("i8"), 1), np.zeros(2, "longlong"), np.zeros(2, "u8")),
        (ArrayParam(np.dtype("?"), 1), np.zeros(2, "?"), np.zeros(2, "u1")),
        (ArrayParam(np.dtype("f2"), 1), np.zeros(2, "f2"), np.zeros(2, "i2")),
        (ArrayParam(np.dtype("c16"), 0), np.zeros((), "c16"), np.zeros((), "c8")),
        (
            ArrayParam(F8, 1, writable=True, self_overlap=False),
            np.zeros(9)[::3],
            np.lib.stride_tricks.as_strided(np.zeros(9), (7,), (0,)),
        ),
        (
            ArrayParam(F8, 2, self_overlap=False),
            np.zeros((4, 6))[::-2, 1:4],
            np.lib.stride_tricks.sliding_window_view(np.zeros(9), 3),
        ),
        (ArrayParam(F8, 2, self_overlap=True), np.broadcast_to(np.zeros(3), (2, 3)), np.zeros((2, 3))),
        (
            ArrayParam(F8, 2, self_overlap=False),
            np.broadcast_to(np.zeros(3), (1, 3))[:0],
            np.broadcast_to(np.zeros(3), (2, 3)),
        ),
        (ScalarParam("float"), 1.5, np.float64(1.5)),
        (ScalarParam("float"), float("nan"), 1),
        (ScalarParam("int"), -(2**63), 2**63),
        (ScalarParam("int"), 2**63 - 1, True),
        (ScalarParam("bool"), True, 1),
        (ScalarParam("complex"), 1j, np.complex128(1j)),
        (ScalarParam(np.dtype("f4")), np.float32(2.5), 2.5),
        (ScalarParam(F8), np.float64(2.5), 2.5),
        (ScalarParam(np.dtype("i8")), np.longlong(3), np.int32(3)),
        (ScalarParam(np.dtype("?")), np.True_, True),
        (StaticParam(1), 1, True),
        (StaticParam(1), 1, 1.0),
        (StaticParam(10**30), 10**30, 10**30 + 1),
        (StaticParam(True), True, 1),
        (StaticParam(0.0), 0.0, -0.0),
        (StaticParam(float("nan")), float("nan"), 0.0),
        (StaticParam(2.5j), 2.5j, 2.5),
        (StaticParam("mode"), "".join(["mo", "de"]), "other"),
        (StaticParam(("a", (1, None))), ("a", (1, None)), ("a", (1.0, None))),
        (StaticParam(("a", (1, None))), ("a", (1, None)), ("a", (1,))),
        (StaticParam(F8), np.dtype("float64"), np.dtype("f4")),
        (StaticParam(F8, identity=True), F8, np.dtype("f4")),
        (StaticParam(len), len, abs),
        (NoneParam(), None, 0),
        (TupleParam((ScalarParam("int"), VECTOR)), (2, np.zeros(2)), [2, np.zeros(2)]),
        (TupleParam(()), (), (1,)),
    ],
    ids=repr,
)
def test_each_kind_of_parameter(param: Param, hits: Any, misses: Any) -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.ret((args[0], ScalarValue(np.dtype("i8"), I64(7), python=True)))

    function = function_of(param, body=body)
    result = function(hits)
    assert not is_miss(result)
    assert result[1] == 7
    same = result[0] is hits if not isinstance(hits, tuple) else result[0] is hits or len(result[0]) == len(hits)
    assert same
    assert is_miss(function(misses))
    assert (function._entries[0].hits, function._entries[0].in_use) == (1, 0)


def test_values_of_scalars_come_through() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        boxed = [ScalarValue(a.dtype, a.value, a.python) for a in args if isinstance(a, ScalarValue)]
        host.ret(tuple(boxed))

    kinds: list[Any] = ["bool", "int", "float", "complex", *abi.DTYPES]
    values = [True, -5, 2.5, 1 - 2j, *(np.dtype(d).type(1) for d in abi.DTYPES)]
    function = function_of(*(ScalarParam(k) for k in kinds), body=body)
    result = function(*values)
    assert result == tuple(values)
    assert [type(r) for r in result] == [type(v) for v in values]
    assert function(*[type(v)(0) for v in values]) == tuple(0 for _ in values)
    assert result[4] is np.True_ and result[0] is True


def test_unsigned_python_results() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.ret(ScalarValue(np.dtype("u8"), I64(-1), python=True))

    assert function_of(body=body)() == 2**64 - 1


def test_keywords() -> None:
    function = function_of(OpaqueParam(), OpaqueParam(), body=give_back, keywords=("out",))
    assert function(1, out=2) == (1, 2)
    assert is_miss(function(1, 2))
    assert function(1, other=2) == (MISS, (1,), {"other": 2})
    assert is_miss(function(1))
    assert is_miss(function(out=2))
    assert is_miss(function(1, out=2, more=3))
    assert function(*(1,), out=2) == (1, 2)
    assert function(*(1,), **{"".join(["o", "ut"]): 2})[-1] in (2, {"out": 2})


def test_calling_again_after_a_miss() -> None:
    function = function_of(OpaqueParam(), body=give_back)
    assert function._call_native((5,)) == 5
    assert is_miss(function._call_native((5, 6)))
    assert function._call_native((5,), {"k": 1}) == (MISS, (5,), {"k": 1})
    assert Function()._call_native((5,)) == (MISS, (5,), {})


def test_captures() -> None:
    namespace: dict[str, Any] = {"scale": 3.0}
    cell = types.CellType(4)
    captures = (
        CaptureParam(Source("global", namespace, "scale"), ScalarParam("float")),
        CaptureParam(Source("cell", cell), ScalarParam("int")),
    )
    function = function_of(body=give_back, captures=captures)
    assert function() == (3.0, 4)
    namespace["scale"] = 5.0
    cell.cell_contents = 6
    assert function() == (5.0, 6)
    namespace["scale"] = "words"
    assert is_miss(function())
    del namespace["scale"]
    assert is_miss(function())
    namespace["scale"] = 1.0
    del cell.cell_contents
    assert is_miss(function())


def test_relations_between_arrays() -> None:
    memory = np.zeros(12)
    cases = {
        "disjoint": (memory[:4], memory[4:8]),
        "identical": (memory[:4], memory[:4]),
        "overlapping": (memory[:4], memory[2:6]),
    }
    backwards = {
        "disjoint": (memory[3::-1], memory[4:8]),
        "overlapping": (memory[3::-1], memory[:4]),
        "identical": (memory[3::-1], memory[3::-1]),
    }
    for relation, group in itertools.product(cases, (cases, backwards)):
        function = function_of(VECTOR, VECTOR, body=give_back, overlaps=(Overlap(0, 1, relation),))  # type: ignore[arg-type]
        for name, pair in group.items():
            assert is_miss(function(*pair)) == (name != relation)
    either = function_of(VECTOR, VECTOR, body=give_back, overlaps=(Overlap(0, 1, "disjoint or identical"),))
    assert [is_miss(either(*pair)) for pair in cases.values()] == [False, False, True]
    empty = function_of(VECTOR, VECTOR, body=give_back, overlaps=(Overlap(0, 1, "disjoint"),))
    assert not is_miss(empty(memory[2:2], memory))


def test_equal_dims() -> None:
    function = function_of(ArrayParam(F8, 2), ArrayParam(F8, 1), body=give_back, equal_dims=(((0, 1), (1, 0)),))
    assert not is_miss(function(np.zeros((2, 3)), np.zeros(3)))
    assert is_miss(function(np.zeros((2, 3)), np.zeros(2)))


# -- results -----------------------------------------------------------------------------------------


def test_the_very_argument_is_returned() -> None:
    function = function_of(ArrayParam(F8, 2), body=give_back)
    x = np.zeros((2, 3))
    count = sys.getrefcount(x)
    result = function(x)
    assert result is x
    del result
    assert sys.getrefcount(x) == count


def reverse(host: HostBuilder, args: list[Value]) -> None:
    (x,) = args
    assert isinstance(x, ArrayValue)
    emit = host.emit
    last = host.element_address(x, [emit.sub(x.dims[0], I64(1))])
    host.ret(ArrayValue(x.dtype, last, x.dims, (emit.neg(x.strides[0]),), x.owner))


def test_views_have_numpy_bases() -> None:
    function = function_of(VECTOR, body=reverse)
    whole = np.arange(6.0)
    part = whole[1:4]
    for x in (whole, part):
        view, expected = function(x), x[::-1]
        np.testing.assert_array_equal(view, expected)
        assert view.base is expected.base is whole
        assert view.flags.writeable and not view.flags.owndata
        assert view.strides == expected.strides and view.flags.num == expected.flags.num
    assert function(READ_ONLY).flags.writeable is False
    count = sys.getrefcount(whole)
    for _ in range(1000):
        function(whole)
    assert sys.getrefcount(whole) == count


def test_a_view_keeps_its_owner_alive() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        fresh = host.new_array(F8, [I64(4)])
        emit_map(host, fresh, fresh, lambda _: F8_ONE)
        host.ret(ArrayValue(F8, fresh.data, (I64(2),), fresh.strides, fresh.owner))

    view = function_of(body=body)()
    gc.collect()
    np.testing.assert_array_equal(view, np.ones(2))
    assert view.base.shape == (4,)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", abi.DTYPES, ids=str)
def test_fresh_arrays(dtype: np.dtype[Any], order: str) -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        made = host.new_array(dtype, [I64(2), I64(3), I64(4)], order)
        with host.loop(I64(2)) as i, host.loop(I64(3)) as j, host.loop(I64(4)) as k:
            value = host.load_element(dtype, args[0].data)  # type: ignore[union-attr]
            host.store_element(dtype, value, host.element_address(made, [i, j, k]))
        host.ret(made)

    one = np.ones((), dtype)
    made = function_of(ArrayParam(dtype, 0), body=body)(one)
    expected = np.ones((2, 3, 4), dtype, order)  # type: ignore[call-overload]
    assert (made.dtype, made.strides, made.flags.num) == (
        expected.dtype,
        expected.strides,
        expected.flags.num,
    )
    np.testing.assert_array_equal(made, expected)


def test_tuples_and_none() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.ret((None, args[0], (args[0], ()), ObjectValue(host.constant("text"))))

    x = np.zeros(1)
    result = function_of(VECTOR, body=body)(x)
    assert result == (None, x, (x, ()), "text")
    del result
    assert sys.getrefcount(x) == 2


# -- floating-point flags ----------------------------------------------------------------------------


def divide(host: HostBuilder, args: list[Value]) -> None:
    x, y = args
    assert isinstance(x, ScalarValue) and isinstance(y, ScalarValue)
    host.ret(ScalarValue(F8, host.fp_pin(host.emit.fdiv(x.value, y.value)), python=True))


HUGE, TINY = 1e300, 1e-300


@pytest.mark.parametrize(
    ("x", "y", "flags"),
    [
        (1.0, 3.0, None),
        (1.0, 0.0, abi.FP_DIVIDE),
        (HUGE, TINY, abi.FP_OVERFLOW),
        (TINY, HUGE, abi.FP_UNDERFLOW),
        (0.0, 0.0, abi.FP_INVALID),
    ],
)
def test_flags_are_reported_as_numpy_numbers_them(x: float, y: float, flags: int | None) -> None:
    seen: list[int] = []
    function = function_of(ScalarParam("float"), ScalarParam("float"), body=divide, options={"report": seen.append})
    with np.errstate(all="ignore"):
        np.float64(1.0) / np.float64(0.0)  # leaves a flag behind, which is not ours
    function(x, y)
    assert seen == ([] if flags is None else [flags])
    function(1.0, 3.0)  # and ours does not come up again
    assert len(seen) == (flags is not None)


def test_a_report_may_raise() -> None:
    def report(flags: int) -> None:
        raise FloatingPointError(flags)

    function = function_of(ScalarParam("float"), ScalarParam("float"), body=divide, options={"report": report})
    with pytest.raises(FloatingPointError):
        function(1.0, 0.0)
    assert function(1.0, 2.0) == 0.5


def test_flags_of_called_python_code_are_its_own() -> None:
    seen: list[int] = []

    def overflow() -> None:
        with np.errstate(all="ignore"):
            np.array([HUGE]) * HUGE

    def body(host: HostBuilder, args: list[Value]) -> None:
        x, y = args
        assert isinstance(x, ScalarValue) and isinstance(y, ScalarValue)
        quotient = host.fp_pin(host.emit.fdiv(x.value, y.value))
        host.call_object(host.constant(overflow), [])
        host.ret(ScalarValue(F8, quotient, python=True))

    function = function_of(ScalarParam("float"), ScalarParam("float"), body=body, options={"report": seen.append})
    function(1.0, 0.0)
    assert seen == [abi.FP_DIVIDE]


# -- kernels -----------------------------------------------------------------------------------------


def test_a_kernel_records_an_error() -> None:
    module = ir.Module("with_kernel")
    kernel = ir.Function(module, ir.FunctionType(I32, [PTR]), "tj_k_0")
    kernel.linkage = "internal"
    b = ir.IRBuilder(kernel.append_basic_block())
    b.store(I32(5), abi.context_field(b, kernel.args[0], "error_code"))
    b.store(I32(abi.STATUS_ERROR), abi.context_field(b, kernel.args[0], "status"))
    b.ret(I32(1))

    def body(host: HostBuilder, args: list[Value]) -> None:
        host.check_kernel(host.emit.call(kernel, [host.context]))
        host.ret(None)

    def raiser(code: int, *_: int) -> None:
        raise IndexError(code)

    function = function_of(body=body, options={"module": module, "raiser": raiser})
    with pytest.raises(IndexError, match="5"):
        function()


def test_a_kernel_may_ask_for_the_next_entry() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.set_context("status", I32(abi.STATUS_GUARD))
        host.check_kernel(I32(1))
        host.ret(None)

    assert is_miss(function_of(body=body)())
