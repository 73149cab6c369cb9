"""Arrays that the traced function makes by what the trace does not see: constants of the trace.

Each call has a copy of its own, because it may return it to a caller who writes into it. In a run, one array is one value:
what the function writes into it by plain NumPy is recorded when the array is next used. Traced values cannot be written into
it, nor are its views known to be views.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any, Protocol, final

import numpy as np

from tensorjit.frontend.tracing.marks import has_mark


class Notes(Protocol):
    """What is asked of the recorder."""

    mark: str

    def constant(self, value: Any) -> int: ...
    def constant_copy(self, array: np.ndarray[Any, Any]) -> int: ...
    def emit(self, name: str, operands: Iterable[int] = (), /, *, droppable: bool = False, result: bool = True) -> int: ...
    def refuse(self, message: str, hint: str = "") -> Exception: ...


@final
class Made:
    """Those of one run."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._known: dict[int, tuple[Any, int, Any]] = {}  # by id: the array, the number of its value, and what it held

    def has(self, x: object) -> bool:
        """Whether something is such an array."""
        return type(x) is np.ndarray and has_mark(x, self._notes.mark)

    @property
    def told(self) -> bool:
        """Whether it was told that there are some."""
        return bool(self._known)

    def lift(self, array: np.ndarray[Any, Any]) -> tuple[int, Any]:
        """The number of its value, and what the trace computes with."""
        if id(array) not in self._known:
            self._known[id(array)] = (array, self._notes.constant_copy(array), array.copy(order="K"))
        _, index, held = self._known[id(array)]
        if not same_values(array, held):
            new = self._notes.constant_copy(array)
            self._notes.emit("set_subscript", (index, self._notes.constant(Ellipsis), new), result=False)
            held[...] = array
        return index, held

    def check_written(self, targets: Iterable[Any]) -> None:
        """Refuse to write traced values into one: plain NumPy would read there what this run has written."""
        if any(map(self.has, _flat(tuple(targets)))):
            raise self._notes.refuse(
                "a traced value is stored in a plain array", "make the array in the traced function, with np.zeros for example"
            )

    def check_returned(self, result: Any) -> None:
        """Refuse to return arrays that show the same memory: they would be two copies."""
        for a, b in combinations({id(x): x for x in _flat(result) if self.has(x)}.values(), 2):
            if np.shares_memory(a, b):
                message = "two arrays that show the same memory, made by code that the trace does not see, are returned"
                raise self._notes.refuse(message, "make them of traced arrays, or return copies")


def same_values(a: Any, b: np.ndarray[Any, Any]) -> bool:
    """Whether two arrays hold the same bits.

    >>> same_values(np.zeros(2), np.zeros(2)), same_values(np.zeros(2), -np.zeros(2))
    (True, False)
    """
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, (tuple, list)):
        for item in x:
            yield from _flat(item)
    else:
        yield x
