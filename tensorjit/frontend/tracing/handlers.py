"""Whether the traced function would catch an exception that is raised where it is now.

A graph has no handlers. So a recorded path is the one on which nothing was raised, and where something is raised in a call, by
an operation that stands in a `try`, the call is made again as if a guard had failed.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FrameType

from tensorjit.frontend.tracing.places import is_inside


def is_handled(outermost: str) -> bool:
    """Whether the user's code that runs now, as far as the module `outermost` has called it, is within a `try`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != outermost:
        if not is_inside(frame) and any(start <= frame.f_lasti < end for start, end in _handled(frame.f_code)):
            return True
        frame = frame.f_back
    return False


@lru_cache(maxsize=1024)
def _handled(code: CodeType) -> tuple[tuple[int, int], ...]:
    """The instructions of which an exception goes to a handler: that of a `try`, or of a `with` that may suppress it."""
    if not code.co_exceptiontable:
        return ()
    after = {}
    before = None
    for instruction in dis.get_instructions(code):
        if before is not None:
            after[before.offset] = (before.opname, instruction.opname)
        before = instruction
    found = []
    for start, end, target in _entries(code.co_exceptiontable):
        first, second = after.get(target, ("", ""))
        if first == "PUSH_EXC_INFO" and (second != "WITH_EXCEPT_START" or "suppress" in code.co_names):
            found.append((start, end))
    return tuple(found)


def _entries(table: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, end and handler of each entry: Objects/exception_handling_notes.txt of CPython, since 3.11."""
    numbers: list[int] = []
    value = 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    for start, length, target, _ in zip(*[iter(numbers)] * 4, strict=True):
        yield 2 * start, 2 * (start + length), 2 * target
