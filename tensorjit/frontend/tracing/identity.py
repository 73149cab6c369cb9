"""Whether two things that a traced function sees are one object.

`is` asks the tracers, and tells nobody. So a function whose code compares objects by identity is traced with care: each array
among the arguments, and each captured object, is one tracer or substitute, whatever ways lead to it, and guards say which of
them are one object and which are not. In a function without such code it does not matter, and nothing is guarded.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Final, Protocol, final

MAX_PAIRS: Final = 1000  # that are guarded in one run


class Asks(Protocol):
    """What is asked of the recorder."""

    def same_array(self, a: int, b: int, found: bool) -> None: ...
    def warn(self, message: str, hint: str) -> None: ...


class WatchError(BaseException):
    """A run has come to code that compares objects by identity, and was not recorded with care from its start. No Exception, so
    that the traced function does not catch it."""


@lru_cache(maxsize=1024)
def compared(code: CodeType) -> tuple[bool, bool]:
    """Whether code, or a function within it, compares objects by identity, and whether it does so with True or False.

    >>> compared((lambda a, b: a is b).__code__), compared((lambda a: a is None or a is True).__code__)
    ((True, False), (False, True))
    """
    objects = "id" in code.co_names
    bools = False
    before = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IS_OP":
            constant = before is not None and before.opname.startswith("LOAD_CONST")
            objects = objects or not constant
            bools = bools or (constant and before is not None and isinstance(before.argval, bool))
        before = instruction
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found = compared(inner)
            objects, bools = objects or found[0], bools or found[1]
    return objects, bools


def asks_for_types(code: CodeType) -> bool:
    """Whether code uses `type` for more than its first parameter.

    >>> asks_for_types((lambda self: type(self).__name__).__code__), asks_for_types((lambda self, x: type(x)).__code__)
    (False, True)
    """
    operations = [i for i in dis.get_instructions(code) if i.opname not in ("PUSH_NULL", "PRECALL")]
    for use, argument, call in zip(operations, operations[1:], operations[2:], strict=False):
        if use.opname == "LOAD_GLOBAL" and use.argval == "type":
            own = argument.opname.startswith("LOAD_FAST") and argument.argval in code.co_varnames[:1]
            if not (own and call.opname == "CALL"):
                return True
    return any(asks_for_types(inner) for inner in code.co_consts if isinstance(inner, CodeType))


@final
class Identity:
    """The arrays of one run that came as arguments; `watched` says whether it is recorded with care."""

    def __init__(self, asks: Asks, watched: bool) -> None:
        self.watched = watched
        self._asks = asks
        self._arguments: list[tuple[Any, Any]] = []  # the caller's array, what the function sees
        self._pairs = 0

    def require(self, code: CodeType) -> None:
        """A copy of this code will run."""
        if compared(code)[0]:
            self.watch()

    def watch(self) -> None:
        """Objects are told apart: they must have been from the start of the run."""
        if not self.watched:
            raise WatchError

    def argument(self, array: Any, tracer: Any) -> Any:
        """What the function sees of an argument: the same for the same array."""
        found = self.known(array, tracer)
        if self.watched and found is tracer:
            self._arguments.append((array, tracer))
        return found

    def known(self, array: Any, tracer: Any) -> Any:
        """The argument that an array is, or else its own tracer."""
        for other, seen in self._arguments if self.watched and self.may_ask() else ():
            self._asks.same_array(seen._tj_index, tracer._tj_index, other is array)
            if other is array:
                return seen
        return tracer

    def others(self, known: Sequence[tuple[Any, Any]], value: Any) -> Iterator[Any]:
        """The places of other objects of its class: to be guarded to be others."""
        for other, place in known if self.watched else ():
            if type(other) is type(value) and self.may_ask():
                yield place

    def may_ask(self) -> bool:
        """Whether there is room for one more guard."""
        self._pairs += 1
        if self._pairs == MAX_PAIRS:
            self._asks.warn(
                "a function that compares objects by identity sees so many that not all pairs are guarded",
                "compare names or indices",
            )
        return self._pairs < MAX_PAIRS
