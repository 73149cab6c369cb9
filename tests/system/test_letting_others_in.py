"""Loops of compiled code let other threads run, and signals in: each here turns until somebody else ends it."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tensorjit as tj

SECONDS = 60.0  # no measurement: what has not ended by then never will
Loop = Callable[[Any, int], Any]


def while_over_scalars(x: Any, n: int) -> Any:
    i = 0
    while x[0] == 0:
        i += 1
    return i


def while_true(x: Any, n: int) -> Any:
    s = 0.0
    while True:
        s += 0.5
        if x[0] != 0:
            break
    return s


def while_in_while(x: Any, n: int) -> Any:
    i, s = 0, 0
    while x[0] == 0:
        j = 0
        while j < 10:
            s += j
            j += 1
        i += 1
    return s


def while_that_asks_python(x: Any, n: int) -> Any:
    i, s = 0, 0
    while x[0] == 0:
        s = (s + pow(i, 2)) % 1000003
        i += 1
    return s


def while_with_kernels(x: Any, n: int) -> Any:
    y = x + 1.0
    while x[0] == 0:
        y = y * 0.5 + 1.0
    return y


def while_in_place(x: Any, n: int) -> Any:
    y = x + 1.0
    while x[0] == 0:
        y *= 0.5
    return y


def while_with_sums(x: Any, n: int) -> Any:
    s = 0.0
    while x[0] == 0:
        s += x.sum()
    return s


def while_with_a_library(x: Any, n: int) -> Any:
    y = x + 1.0
    while x[0] == 0:
        y = np.sort(y)
    return y


def for_over_scalars(x: Any, n: int) -> Any:
    s = 0.0
    for i in range(n):
        s += i
        if x[0] != 0:
            break
    return s


def for_that_asks_python(x: Any, n: int) -> Any:
    s = 0
    for i in range(n):
        s = (s + i**2) % 1000
        if x[0] != 0:
            break
    return s


def for_with_mathematics(x: Any, n: int) -> Any:
    s = 0.0
    for i in range(n):
        s += math.sin(i)
        if x[0] != 0:
            break
    return s


def for_with_kernels(x: Any, n: int) -> Any:
    y = x + 1.0
    for i in range(n):
        y = y * 0.5 + i
        if x[0] != 0:
            break
    return y


def for_in_place(x: Any, n: int) -> Any:
    y = x + 1.0
    for _ in range(n):
        y += 1.0
        if x[0] != 0:
            break
    return y


def for_with_products(x: Any, n: int) -> Any:
    y = np.outer(x, x)
    for _ in range(n):
        y = y @ y * 0.1
        if x[0] != 0:
            break
    return y


def for_in_for(x: Any, n: int) -> Any:
    s = 0.0
    for _ in range(n):
        for j in range(8):
            s += x[j]
        if s != 0:
            break
    return s


LOOPS: tuple[Loop, ...] = (
    while_over_scalars, while_true, while_in_while, while_that_asks_python, while_with_kernels, while_in_place, while_with_sums,
    while_with_a_library, for_over_scalars, for_that_asks_python, for_with_mathematics, for_with_kernels, for_in_place,
    for_with_products, for_in_for,
)  # fmt: skip


class Late(Exception):
    """Nobody was let in."""


@contextmanager
def alarmed(seconds: float, error: type[BaseException]) -> Iterator[None]:
    def on_alarm(number: int, frame: Any) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer ends what hangs")
@pytest.mark.parametrize("loop", LOOPS)
def test_another_thread_ends_a_loop(loop: Loop) -> None:
    function, x = tj.script(loop), np.zeros(8)
    inside = threading.Event()

    def end() -> None:
        inside.wait()
        x[:] = 1.0

    function(np.ones(8), 1)
    thread = threading.Thread(target=end)
    with alarmed(SECONDS, Late):
        thread.start()
        inside.set()
        function(x, 2**62)
    thread.join()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer interrupts")
@pytest.mark.parametrize("loop", LOOPS)
def test_an_interrupt_ends_a_loop(loop: Loop) -> None:
    function, x = tj.script(loop), np.zeros(8)
    function(np.ones(8), 1)
    guard = threading.Timer(SECONDS, lambda: x.fill(1.0))
    guard.start()
    with alarmed(0.02, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        function(x, 2**62)
    guard.cancel()
    np.testing.assert_array_equal(tj.script(lambda x: x + 1)(np.zeros(2)), np.ones(2))


def test_a_loop_that_let_the_gil_go_asks_python_with_it() -> None:
    """Another thread that runs Python all the time would meet it there."""

    def logarithms(n: int) -> float:
        s = 0.0
        for i in range(n):
            s += math.log(n - 5 - i)
        return s

    def squares(n: int) -> int:
        s = 0
        for i in range(n):
            s = (s + i**2) % 1000
        return s

    done = threading.Event()
    made: list[Any] = []

    def busy() -> None:
        while not done.is_set():
            made[:] = [[k] for k in range(10)]

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(5):
            assert tj.script(squares)(50_000) == squares(50_000)
            with pytest.raises(ValueError, match=r"math domain error|positive"):
                tj.script(logarithms)(100_000)
    finally:
        done.set()
        thread.join()
