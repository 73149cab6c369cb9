"""References, chains of entries, threads: what lives how long, and ends when."""

from __future__ import annotations

import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from tensorjit.backends.llvm.abi import I64, ArrayValue, ObjectValue, ScalarValue, Value
from tensorjit.backends.llvm.entry import (
    CaptureParam,
    EntrySpec,
    LinkedEntry,
    NoneParam,
    OpaqueParam,
    Param,
    ScalarParam,
    StaticParam,
)
from tensorjit.backends.llvm.pyapi import HostBuilder
from tensorjit.passes.specialise.state import Source
from tests.llvm.entries import F8, F8_ONE, MISS, VECTOR, Function, add_one, compile_entry, function_of, is_closed, is_miss

# -- references --------------------------------------------------------------------------------------


def test_nothing_leaks_in_many_calls() -> None:
    function = function_of(VECTOR, body=add_one)
    x, wrong, descr = np.zeros(1), np.zeros(1, "f4"), np.dtype("f8")
    calls: list[Callable[[], Any]] = [
        lambda: function(x),
        lambda: function(wrong),
        lambda: function(x, k=x),
    ]
    for call in calls:
        call()
        before = [sys.getrefcount(o) for o in (x, wrong, descr, function)]
        for _ in range(100_000):
            call()
        assert [sys.getrefcount(o) for o in (x, wrong, descr, function)] == before


def test_a_capture_lives_as_long_as_the_call() -> None:
    namespace: dict[str, Any] = {}

    def rebind() -> None:
        namespace["data"] = None

    def body(host: HostBuilder, args: list[Value]) -> None:
        host.call_object(host.constant(rebind), [])
        host.ret(args[0])

    function = function_of(body=body, captures=(CaptureParam(Source("global", namespace, "data"), VECTOR),))
    namespace["data"] = np.arange(1000.0)
    result = function()
    assert namespace["data"] is None
    assert sys.getrefcount(result) == 2
    assert result.sum() == 499500.0


def test_temporaries_are_freed_on_every_exit() -> None:
    """A body with a temporary whose life can be watched, leaving in each of the possible ways."""

    class Temporary:
        pass

    alive: list[weakref.ref[Temporary]] = []

    def make() -> Temporary:
        made = Temporary()
        alive.append(weakref.ref(made))
        return made

    def explode() -> None:
        raise RuntimeError("boom")

    def raiser(code: int, *numbers: int) -> None:
        raise LookupError(f"error {code}: {numbers}")

    def body(host: HostBuilder, args: list[Value]) -> None:
        host.call_object(host.constant(make), [])
        (way,) = args
        assert isinstance(way, ScalarValue)
        cases = [host.new_block("case") for _ in range(4)]
        switch = host.emit.switch(way.value, cases[0])
        for number, block in enumerate(cases):
            switch.add_case(I64(number), block)
        host.emit.position_at_end(cases[0])
        host.ret(None)
        host.emit.position_at_end(cases[1])
        host.call_object(host.constant(explode), [])
        host.ret(None)
        host.emit.position_at_end(cases[2])
        host.raise_error(3, [I64(10), I64(-20)])
        host.emit.position_at_end(cases[3])
        host.guard_late(ir.IntType(1)(0))
        host.ret(None)

    function = function_of(ScalarParam("int"), body=body, options={"raiser": raiser})
    assert function(0) is None
    with pytest.raises(RuntimeError, match="boom"):
        function(1)
    with pytest.raises(LookupError, match=r"error 3: \(10, -20(, -?\d+)*\)"):
        function(2)
    assert is_miss(function(3))
    assert len(alive) == 4 and not any(ref() for ref in alive)
    assert function._entries[0].in_use == 0


def test_a_raiser_that_does_not_raise_is_a_system_error() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.raise_error(0)

    with pytest.raises(SystemError):
        function_of(body=body, options={"raiser": lambda *_: None})()


def test_allocation_errors_come_out() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.ret(host.new_array(F8, [args[0].value]))  # type: ignore[union-attr]

    function = function_of(ScalarParam("int"), body=body)
    assert function(3).shape == (3,)
    with pytest.raises(ValueError, match="negative"):
        function(-3)
    with pytest.raises((ValueError, MemoryError)):
        function(2**60)
    assert function._entries[0].in_use == 0


def test_what_a_loop_makes_is_dropped_in_each_turn() -> None:
    alive: list[weakref.ref[Any]] = []

    class Thing:
        pass

    def make() -> Thing:
        assert sum(ref() is not None for ref in alive) <= 1
        made = Thing()
        alive.append(weakref.ref(made))
        return made

    def body(host: HostBuilder, args: list[Value]) -> None:
        with host.loop(I64(10)):
            host.call_object(host.constant(make), [])
        host.ret(None)

    function_of(body=body)()
    assert len(alive) == 10 and not any(ref() for ref in alive)


def test_slots_in_loops() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        slot = host.empty_slot()
        with host.loop(I64(100)):
            made = host.call("tj_py_PyFloat_FromDouble", F8_ONE)
            host.replace(slot, host.check_object(made))
        host.ret_object(host.take(slot))

    assert function_of(body=body)() == 1.0


