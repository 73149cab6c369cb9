"""NumPy's creation functions, and `warnings.warn`, while a trace runs.

`np.zeros(n)` asks its arguments for no protocol: it takes a size through `__index__`, which would fix the
size, and gives a plain array, which would be one constant buffer for all calls. So while any trace runs, the
user's modules see a substitute where their globals hold NumPy itself or one of its creation functions. It
records when it is used in a context that traces, and is NumPy to everybody else. The first trace puts the
substitutes in, the last one takes them out again.

NumPy's own namespace stays as it is, and so do packages with extension modules: compiled code trusts that
`np.empty` gives an array, and crashed on a traced value. What reaches a creation function by another way
(such a package, an import within the function, a partial) is still not silent: sizes are guarded, and the
array bears the trace's mark (see `marks`).
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper
from importlib.machinery import EXTENSION_SUFFIXES
from types import FunctionType, ModuleType
from typing import Any, Final, final

import numpy as np

from tensorjit.frontend.tracing.recorder import ACTIVE
from tensorjit.frontend.tracing.tracer import ScalarTracer

CREATION: Final = (
    "zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like",
    "array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "copy",
    "arange", "linspace", "logspace", "geomspace", "eye", "identity", "tri", "indices",
)  # fmt: skip
MAKERS: Final = (  # they are seen where an array is traced, and make arrays of numbers too
    "repeat", "tile", "concatenate", "stack", "hstack", "vstack", "column_stack", "outer", "broadcast_to",
)  # fmt: skip
MAX_NUMBERS: Final = 64  # that a maker is given: beyond them, what it makes is one constant

_lock = threading.RLock()
_running = 0
_undo: list[Callable[[], None]] = []


def _wrapper(name: str, function: Any) -> Any:
    maker = name in MAKERS

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        recorder = ACTIVE.get()
        if recorder is None or (maker and not _all_numbers([*args, *kwargs.values()])):
            return function(*args, **kwargs)
        return recorder.creation(name, function, args, kwargs)

    update_wrapper(wrapper, function)
    wrapper._tj_original = function  # type: ignore[attr-defined]
    return wrapper


def _all_numbers(args: Sequence[Any]) -> bool:
    """Whether there are only numbers, in lists and tuples or not, and not many. With an array it is NumPy's affair."""
    seen = 0
    pending = list(args)
    while pending and seen <= MAX_NUMBERS:
        x = pending.pop()
        seen += 1
        if type(x) in (list, tuple):
            pending += x
        elif not (x is None or isinstance(x, (ScalarTracer, bool, int, float, complex, np.generic, np.dtype, type))):
            return False
    return seen <= MAX_NUMBERS


def _warn(message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **kwargs: Any) -> None:
    recorder = ACTIVE.get()
    warnings.warn(message, category, stacklevel + 1, *args, **kwargs)
    if recorder is not None:
        recorder.warn("a warning is given while tracing only", "give it outside of the function")


update_wrapper(_warn, warnings.warn)
_warn._tj_original = warnings.warn  # type: ignore[attr-defined]


class _Module(ModuleType):
    """A module with the wrappers."""

    _tj_original: ModuleType

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tj_original, name)
        return found if ACTIVE.get() is None else _SUBSTITUTES.get(id(found), found)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._tj_original, name, value)

    def __dir__(self) -> list[str]:
        return dir(self._tj_original)


@final
class _NumPy(_Module):
    _tj_original = np


@final
class _Warnings(_Module):
    _tj_original = warnings


_ORIGINALS: Final = {name: getattr(np, name) for name in (*CREATION, *MAKERS)}
_PROXIES: Final = (_NumPy("numpy", np.__doc__), _Warnings("warnings", warnings.__doc__))
_SUBSTITUTES: Final[dict[int, Any]] = {
    **{id(f): _wrapper(name, f) for name, f in _ORIGINALS.items()},
    **{id(proxy._tj_original): proxy for proxy in _PROXIES},
    id(warnings.warn): _warn,
}


def substitute_of(value: Any) -> Any:
    """What traced code sees instead of NumPy or a creation function; None for anything else."""
    return _SUBSTITUTES.get(id(value))


def is_substitute(value: Any) -> bool:
    """Whether a value is such a substitute."""
    return type(value) in (_NumPy, _Warnings) or (type(value) is FunctionType and hasattr(value, "_tj_original"))


@contextmanager
def intercepted() -> Iterator[None]:
    """Within it, the user's modules see the substitutes."""
    global _running
    with _lock:
        _running += 1
        try:
            _install()
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


def _install() -> None:
    compiled = compiled_packages()
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and is_users(name, compiled):
            _substitute_in(vars(module))


def _substitute_in(space: dict[str, Any]) -> None:
    for name, value in list(space.items()):
        substitute = _SUBSTITUTES.get(id(value))
        if substitute is not None:
            space[name] = substitute
            _undo.append(lambda name=name, s=substitute, v=value: _restore(space, name, s, v))  # type: ignore[misc]


def _restore(space: dict[str, Any], name: str, substitute: Any, original: Any) -> None:
    if space.get(name) is substitute:  # else somebody rebound it
        space[name] = original


def compiled_packages() -> frozenset[str]:
    """The top-level packages of which an extension module is loaded."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    found = {"numpy", "tensorjit"}
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").endswith(suffixes):
            found.add(name.partition(".")[0])
    return frozenset(found)


def is_users(name: str, compiled: frozenset[str]) -> bool:
    """Whether a module is the user's, or pure Python of somebody else's."""
    top = name.partition(".")[0]
    return top == "__main__" or not (top in compiled or top in sys.stdlib_module_names)
