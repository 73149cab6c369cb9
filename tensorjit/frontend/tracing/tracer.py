"""What the traced function is given in place of its arguments: objects that compute like them, and record
what is done.

A tracer holds the array or number of this run (`_tj_concrete`) and the number of its value in the recording
(`_tj_index`). None is a subclass of what it stands for, because NumPy's C code would read such an object
without a word; `isinstance` says what the function would see without the trace. Whatever Python demands as a
real bool, int or float goes through the recorder, which warns and guards.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, Protocol, final

import numpy as np


class Records(Protocol):
    """What a tracer asks of the recorder that it belongs to."""

    def binary(self, op: str, x: Any, y: Any) -> Any: ...
    def inplace(self, op: str, x: Any, y: Any) -> Any: ...
    def unary(self, op: str, x: Any) -> Any: ...
    def compare(self, op: str, x: Any, y: Any) -> Any: ...
    def subscript(self, x: Any, key: Any) -> Any: ...
    def set_subscript(self, x: Any, key: Any, value: Any) -> None: ...
    def attribute(self, x: Any, name: str) -> Any: ...
    def method(self, x: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def builtin(self, name: str, *args: Any) -> Any: ...
    def truth(self, x: Any) -> bool: ...
    def number(self, x: Any, kind: Callable[[Any], Any]) -> Any: ...
    def length(self, x: Any, use: str) -> int: ...
    def ufunc(self, function: np.ufunc, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def function(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...
    def refuse(self, message: str, hint: str = "") -> Exception: ...
    def text(self, x: Any, make: Callable[[Any], str]) -> str: ...
    def class_of(self, x: Any) -> Any: ...
    def foreign(self, op: str, x: Any, other: Any, reflected: bool = False) -> Any: ...


def _binary(op: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    def forward(self: Tracer, other: Any) -> Any:
        recorder = self._tj_recorder
        return recorder.binary(op, self, other) if self._tj_takes(other) else recorder.foreign(op, self, other)

    def reflected(self: Tracer, other: Any) -> Any:
        recorder = self._tj_recorder
        return recorder.binary(op, other, self) if self._tj_takes(other) else recorder.foreign(op, self, other, reflected=True)

    return forward, reflected


def _inplace(op: str) -> Callable[[Any, Any], Any]:
    def forward(self: Tracer, other: Any) -> Any:
        mutable = isinstance(self._tj_concrete, np.ndarray) and self._tj_takes(other)
        return self._tj_recorder.inplace(op, self, other) if mutable else NotImplemented

    return forward


def _compare(op: str) -> Callable[[Any, Any], Any]:
    def forward(self: Tracer, other: Any) -> Any:
        if self._tj_takes(other):
            return self._tj_recorder.compare(op, self, other)
        return self._tj_recorder.foreign(op, self, other)

    return forward


def _unary(op: str) -> Callable[[Any], Any]:
    return lambda self: self._tj_recorder.unary(op, self)


def _builtin(name: str) -> Callable[..., Any]:
    return lambda self, *args: self._tj_recorder.builtin(name, self, *args)


def _number(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda self: self._tj_recorder.number(self, kind)


class Tracer:
    """A value of the recording, with all of Python's operators."""

    __slots__ = ("_tj_concrete", "_tj_index", "_tj_recorder")
    __array_priority__ = 1000.0

    _tj_concrete: Any
    _tj_index: int
    _tj_recorder: Records

    def __init__(self, recorder: Records, index: int, concrete: Any) -> None:
        set_slot = object.__setattr__
        set_slot(self, "_tj_recorder", recorder)
        set_slot(self, "_tj_index", index)
        set_slot(self, "_tj_concrete", concrete)

    def _tj_takes(self, other: Any) -> bool:
        return isinstance(other, (Tracer, *_NUMBERS, np.ndarray, list, tuple))

    @property
    def __class__(self) -> Any:  # what isinstance sees, so that the function takes the path that it takes untraced
        return type(self._tj_concrete) if _asks_itself() else self._tj_recorder.class_of(self)

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise TypeError("the class of a traced value cannot be changed")

    def __setattr__(self, name: str, value: Any) -> None:
        hint = "use x.reshape(...)" if name == "shape" else "use a method that makes a new array"
        raise self._tj_recorder.refuse(f"the attribute {name!r} of a traced value is set", hint)

    def __repr__(self) -> str:
        return self._tj_recorder.text(self, repr)

    def __str__(self) -> str:
        return self._tj_recorder.text(self, str)

    def __format__(self, spec: str) -> str:
        return self._tj_recorder.text(self, lambda value: format(value, spec))

    __add__, __radd__ = _binary("+")
    __sub__, __rsub__ = _binary("-")
    __mul__, __rmul__ = _binary("*")
    __truediv__, __rtruediv__ = _binary("/")
    __floordiv__, __rfloordiv__ = _binary("//")
    __mod__, __rmod__ = _binary("%")
    __matmul__, __rmatmul__ = _binary("@")
    __and__, __rand__ = _binary("&")
    __or__, __ror__ = _binary("|")
    __xor__, __rxor__ = _binary("^")
    __lshift__, __rlshift__ = _binary("<<")
    __rshift__, __rrshift__ = _binary(">>")
    _tj_pow, __rpow__ = _binary("**")
    __eq__ = _compare("==")
    __ne__ = _compare("!=")
    __lt__ = _compare("<")
    __le__ = _compare("<=")
    __gt__ = _compare(">")
    __ge__ = _compare(">=")
    __neg__ = _unary("-")
    __pos__ = _unary("+")
    __invert__ = _unary("~")
    __abs__ = _builtin("abs")
    __round__ = _builtin("round")
    __index__ = _number(operator.index)
    __int__ = _number(int)
    __float__ = _number(float)
    __complex__ = _number(complex)

    def __trunc__(self) -> Any:
        kind = type(self._tj_concrete)
        if not hasattr(kind, "__trunc__"):
            raise TypeError(f"type {kind.__module__}.{kind.__name__} doesn't define __trunc__ method".replace("builtins.", ""))
        return math.trunc(self._tj_recorder.number(self, float))

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        if modulus is not None:
            raise self._tj_recorder.refuse("pow with a modulus", "use ** and %")
        return self._tj_pow(other)

    def __divmod__(self, other: Any) -> Any:
        return self._tj_recorder.builtin("divmod", self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return self._tj_recorder.builtin("divmod", other, self)

    def __bool__(self) -> bool:
        return self._tj_recorder.truth(self)

    def __hash__(self) -> int:
        if isinstance(self._tj_concrete, np.ndarray):
            raise TypeError("unhashable type: 'numpy.ndarray'")
        concrete = self._tj_concrete
        kind = type(concrete.item()) if isinstance(concrete, np.generic) else type(concrete)
        return hash(self._tj_recorder.number(self, kind))

    def __reduce_ex__(self, protocol: object) -> Any:
        raise self._tj_recorder.refuse("a traced value is pickled", "do that outside of the traced function")

    # NumPy's protocols

    def __array_ufunc__(self, function: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._tj_recorder.ufunc(function, method, args, kwargs)

    def __array_function__(self, function: Callable[..., Any], types: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._tj_recorder.function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self._tj_recorder.refuse(
            "a traced value is turned into a plain array, or stored in one",
            "make the array in the traced function, with np.zeros for example; for np.float32(x) write x.astype(np.float32), "
            "for np.r_ write np.concatenate",
        )


@final
class ArrayTracer(Tracer):
    """An array or a NumPy scalar."""

    __slots__ = ()

    __iadd__ = _inplace("+")
    __isub__ = _inplace("-")
    __imul__ = _inplace("*")
    __itruediv__ = _inplace("/")
    __ifloordiv__ = _inplace("//")
    __imod__ = _inplace("%")
    __imatmul__ = _inplace("@")
    __iand__ = _inplace("&")
    __ior__ = _inplace("|")
    __ixor__ = _inplace("^")
    __ilshift__ = _inplace("<<")
    __irshift__ = _inplace(">>")
    __ipow__ = _inplace("**")

    def __getitem__(self, key: Any) -> Any:
        return self._tj_recorder.subscript(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._tj_recorder.set_subscript(self, key, value)

    def __getattr__(self, name: str) -> Any:
        return self._tj_recorder.attribute(self, name)

    def __len__(self) -> int:
        return self._tj_recorder.length(self, "its length")

    def __iter__(self) -> Iterator[Any]:
        count = self._tj_recorder.length(self, "a loop over it, or its unpacking")
        return iter([self[k] for k in range(count)])

    def __reversed__(self) -> Iterator[Any]:
        count = self._tj_recorder.length(self, "a loop over it")
        return iter([self[k] for k in reversed(range(count))])

    def __contains__(self, x: Any) -> bool:
        return bool(self._tj_recorder.compare("in", x, self))

    def __copy__(self) -> Any:
        return self._tj_recorder.method(self, "copy", (), {})

    def __deepcopy__(self, memo: object) -> Any:
        return self._tj_recorder.method(self, "copy", (), {})


class ScalarTracer(Tracer):
    """A Python bool, float or complex."""

    __slots__ = ()

    def _tj_takes(self, other: Any) -> bool:
        return isinstance(other, (Tracer, *_NUMBERS, np.ndarray))  # [0] * n is left to the list

    def __getattr__(self, name: str) -> Any:
        return self._tj_recorder.attribute(self, name)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self


@final
class SymbolicInt(ScalarTracer):
    """A Python int: a size, what was computed of sizes, or an argument. It is not an `int`."""

    __slots__ = ()

    def __trunc__(self) -> Any:
        return self

    __floor__ = __ceil__ = __trunc__


def _asks_itself() -> bool:
    """Whether it is not the user's code, or a library's, that looks at a class."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == "abc":  # isinstance with an abstract class
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__", "")).startswith("tensorjit.")


_NUMBERS: Final = (bool, int, float, complex, np.generic)
