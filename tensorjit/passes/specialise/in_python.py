"""Python's builtins over arrays and ranges, written as the loops that they are: they are inlined like a function of the user's."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any


def sum_(iterable: Any, start: Any = 0) -> Any:
    """sum(iterable, start)."""
    total = start
    for x in iterable:
        total = total + x
    return total


def any_(iterable: Any) -> bool:
    """any(iterable)."""
    for x in iterable:  # noqa: SIM110  (which is what this says)
        if x:
            return True
    return False


def all_(iterable: Any) -> bool:
    """all(iterable)."""
    for x in iterable:  # noqa: SIM110
        if not x:
            return False
    return True


IN_PYTHON: Mapping[Callable[..., Any], FunctionType] = {builtins.sum: sum_, builtins.any: any_, builtins.all: all_}  # type: ignore[dict-item]
