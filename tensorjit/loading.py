"""Loading the parts of the package that `import tensorjit` leaves out."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Around the import of modules.

    No garbage is collected: they make many objects and no garbage, and after `import numpy` each full collection takes
    milliseconds, a tenth of the first call in a new process. And Ctrl-C waits: between two lines of the import system it can leave
    half a module behind, of the standard library too, for the rest of the process.

    >>> import gc
    >>> with loading():
    ...     gc.isenabled()
    False
    """
    with _uninterrupted():
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # it does not come here, or nothing of Python's is called for it
        return
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)

    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main interpreter
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)
