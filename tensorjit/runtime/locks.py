"""The lock of a compiled object: what is compiled and recorded of it happens once, and never waits in a circle.

All locks of the package, in the order in which a thread takes them:

1. a compiled object's, this module's: held while it is recorded or compiled, which runs code of the user's;
2. the engine's and LLVM's, while machine code is made (`backends.llvm.engine`, llvmlite);
3. that of the linkers, there;
4. the chains' (`runtime.callable`), while entries are put in or taken out. Under it nothing else is taken, and nothing is freed.

Those of the first kind have no order among them, since the user's code calls one compiled function out of another. So a thread
that holds one, or LLVM's, does not wait for another; and no thread waits for one that is held while the user's code runs, which
may wait for that very thread. What would have to wait raises `Busy`, and the call runs as plain Python. All of them let the
thread that holds them in again: a signal handler or a finaliser may come between any two lines.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, final

from tensorjit.errors import TensorJitError

__all__ = ["Busy", "ObjectLock", "not_waiting"]

_PATIENCE = 0.05  # seconds between two looks at what the holder does
_threads = threading.local()


class Busy(TensorJitError):
    """A compiled object is being compiled, and waiting for that might never end."""

    def __init__(self) -> None:
        super().__init__("what is compiled here is just being compiled, by a thread that may wait for this one")


@contextmanager
def not_waiting() -> Iterator[None]:
    """Within it, this thread waits for no compiled object."""
    own = _threads.__dict__
    before = own.get("holds", 0)
    try:
        own["holds"] = before + 1
        yield
    finally:
        own["holds"] = before


@final
class ObjectLock:
    """A lock that the thread which holds it may take again; `held` raises Busy as the module says.

    Its contexts are generators: where an interrupt comes between any two of their lines, or before the last, the lock is let go
    all the same, when the generator ends.

    >>> lock = ObjectLock()
    >>> with lock.held(), lock.held():
    ...     with lock.outermost():
    ...         pass
    Traceback (most recent call last):
    tensorjit.runtime.locks.Busy: what is compiled here is just being compiled, by a thread that may wait for this one
    """

    def __init__(self) -> None:
        self._lock: Any = _thread.RLock()
        self._foreign = 0  # how deep the holder is in code of the user's
        self._later: list[Callable[[], Any]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """The lock, around what makes or changes versions."""
        if self._lock._is_owned():
            yield
            return
        try:
            self._take()
            with not_waiting():
                yield
        finally:
            if self._lock._is_owned():
                self._let_go()

    def _take(self) -> None:
        if self._lock.acquire(blocking=False):
            return
        if _threads.__dict__.get("holds"):
            raise Busy
        while not self._lock.acquire(timeout=_PATIENCE):
            if self._foreign:
                raise Busy

    def _let_go(self) -> None:
        try:
            while self._later:
                self._later.pop()()
        finally:
            self._foreign = 0
            self._lock.release()

    @contextmanager
    def outermost(self) -> Iterator[None]:
        """The lock for a call, which raises Busy where this thread holds it: out of a finaliser, a handler, or the user's code.
        What is half made is not to be changed under it."""
        if self._lock._is_owned():
            raise Busy
        with self.held():
            yield

    @contextmanager
    def foreign(self) -> Iterator[None]:
        """Around code of the user's that runs while the lock is held."""
        self._foreign += 1
        try:
            yield
        finally:
            self._foreign -= 1

    def whenever(self, action: Callable[[], Any]) -> None:
        """Run `action()` under the lock, now or, where it is held and this thread should not wait, when it is let go."""
        try:
            with self.held():
                action()
        except Busy:
            self._later.append(action)
