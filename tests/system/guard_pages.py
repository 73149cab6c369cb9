"""Arrays that end at, or begin after, memory that may not be touched: one byte too far ends the process.

A test that uses them runs in a process of its own (`in_own_process`), so that such an end is the failure of a test with its name.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

Side = Literal["end", "start"]
SIDES: tuple[Side, ...] = ("end", "start")
PAGE = mmap.PAGESIZE
MOST_MOVED = 1 << 20  # bytes
_NO_ACCESS = 0
_ROOT = Path(__file__).parents[2]


@functools.cache
def _mprotect() -> Any:
    function = ctypes.CDLL(None, use_errno=True).mprotect
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


@final
class Room:
    """Bytes between two pages that may not be touched. Arrays made of it keep it alive."""

    def __init__(self, size: int) -> None:
        pages = max(1, -(-size // PAGE))
        self.size = pages * PAGE
        self.memory = mmap.mmap(-1, self.size + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in (start, start + PAGE + self.size):
            if _mprotect()(page, PAGE, _NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.bytes = np.frombuffer(self.memory, np.uint8, self.size, PAGE)

    def array(self, values: Any, side: Side) -> Any:
        """A copy of an array, with its strides, as it lies in memory from its first byte to its last, at one end of the room."""
        values = np.asarray(values)
        low, high = np.lib.array_utils.byte_bounds(values) if values.size else (0, 0)
        first = self.size - (high - low) if side == "end" else 0
        offset = first + (values.__array_interface__["data"][0] - low if values.size else 0)
        out: Any = np.ndarray(values.shape, values.dtype, self.bytes.data, offset, values.strides)
        if out.flags.writeable:
            np.copyto(out, values)
        return out


def guarded(values: Any, side: Side) -> Any:
    """An array beside a page that may not be touched: its last byte, or its first, is the neighbour. What has more than one
    element in one place (broadcasts) is not for this."""
    values = np.asarray(values)
    low, high = np.lib.array_utils.byte_bounds(values) if values.size else (0, 0)
    return Room(high - low).array(values, side)


def beside_guards(args: Sequence[Any], side: Side) -> tuple[Any, ...]:
    """Arguments with arrays that own their memory moved beside such a page; one that is given twice stays one. Views stay as they
    are, so that what they share they go on to share."""
    shared = {id(a.base) for a in args if isinstance(a, np.ndarray)}
    moved: dict[int, Any] = {}
    for a in args:
        plain = type(a) is np.ndarray and a.flags.owndata and a.flags.writeable and not a.dtype.hasobject
        if plain and 0 < a.nbytes <= MOST_MOVED and id(a) not in shared:
            moved.setdefault(id(a), guarded(a, side))
    return tuple(moved.get(id(a), a) for a in args)


def in_own_process(module: str, *args: str, timeout: float = 600) -> str:
    """Run a module of the tests in a process of its own; its output. A crash is an AssertionError with Python's own traceback,
    and the last lines that were printed."""
    command: Sequence[str] = (sys.executable, "-X", "faulthandler", "-m", module, *args)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd=_ROOT)
    tail = "\n".join(done.stdout.splitlines()[-40:])
    assert done.returncode == 0, f"{module} ended with {done.returncode}\n{tail}\n{done.stderr[-4000:]}"
    return done.stdout
