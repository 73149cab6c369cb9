"""Compiled functions called, compiled, evicted and cleared by many threads: every call right, one compile of each kind, no wait
without end."""

from __future__ import annotations

import gc
import os
import queue
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tensorjit as tj
from tensorjit.backends.llvm.support import support_address

ROOT = Path(__file__).parents[2]
SECONDS = 40 if os.environ.get("TENSORJIT_TESTS") == "full" else 2
PATIENCE = 60.0  # no measurement: what takes longer hangs


def finishes(*jobs: Callable[[], Any]) -> None:
    """Run each job in a thread; they all end, and none raises."""
    errors: list[BaseException] = []

    def guarded(job: Callable[[], Any]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001  (told by the test's own thread)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a thread waits without end"
    assert not errors, errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it sends itself signals")
def test_a_mix_of_everything_comes_to_an_end() -> None:
    program = Path(__file__).with_name("thread_stress.py")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), str(SECONDS)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-8000:]


def test_thirty_two_first_calls_of_three_kinds_compile_thrice() -> None:
    function = tj.script(lambda x: x * 3)
    arrays = [np.arange(4, dtype=d) for d in (np.float64, np.float32, np.int64)]
    start = threading.Barrier(32)

    def job(k: int) -> None:
        start.wait()
        assert_array_equal(function(arrays[k % 3]), arrays[k % 3] * 3)

    finishes(*(lambda k=k: job(k) for k in range(32)))
    assert function.cache_info().misses == 3


SEEN: queue.SimpleQueue[Any] = queue.SimpleQueue()


def waits(x: Any, k: int) -> Any:
    """Where k is large, another thread calls `waits_traced` meanwhile."""
    if k > 5:
        thread = threading.Thread(target=lambda: SEEN.put(waits_traced(np.ones((2, 2)), 1)), daemon=True)
        thread.start()
        thread.join(PATIENCE)
    return x + k


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    waits_traced = tj.trace(waits, (np.ones(3), 1))


def test_a_function_that_waits_for_a_thread_which_calls_it_is_recorded() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_array_equal(waits_traced(np.ones(3), 7), np.full(3, 8.0))
    assert_array_equal(SEEN.get_nowait(), np.full((2, 2), 2.0))


def test_a_finaliser_may_call_the_function_that_is_being_compiled() -> None:
    found: list[Any] = []
    ones = [np.ones(2, np.int8)]  # none: do nothing more, since it may be collected in the middle of another test

    class Late:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            found.extend(map(tripled, ones))

    class Collects:
        """Lets the garbage be collected while its attribute is looked up, which is in the middle of a compile."""

        @property
        def factor(self) -> int:
            Late()
            gc.collect()
            return 3

    owner = Collects()
    tripled: Any = tj.script(lambda x: x * owner.factor, fallback="python")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        finishes(lambda: assert_array_equal(tripled(np.ones(3)), np.full(3, 3.0)))
    ones.clear()
    assert found
    assert all((f == 3).all() for f in found)


def test_an_entry_that_was_taken_out_hands_its_calls_to_python() -> None:
    function = tj.script(lambda x: x + 1)
    for dtype in (np.int64, np.float64):
        function(np.ones(3, dtype))
    first: Any = function._entries[0]
    assert first._next.value == function._entries[1].address
    function._inside += 1  # as if a call were inside
    function.cache_clear()
    function._inside -= 1
    assert not first.library.closed
    assert first._next.value == support_address("tj_rt_miss")  # what was the next may be freed before the call is handed on
    function._sweep()
    assert first.library.closed
    assert_array_equal(function(np.ones(3)), np.full(3, 2.0))
