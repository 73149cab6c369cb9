"""NumPy's creation functions while a trace runs.

`np.zeros(n)` asks its arguments for no protocol: it takes a size through `__index__`, which would fix the size, and gives a plain array,
which would be one constant buffer for all calls. So while any trace runs, the creation functions are replaced by wrappers, where
NumPy's namespace holds them and where a module did ``from numpy import zeros``. A wrapper records when it is called in a context that
traces, from code that is not NumPy's own; else it is the function. The first trace puts the wrappers in, the last one takes
them out again. What reaches a creation function by another way (a default argument, a partial) is still not silent: its array bears
the trace's mark (see `marks`).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper
from types import CellType, FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from tensorjit.frontend.tracing.places import is_inside
from tensorjit.frontend.tracing.recorder import ACTIVE

CREATION: Final = (
    "zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like",
    "array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "copy",
    "arange", "linspace", "logspace", "geomspace", "eye", "identity", "tri", "indices",
)  # fmt: skip

_lock = threading.RLock()
_running = 0
_undo: list[Callable[[], None]] = []


def _wrapper(name: str, function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = ACTIVE.get()
        if recorder is None or is_inside(sys._getframe(1)):
            return function(*args, **kwargs)
        return recorder.creation(name, function, args, kwargs)

    update_wrapper(wrapper, function)
    wrapper._tj_original = function  # type: ignore[attr-defined]
    return wrapper


_ORIGINALS: Final = {name: getattr(np, name) for name in CREATION}
_WRAPPERS: Final = {id(f): _wrapper(name, f) for name, f in _ORIGINALS.items()}


@contextmanager
def intercepted(owners: Sequence[Any]) -> Iterator[None]:
    """Within it, creation functions are wrapped; `owners` are the traced callables, whose globals and closures are searched too."""
    global _running
    with _lock:
        _running += 1
        try:
            _install(owners)
        except BaseException:
            _leave()
            raise
    try:
        yield
    finally:
        with _lock:
            _leave()


def _leave() -> None:
    global _running
    _running -= 1
    if not _running:
        while _undo:
            _undo.pop()()


def _install(owners: Sequence[Any]) -> None:
    spaces = [vars(m) for m in list(sys.modules.values()) if isinstance(m, ModuleType) and _searched(m.__name__)]
    for one in owners:
        function = getattr(one, "__func__", one)
        if isinstance(function, FunctionType):
            spaces.append(function.__globals__)
            for cell in function.__closure__ or ():
                _wrap_cell(cell)
    for space in spaces:
        for name, value in list(space.items()):
            wrapper = _WRAPPERS.get(id(value))
            if wrapper is not None:
                space[name] = wrapper
                _undo.append(lambda space=space, name=name, w=wrapper: _restore(space, name, w))  # type: ignore[misc]


def _searched(name: str) -> bool:
    """NumPy's namespace and all modules but those that make NumPy up: they call themselves."""
    return name == "numpy" or not name.startswith(("numpy.", "tensorjit."))


def _restore(space: dict[str, Any], name: str, wrapper: Any) -> None:
    if space.get(name) is wrapper:  # else somebody rebound it
        space[name] = wrapper._tj_original


def _wrap_cell(cell: CellType) -> None:
    try:
        value = cell.cell_contents
    except ValueError:
        return
    wrapper = _WRAPPERS.get(id(value))
    if wrapper is not None:
        cell.cell_contents = wrapper
        _undo.append(lambda: _restore_cell(cell, wrapper))


def _restore_cell(cell: CellType, wrapper: Any) -> None:
    if cell.cell_contents is wrapper:
        cell.cell_contents = wrapper._tj_original
