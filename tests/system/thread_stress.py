"""Run as a program by test_threads.py: calls, compiles, evictions and clearings in many threads at once, for some seconds.

A deadlock ends it with the stacks of all threads. `make stress` runs it for a minute.
"""

from __future__ import annotations

import faulthandler
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

import tensorjit as tj

GRACE = 20.0  # seconds that a thread may take to end, under load
DTYPES = (np.float64, np.float32, np.int64)
ARRAYS: list[Any] = [np.arange(6).astype(d) for d in DTYPES]
ARRAYS += [a.reshape(2, 3) for a in ARRAYS] + [np.asfortranarray(a.reshape(2, 3)) for a in ARRAYS]


def plain(x: Any) -> Any:
    return x * 2 + 1


def inner(x: Any, k: int) -> Any:
    return x + k if k > 0 else x - k


def outer(x: Any, k: int) -> Any:
    return inner_traced(x, k) * 2 if k % 2 else x


scripted = tj.script(plain)
evicting = tj.script(plain, cache_size=2)
inner_traced = tj.trace(inner, (ARRAYS[0], 1))
outer_traced = tj.trace(outer, (ARRAYS[0], 1))


def scripted_job(turn: int) -> None:
    for function in (scripted, evicting):
        x = ARRAYS[turn % len(ARRAYS)]
        assert_array_equal(function(x), plain(x))


def traced_job(turn: int) -> None:
    x, k = ARRAYS[turn % 3], turn % 5 - 2
    assert_array_equal(outer_traced(x, k), (x + k if k > 0 else x - k) * 2 if k % 2 else x)


def clearing_job(turn: int) -> None:
    (scripted, evicting, inner_traced, outer_traced)[turn % 4].cache_clear()
    time.sleep(0.002)


def options_job(turn: int) -> None:
    with tj.options(backend="reference" if turn % 2 else "llvm", enabled=turn % 3 > 0):
        assert_array_equal(scripted(ARRAYS[0]), plain(ARRAYS[0]))


class Late:
    """Calls compiled functions when it is collected."""

    def __init__(self, turn: int) -> None:
        self.me, self.turn = self, turn

    def __del__(self) -> None:
        scripted_job(self.turn)


def garbage_job(turn: int) -> None:
    Late(turn)
    if turn % 20 == 0:
        gc.collect()
    scripted_job(turn)


JOBS = (scripted_job, scripted_job, traced_job, traced_job, clearing_job, options_job, garbage_job)


def on_alarm(number: int, frame: Any) -> None:
    scripted_job(int(time.monotonic() * 1000))
    signal.setitimer(signal.ITIMER_REAL, 0.02)


def main(seconds: float) -> int:
    """Run every job in a thread of its own; the number of turns that raised."""
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True)
    end = time.monotonic() + seconds
    failures: list[str] = []

    def work(job: Callable[[int], None], turn: int) -> None:
        while time.monotonic() < end and len(failures) < 10:
            turn += 1
            try:
                job(turn)
            except Exception as error:
                failures.append(f"{job.__name__}({turn}): {error!r}\n")

    threads = [threading.Thread(target=work, args=(job, k), daemon=True) for k, job in enumerate(JOBS)]
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.writelines(failures)
    return len(failures)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
