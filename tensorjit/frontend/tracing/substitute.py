"""The traced function's view of what it captures.

A plain array that a function reads from a global or its closure reaches no protocol until it meets a traced
value: `W[0]` or `W.sum()` would be constants. So the function runs as a copy whose globals and cells are
substitutes: an array is read as a traced value, with the name it is read by; a number or a string as it is,
with a guard; a function or module of the user's as such a copy again. Functions that assign to their globals,
and cells that are assigned, are left as they are; so is what is reached through an object's attribute.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, Protocol, final

import numpy as np

from tensorjit.frontend.tracing.intercept import compiled_packages, is_users, substitute_of
from tensorjit.passes.specialise.state import Source

GUARDED: Final = (bool, int, float, complex, str, type(None))


class Captures(Protocol):
    """What a recorder does with what the function captures."""

    def captured_array(self, source: Source, value: Any) -> Any: ...
    def captured_constant(self, source: Source, value: Any) -> None: ...


@final
class Globals(dict[str, Any]):
    """The globals of a function's copy: reads go to the module (LOAD_GLOBAL asks a subclass of dict through
    `__getitem__`)."""

    __slots__ = ("_substitute", "original")

    def __init__(self, original: dict[str, Any], substitute: Substitute) -> None:
        super().__init__(original)  # for those who read it as a plain dict: CPython for __builtins__, warnings
        self.original = original
        self._substitute = substitute

    def __getitem__(self, name: str) -> Any:
        return self._substitute.value(Source("global", self.original, name), self.original[name])


@final
class _Module(ModuleType):
    """A module of the user's: its attributes are read as globals are."""

    def __init__(self, original: ModuleType, substitute: Substitute) -> None:
        super().__init__(original.__name__, original.__doc__)
        vars(self).update(_tj_original=original, _tj_substitute=substitute)

    def __getattr__(self, name: str) -> Any:
        original = vars(self)["_tj_original"]
        if name not in vars(original):
            return getattr(original, name)
        source = Source("global", vars(original), name)
        return vars(self)["_tj_substitute"].value(source, source.read())

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_tj_original"], name, value)


@final
class Substitute:
    """Makes the copies for one run."""

    def __init__(self, recorder: Captures) -> None:
        self.recorder = recorder
        self._globals: dict[int, Globals] = {}
        self._compiled = compiled_packages()
        self._functions: dict[int, tuple[FunctionType, FunctionType]] = {}

    def callable(self, function: Any) -> Callable[..., Any]:
        """The copy of a function, or of the function behind a method, a partial or an object; other callables
        as they are."""
        if isinstance(function, FunctionType):
            return self.function(function)
        if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
            return MethodType(self.function(function.__func__), function.__self__)
        if type(function) is functools.partial:
            return functools.partial(self.callable(function.func), *function.args, **function.keywords)
        call = type(function).__call__
        if isinstance(call, FunctionType) and not hasattr(type(function), "__tensorjit_function__"):
            return MethodType(self.function(call), function)
        return function  # type: ignore[no-any-return]

    def function(self, function: FunctionType) -> FunctionType:
        known = self._functions.get(id(function))
        if known is not None:
            return known[1]
        if not is_users(str(function.__globals__.get("__name__", "")), self._compiled):
            return function
        space = self._space(function)
        copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__, function.__closure__)
        self._functions[id(function)] = (function, copy)
        cells = self._cells(function)
        if any(a is not b for a, b in zip(cells or (), function.__closure__ or (), strict=True)):
            copy = FunctionType(function.__code__, space, function.__name__, function.__defaults__, cells)
            self._functions[id(function)] = (function, copy)
        copy.__kwdefaults__ = function.__kwdefaults__
        copy.__dict__.update(function.__dict__)
        copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
        return copy

    def _space(self, function: FunctionType) -> dict[str, Any]:
        original = function.__globals__
        if isinstance(original, Globals) or _uses(function.__code__, "STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT_STAR"):
            return original
        if id(original) not in self._globals:
            self._globals[id(original)] = Globals(original, self)
        return self._globals[id(original)]

    def _cells(self, function: FunctionType) -> tuple[CellType, ...] | None:
        if function.__closure__ is None:
            return None
        assigned = _uses(function.__code__, "STORE_DEREF", "DELETE_DEREF")
        cells = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
            cells.append(cell if name in assigned else self._cell(name, cell))
        return tuple(cells)

    def _cell(self, name: str, cell: CellType) -> CellType:
        try:
            value = cell.cell_contents
        except ValueError:
            return cell
        substitute = self.value(Source("cell", cell, name), value)
        return cell if substitute is value else CellType(substitute)

    def value(self, source: Source, value: Any) -> Any:
        """What the function reads instead of a captured value."""
        if type(value) is np.ndarray or isinstance(value, np.generic):
            return self.recorder.captured_array(source, value)
        found = substitute_of(value)
        if found is not None:
            return found
        if isinstance(value, FunctionType):
            return value if hasattr(value, "_tj_original") else self.function(value)
        if type(value) is ModuleType and is_users(value.__name__, self._compiled):
            return _Module(value, self)
        if type(value) in GUARDED and not source.name.startswith("__"):
            self.recorder.captured_constant(source, value)
        return value


def _uses(code: CodeType, *operations: str) -> set[Any]:
    """The names that a code object, or one within it, treats so."""
    found = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _uses(constant, *operations)
    return found
