"""The op table: every op that a program can name, and how to find it.

>>> import numpy as np
>>> find(np.sin).name, find(np.abs).name, METHODS["sum"]
('sin', 'absolute', 'sum')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tensorjit.ops import creation, elementwise, indexing, methods, python_scalars, reductions
from tensorjit.ops import shape as shapes
from tensorjit.ops.abstract import Abstract
from tensorjit.ops.opdef import OpDef
from tensorjit.ops.typed import TypedBuilder

__all__ = ["ATTRIBUTES", "METHODS", "OPS", "find"]

_ROWS = (
    *elementwise.ROWS,
    *reductions.ROWS,
    *creation.ROWS,
    *shapes.ROWS,
    *indexing.ROWS,
    *methods.ROWS,
    *python_scalars.ROWS,
)

OPS: Mapping[str, OpDef] = MappingProxyType({row.name: row for row in _ROWS})
"""Row name -> row."""

METHODS: Mapping[str, str] = MappingProxyType({method: row.name for row in _ROWS for method in row.methods})
"""ndarray method -> name of the row that it means."""

ATTRIBUTES: Mapping[str, Callable[[TypedBuilder, Abstract], Abstract]] = MappingProxyType(methods.ATTRIBUTES)
"""Attribute of an array or number -> what it is."""

# by identity: `==` between a ufunc and whatever else a program names may not be a bool
_BY_CALLABLE: Mapping[int, OpDef] = MappingProxyType({id(obj): row for row in _ROWS for obj in row.numpy})

if len(OPS) != len(_ROWS):
    raise AssertionError("two rows of one name")


def find(obj: object) -> OpDef | None:
    """The row of a NumPy, math or builtin callable; None where there is none."""
    return _BY_CALLABLE.get(id(obj))
