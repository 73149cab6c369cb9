"""Loading the parts of the package that `import tensorjit` leaves out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection while modules load. They make many objects and no garbage, and after `import numpy` each full
    collection takes milliseconds: a tenth of the first call in a new process.

    >>> import gc
    >>> with collector_paused():
    ...     gc.isenabled()
    False
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
