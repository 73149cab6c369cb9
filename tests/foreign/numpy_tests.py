"""A pytest plugin: in NumPy's own test modules, every function and ufunc is also compiled and compared.

`np`, `np.linalg`, `np.fft` and every function that a module imported become stand-ins; the tests themselves see NumPy's results.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.foreign.calls import compared
from tests.foreign.records import LOG, Function

# Not functions of their arguments alone: they print, read files, set what later calls do, or leave what they return undefined.
LEFT_OUT = frozenset(
    "array_repr array_str array2string set_printoptions get_printoptions printoptions seterr geterr errstate save load savez savetxt "
    "loadtxt genfromtxt fromfile show_config info dtype setbufsize getbufsize seterrcall geterrcall frompyfunc shares_memory "
    "may_share_memory empty empty_like nested_iters einsum_path test".split()
)
FOLDERS: dict[str, types.ModuleType] = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft}
METHODS = frozenset({"reduce", "accumulate", "outer", "at", "reduceat"})


def _functions() -> dict[int, tuple[str, Any]]:
    """NumPy's functions by identity, with their paths: the shortest of each."""
    found = {}
    for path, module in reversed(FOLDERS.items()):
        for name in dir(module):
            value = getattr(module, name)
            if not name.startswith("_") and name not in LEFT_OUT and callable(value) and not isinstance(value, type):
                found[id(value)] = (f"{path}.{name}", value)
    return found


PATHS = _functions()


class Compared:
    """A function or ufunc whose calls, and those of a ufunc's methods, are compared."""

    def __init__(self, path: str, function: Any) -> None:
        self.path, self.function, self.stand_in = path, function, compared(path, function)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.stand_in(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.function, name)
        return Compared(f"{self.path}.{name}", value) if name in METHODS else value

    def __eq__(self, other: object) -> bool:
        return bool(self.function == getattr(other, "function", other))

    def __hash__(self) -> int:
        return hash(self.function)


class Folder(types.ModuleType):
    """A module of NumPy's, its functions compared."""

    def __init__(self, module: types.ModuleType) -> None:
        super().__init__(module.__name__)
        self.__dict__["module"] = module

    def __getattr__(self, name: str) -> Any:
        return converted(getattr(self.__dict__["module"], name))


_FOLDERS = {id(module): Folder(module) for module in FOLDERS.values()}
_stand_ins: dict[int, Function] = {}


def converted(value: Any) -> Any:
    """The stand-in of a function or a module of NumPy's; anything else itself."""
    path, function = PATHS.get(id(value), ("", None))
    if path and function is value:
        return _stand_ins.setdefault(id(value), Compared(path, function))
    return _FOLDERS.get(id(value), value)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Replace the names of every module that has tests."""
    for module in {found for item in items if (found := getattr(item, "module", None))}:
        for name, value in list(vars(module).items()):
            if (other := converted(value)) is not value:
                setattr(module, name, other)


def pytest_runtest_call(item: pytest.Item) -> None:
    """Name the test in the records to come."""
    LOG.test = item.nodeid.split("/")[-1]
