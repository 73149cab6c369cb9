"""What messages call the values of a program: in the words of its author, never in those of the compiler."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType, ModuleType, NoneType

import numpy as np

from tensorjit.ir.graph import Value
from tensorjit.ir.types import ArrayType, ScalarType, Type
from tensorjit.ops.abstract import (
    Abstract,
    Bound,
    Closure,
    Mapped,
    OneOf,
    Poison,
    Raised,
    Range,
    Sequence_,
    Slice,
    Static,
    SymInt,
    Text,
    Unbound,
)


def describe(x: Abstract) -> str:
    """An abstract value in words, for messages.

    >>> describe(Static(None)), describe(Static(np.r_)), describe(Sequence_(()))
    ('None', 'a RClass object', 'a tuple')
    """
    if isinstance(x, Value):
        return _describe_type(x.type)
    if isinstance(x, SymInt):
        return "an int"
    if isinstance(x, Static):
        return _describe_object(x.value)
    if isinstance(x, Sequence_):
        return "a list" if x.is_list else "a tuple"
    if isinstance(x, Bound):
        return f"the method {x.name!r} of {describe(x.owner)}"
    if isinstance(x, Closure):
        return f"the function {x.graph.name!r}"
    if isinstance(x, OneOf):
        return " or ".join(map(describe, x.values))
    if isinstance(x, Unbound):
        return f"the variable {x.name!r}, which has no value yet"
    return f"{x.kind}(...)" if isinstance(x, Mapped) else _WORDS[type(x)]


_WORDS: Mapping[type, str] = {
    Range: "a range",
    Slice: "a slice",
    Text: "a string that is known at run time only",
    Raised: "an exception",
    Poison: "a value that was refused",
}
_RANKS = {0: "no", 1: "one", 2: "two", 3: "three"}


def plain_number(x: object) -> str:
    """A hint for a number of a class of its own, such as a member of an IntEnum; none for anything else."""
    value = x.value if isinstance(x, Static) else x
    base = next((k for k in (int, float, complex) if isinstance(value, k)), None)
    return f"write {base.__name__}(...) of it" if base is not None and type(value) is not base else ""


def _describe_type(type: Type) -> str:
    if isinstance(type, ScalarType) and type.python:
        return _with_article(str(type))
    if not isinstance(type, (ScalarType, ArrayType)):
        return "a value of unknown type"
    name = type.dtype.numpy.name
    if isinstance(type, ScalarType):
        return f"a NumPy {name}"
    return f"{_with_article(name)} array of {_RANKS.get(type.rank, type.rank)} dimension{'' if type.rank == 1 else 's'}"


def _describe_object(value: object) -> str:
    name = getattr(value, "__name__", None)
    if isinstance(value, ModuleType):
        return f"the module {name!r}"
    if isinstance(value, type):
        return f"the class {name!r}"
    if isinstance(value, np.ufunc) or (callable(value) and name is not None):
        return f"the function {name!r}"
    if isinstance(value, (bool, int, float, complex, str, bytes, NoneType, EllipsisType, np.generic, np.dtype)):
        return repr(value) if len(repr(value)) < 60 else _with_article(type(value).__name__)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"a namedtuple ({type(value).__name__})"
    word = type(value).__name__
    return _with_article(word) if type(value).__module__ == "builtins" else f"{_with_article(word)} object"


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeioAEIO' else 'a'} {word}"
