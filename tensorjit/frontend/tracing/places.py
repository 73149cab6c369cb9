"""Where the user's code is: the frame that called into NumPy or into the tracer, and the expression that it
evaluates.
"""

from __future__ import annotations

import dis
import inspect
import linecache
import sys
from collections.abc import Sequence
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np

from tensorjit.errors import Loc
from tensorjit.passes.specialise.state import Source

_INSIDE = (
    "numpy", "tensorjit.frontend.tracing", "tensorjit.frontend.trace", "tensorjit.traced", "tensorjit.compiled", "tensorjit.api",
    "tensorjit.runtime",
)  # fmt: skip


def is_inside(frame: FrameType) -> bool:
    """Whether a frame is NumPy's or the tracer's own."""
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith(_INSIDE) and any(name == p or name.startswith(p + ".") for p in _INSIDE)


def user_frame() -> FrameType:
    """The innermost frame of the user's code."""
    frame = sys._getframe(1)
    while is_inside(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def place_of_error(error: BaseException) -> Loc | None:
    """Where the user's code was when an exception was raised."""
    found = None
    step = error.__traceback__
    while step is not None:
        if not is_inside(step.tb_frame):
            found = step
        step = step.tb_next
    return found and place(found.tb_frame, found.tb_lasti, found.tb_lineno)


def place(frame: FrameType, at: int | None = None, lineno: int | None = None) -> Loc:
    """What a frame evaluates at this moment, or evaluated at an instruction, to the column."""
    code = frame.f_code
    spots, k = _positions(code), (frame.f_lasti if at is None else at) // 2
    known, end_lineno, start, end = spots[k] if 0 <= k < len(spots) else (None,) * 4
    lineno = known or lineno or frame.f_lineno
    line = linecache.getline(code.co_filename, lineno, frame.f_globals).rstrip("\r\n")
    if start is None or end is None:
        return Loc(code.co_filename, lineno, len(line) - len(line.lstrip()), len(line), line, code.co_name)
    if end_lineno != lineno:
        return Loc(code.co_filename, lineno, start, len(line), line, code.co_name)
    data = line.encode()  # columns count bytes
    col, end_col = len(data[:start].decode(errors="replace")), len(data[:end].decode(errors="replace"))
    return Loc(code.co_filename, lineno, col, end_col, line, code.co_name)


def place_of_function(function: Any) -> Loc | None:
    """Where a function, or what is called of another callable, begins."""
    inner = getattr(function, "func", getattr(function, "__func__", function))  # of a partial, of a method
    called = inner if isinstance(inner, FunctionType) else vars(type(inner)).get("__call__")
    code = getattr(called, "__code__", None)
    if code is None:
        return None
    line = linecache.getline(code.co_filename, code.co_firstlineno).rstrip()
    return Loc(code.co_filename, code.co_firstlineno, len(line) - len(line.lstrip()), len(line), line, code.co_name)


def _positions(code: CodeType) -> Sequence[Spot]:
    """The places of a code's instructions, kept: to go through them at each operation of a long function takes minutes."""
    kept = _spots.get(id(code))
    if kept is None or kept[0] is not code:
        if len(_spots) >= MAX_KEPT:
            _spots.clear()
        kept = _spots[id(code)] = (code, tuple(code.co_positions()))
    return kept[1]


MAX_KEPT = 64
Spot = tuple[int | None, int | None, int | None, int | None]
_spots: dict[int, tuple[CodeType, Sequence[Spot]]] = {}  # by identity: equal code may stand elsewhere


def expression(loc: Loc) -> str:
    """The source text at a place; the whole line where the columns are not known."""
    return loc.line[loc.col : loc.end_col].strip() or loc.line.strip() or f"line {loc.lineno}"


def find_source(array: np.ndarray[Any, Any], frame: FrameType) -> Source | None:
    """Where code that runs as it is (a method of a class, a library) reads an array: a global, or an attribute of a class
    that is one."""
    names, attributes = _names_read(frame.f_code)
    space = getattr(frame.f_globals, "original", frame.f_globals)
    for name in sorted(names & space.keys()):
        if space[name] is array:
            return Source("global", space, name)
        if isinstance(space[name], type):
            for attribute in sorted(attributes):
                if inspect.getattr_static(space[name], attribute, None) is array:
                    return Source("attribute", Source("global", space, name), attribute)
    return None


def _names_read(code: CodeType) -> tuple[set[str], set[str]]:
    """The globals and the attributes that a code object reads."""
    names: set[str] = set()
    attributes: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(instruction.argval)
        elif instruction.opname == "LOAD_ATTR":
            attributes.add(instruction.argval)
    return names, attributes