# -- the chain ---------------------------------------------------------------------------------------


def constant_entry(param: Param, answer: str) -> LinkedEntry:
    def body(host: HostBuilder, args: list[Value]) -> None:
        host.ret(ObjectValue(host.constant(answer)))

    return compile_entry(EntrySpec((param,)), body)


def test_entries_form_a_chain() -> None:
    function = Function()
    entries = {kind: constant_entry(ScalarParam(kind), kind) for kind in ("float", "int", "complex")}
    for entry in entries.values():
        function._install(entry)

    def answers() -> list[str]:
        return [function(v) if not is_miss(function(v)) else MISS for v in (1.0, 1, 1j, "x")]

    assert answers() == ["float", "int", "complex", MISS]
    function._evict(entries["int"])
    assert is_closed(entries["int"])
    assert answers() == ["float", MISS, "complex", MISS]
    function._evict(entries["complex"])
    assert answers() == ["float", MISS, MISS, MISS]
    function._evict_all()
    assert all(is_closed(entry) for entry in entries.values())
    assert answers() == [MISS] * 4


def test_a_long_chain_uses_no_stack() -> None:
    function = Function()
    for number in range(60):
        function._install(constant_entry(StaticParam(number), str(number)))
    assert function(0) == "0"
    assert is_miss(function(-1))


def test_code_is_not_freed_while_it_runs() -> None:
    function = Function()

    def evict() -> None:
        function._evict_all()

    def body(host: HostBuilder, args: list[Value]) -> None:
        host.call_object(host.constant(evict), [])
        host.ret(args[0])

    entry = compile_entry(EntrySpec((OpaqueParam(),)), body)
    function._install(entry)
    assert function(5) == 5
    assert not is_closed(entry) and entry.in_use == 0
    function._sweep()
    assert is_closed(entry)
    assert is_miss(function(5))


def test_reentrant_calls() -> None:
    function = Function()

    def again(n: int) -> Any:
        return function(n - 1) if n else "end"

    def body(host: HostBuilder, args: list[Value]) -> None:
        (n,) = args
        assert isinstance(n, ScalarValue)
        host.ret(ObjectValue(host.call_object(host.constant(again), [n.object])))

    function._install(compile_entry(EntrySpec((ScalarParam("int"),)), body))
    assert function(50) == "end"
    (entry,) = function._entries
    assert (entry.hits, entry.in_use) == (51, 0)


def test_exceptions_of_a_miss_come_out() -> None:
    class Failing(Function):
        def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            raise KeyError(args)

    function = Failing()
    function._install(constant_entry(NoneParam(), "none"))
    assert function(None) == "none"
    with pytest.raises(KeyError):
        function(1)


# -- threads, the GIL, signals -----------------------------------------------------------------------


def test_many_threads_at_once() -> None:
    function = function_of(VECTOR, body=add_one)
    errors: list[object] = []

    def work() -> None:
        x = np.arange(64.0)
        expected = x + 1.0
        for _ in range(2000):
            if not np.array_equal(function(x), expected):
                errors.append(x)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert function._entries[0].hits == 16000


def waiting_body(host: HostBuilder, args: list[Value]) -> None:
    """Spins without the GIL until the first element is not zero."""
    x, count = args
    assert isinstance(x, ArrayValue) and isinstance(count, ScalarValue)
    with host.without_gil(host.emit.icmp_signed(">", count.value, I64(0))):
        again, after = host.new_block("again"), host.new_block("after")
        host.emit.branch(again)
        host.emit.position_at_end(again)
        value = host.emit.load_atomic(x.data, "monotonic", 8, typ=ir.DoubleType())
        host.emit.cbranch(host.emit.fcmp_unordered("!=", value, value.type(0.0)), after, again)
        host.emit.position_at_end(after)
    host.ret(x)


def test_the_gil_is_released() -> None:
    function = function_of(VECTOR, ScalarParam("int"), body=waiting_body)
    (entry,) = function._entries
    x = np.zeros(1)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function(x, 1)))
    thread.start()
    while not entry.in_use:
        time.sleep(0.001)
    function._evict(entry)  # its code must outlive the call inside it
    assert not is_closed(entry)
    x[0] = 1.0
    thread.join()
    assert results[0] is x
    function._sweep()
    assert is_closed(entry)
    again = function_of(VECTOR, ScalarParam("int"), body=waiting_body)
    assert again(x, 0) is x


def test_signals_are_let_in() -> None:
    def body(host: HostBuilder, args: list[Value]) -> None:
        x = args[0]
        with host.without_gil(ir.IntType(1)(1)), host.loop(I64(10**12)):
            host.emit.store(F8_ONE, x.data)  # type: ignore[union-attr]
            host.poll()
        host.ret(None)

    function = function_of(VECTOR, body=body)

    def on_alarm(*_: object) -> None:
        raise TimeoutError("enough")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError, match="enough"):
            function(np.zeros(1))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert function._entries[0].in_use == 0
