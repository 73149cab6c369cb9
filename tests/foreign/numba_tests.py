"""A pytest plugin: in numba's own test modules, what `njit` and `jit` decorate is also compiled by tensorjit and compared.

Each call runs the plain function and the compiled one, on copies; the tests see the plain result. Many tests then ask for
attributes of numba's own and fail: what counts is the log.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import numba
import numba.core.decorators
import pytest

import tensorjit as tj
from tests.foreign.records import LOG, Function, compare

_inside = [False]


class Jitted:
    """What `jit` makes of a function."""

    def __init__(self, function: types.FunctionType) -> None:
        self.py_func = function
        self.pair: tuple[Function, Function] | None = None
        self.refusal = ""
        functools.update_wrapper(self, function)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name in ("signatures", "nopython_signatures"):
            return []
        if name in ("compile", "recompile", "disable_compile"):
            return lambda *args, **keywords: None
        raise AttributeError(name)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not _inside[0]:
            _inside[0] = True
            try:
                self.check(args, keywords)
            finally:
                _inside[0] = False
        return self.py_func(*args, **keywords)

    def check(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Run the call both ways; what cannot even be read is refused."""
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}"
        if self.pair is None and not self.refusal:
            function = plain(self)
            try:
                self.pair = function, tj.script(function)
            except Exception as error:
                self.refusal = f"{type(error).__name__} {error}"
        if self.pair is None:
            LOG.write(name, "refused", why=self.refusal[:400])
        else:
            compare(name, *self.pair, [plain(a) if isinstance(a, Jitted) else a for a in args], keywords)


def plain(function: Any, done: dict[types.FunctionType, types.FunctionType] | None = None) -> Any:
    """A function with every stand-in that it reads replaced by its plain function."""
    done = {} if done is None else done
    function = getattr(function, "py_func", function)
    if not isinstance(function, types.FunctionType):
        return function
    if function not in done:
        cells = None if function.__closure__ is None else tuple(types.CellType() for _ in function.__closure__)
        names = dict(function.__globals__)
        new = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
        new.__kwdefaults__, new.__module__, new.__qualname__ = function.__kwdefaults__, function.__module__, function.__qualname__
        done[function] = new
        for name in function.__code__.co_names:
            if isinstance(names.get(name), Jitted):
                names[name] = plain(names[name], done)
        _fill(cells or (), function, done)
    return done[function]


def _fill(
    cells: tuple[types.CellType, ...], function: types.FunctionType, done: dict[types.FunctionType, types.FunctionType]
) -> None:
    """Give a copy the contents of a function's cells; one that is empty stays so."""
    for old, cell in zip(function.__closure__ or (), cells, strict=True):
        try:
            contents = old.cell_contents
        except ValueError:
            continue
        cell.cell_contents = plain(contents, done) if isinstance(contents, Jitted) else contents


def jit(*args: Any, **options: Any) -> Any:
    """In the place of numba's decorator: bare, or with a signature and options, which mean nothing here."""
    if len(args) == 1 and isinstance(args[0], Jitted):
        return args[0]
    if len(args) == 1 and isinstance(args[0], types.FunctionType):
        return Jitted(args[0])
    return lambda function: Jitted(function) if isinstance(function, types.FunctionType) else function


numba.njit = numba.jit = numba.core.decorators.njit = numba.core.decorators.jit = jit


def pytest_runtest_call(item: pytest.Item) -> None:
    """Name the test in the records to come."""
    LOG.test = item.nodeid.split("/")[-1]
