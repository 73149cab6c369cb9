"""Where the user's code is: the frame that called into NumPy or into the tracer, and the expression that it
evaluates.
"""

from __future__ import annotations

import linecache
import sys
from itertools import islice
from types import FrameType

from tensorjit.errors import Loc

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


def place(frame: FrameType) -> Loc:
    """What a frame evaluates at this moment, to the column."""
    code = frame.f_code
    found = next(islice(code.co_positions(), frame.f_lasti // 2, None), (None, None, None, None))
    lineno, end_lineno, start, end = found
    lineno = lineno or frame.f_lineno
    line = linecache.getline(code.co_filename, lineno, frame.f_globals).rstrip("\r\n")
    if start is None or end is None:
        return Loc(code.co_filename, lineno, len(line) - len(line.lstrip()), len(line), line, code.co_name)
    if end_lineno != lineno:
        return Loc(code.co_filename, lineno, start, len(line), line, code.co_name)
    data = line.encode()  # columns count bytes
    col, end_col = len(data[:start].decode(errors="replace")), len(data[:end].decode(errors="replace"))
    return Loc(code.co_filename, lineno, col, end_col, line, code.co_name)


def expression(loc: Loc) -> str:
    """The source text at a place; the whole line where the columns are not known."""
    return loc.line[loc.col : loc.end_col].strip() or loc.line.strip() or f"line {loc.lineno}"
