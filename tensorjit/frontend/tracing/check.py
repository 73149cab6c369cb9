"""Holding a compiled function to the Python function that it was made of: `check_trace` and
`check_inputs`.

The Python function is run for that, on copies of the arrays. What it sets outside of itself is put back, so that a check
leaves the user's objects as they were.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MemberDescriptorType
from typing import Any, Final

import numpy as np

from tensorjit.errors import TracingCheckError
from tensorjit.ir.signature import is_record
from tensorjit.passes.specialise.state import MISSING, Source

# Relative and absolute tolerance of a dtype's kind and size: fused transcendentals and sums differ in the last bits.
TOLERANCES: Final[Mapping[str, tuple[float, float]]] = {
    "f2": (1e-3, 1e-5),
    "f4": (1e-5, 1e-7),
    "f8": (1e-9, 1e-12),
    "c8": (1e-5, 1e-7),
    "c16": (1e-9, 1e-12),
}


def check(
    function: Callable[..., Any],
    compiled: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    captured: Sequence[tuple[str, np.ndarray[Any, Any]]] = (),
    changes: Sequence[Source] = (),
) -> None:
    """Call both with copies of the arguments and compare what they return, and what they leave in the
    arguments and in captured arrays, which are then as they were, as are the places `changes` that the function sets.

    `tolerance` is relative and replaces the tolerance of each dtype. Raises TracingCheckError naming the
    first difference.

    >>> check(lambda x: x + 1, lambda x: x + 1.0, [np.arange(3)])
    Traceback (most recent call last):
        ...
    tensorjit.errors.TracingCheckError: the result is float64, and int64 in Python
    """
    given = [list(args), dict(kwargs or {})]
    mine, theirs = arguments_for(given, captured), arguments_for(given, captured)
    with untouched(captured), preserved(changes):
        expected = function(*mine[0], **mine[1])
        left, mine = [array.copy() for _, array in captured], own_copies(mine)
    with untouched(captured):
        found = compiled(*theirs[0], **theirs[1])
        for (name, array), expected_array in zip(captured, left, strict=True):
            compare(f"{name} after the call", array, expected_array, tolerance)
        for k, (a, b) in enumerate(zip(theirs[0], mine[0], strict=True)):
            compare(f"argument {k} after the call", a, b, tolerance)
        for name, b in mine[1].items():
            compare(f"argument {name} after the call", theirs[1][name], b, tolerance)
    compare("the result", found, expected, tolerance)


def arguments_for(args: Any, captured: Sequence[tuple[str, np.ndarray[Any, Any]]]) -> Any:
    """Copies of arguments, but for the arrays that the function captured: it may ask whether it was given one of them."""
    return own_copies(args, {id(array): array for _, array in captured})


def own_copies(x: Any, known: dict[int, Any] | None = None) -> Any:
    """Lists, tuples and dictionaries with copies of their arrays, one for each; objects stay who they are.

    >>> x = np.arange(2)
    >>> a, b = own_copies([x, x])
    >>> a is b, a is x
    (True, False)
    """
    known = {} if known is None else known
    if id(x) in known:
        return known[id(x)]
    if type(x) is np.ndarray:
        made: Any = x.copy(order="K")
        made.flags.writeable = x.flags.writeable
    elif type(x) in (list, tuple):
        made = type(x)([own_copies(item, known) for item in x])
    elif is_record(x):
        made = tuple.__new__(type(x), [own_copies(item, known) for item in x])
    elif type(x) is dict:
        made = {key: own_copies(item, known) for key, item in x.items()}
    else:
        return x
    return known.setdefault(id(x), made)


@contextmanager
def preserved(places: Sequence[Source]) -> Iterator[None]:
    """What is set in these places within it is undone at the end.

    >>> counts = {"calls": 1}
    >>> with preserved([Source("constant", counts, "counts")]):
    ...     counts["calls"] += 1
    >>> counts
    {'calls': 1}
    """
    with ExitStack() as stack:
        for place in places:
            stack.callback(_undoing(place))
        yield


def _undoing(place: Source) -> Callable[[], None]:
    """What puts back that which is in a place now: the object, and what it holds."""
    undo = [_contents(place.find())]
    owner = place.container.find() if isinstance(place.container, Source) else place.container
    if place.kind == "attribute" and place.name != "__dict__":
        undo.append(_attribute(owner, place.name))
    elif place.kind == "global":
        undo.append(_contents(owner, only=place.name))
    elif place.kind == "cell":
        undo.append(_cell(owner))
    return lambda: [put() for put in undo].clear()


def _contents(held: Any, only: Any = MISSING) -> Callable[[], None]:
    """Of a container; of a namespace, one name."""
    if only is not MISSING:
        before = held.get(only, MISSING)
        return lambda: held.pop(only, None) if before is MISSING else held.update({only: before})
    for kind, (items, clear, fill) in _CONTAINERS.items():
        if isinstance(held, kind):
            saved = items(held)
            return lambda: [clear(held), fill(held, saved)].clear()
    return lambda: None


def _attribute(owner: Any, name: str) -> Callable[[], None]:
    """Of the object itself, not of its class."""
    space = getattr(owner, "__dict__", {})
    if not isinstance(inspect.getattr_static(type(owner), name, None), MemberDescriptorType):
        return _contents(space, only=name)
    before = Source("attribute", Source("constant", owner), name).find()

    def put() -> None:
        if before is not MISSING:
            object.__setattr__(owner, name, before)
        elif hasattr(owner, name):
            object.__delattr__(owner, name)

    return put


def _cell(cell: Any) -> Callable[[], None]:
    before = Source("cell", cell).find()

    def put() -> None:
        if before is not MISSING:
            cell.cell_contents = before
        elif Source("cell", cell).find() is not MISSING:
            del cell.cell_contents

    return put


_CONTAINERS: Final[Mapping[type, tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any, Any], Any]]]] = {
    list: (list, list.clear, list.extend),
    dict: (dict, dict.clear, dict.update),
    set: (set, set.clear, set.update),
    bytearray: (bytes, bytearray.clear, bytearray.extend),
    deque: (list, deque.clear, deque.extend),
}


@contextmanager
def untouched(captured: Sequence[tuple[str, np.ndarray[Any, Any]]]) -> Iterator[None]:
    """What is written into these arrays within it is undone at the end."""
    before = [array.copy() for _, array in captured]
    try:
        yield
    finally:
        for (_, array), values in zip(captured, before, strict=True):
            array[...] = values


def compare(what: str, found: Any, expected: Any, tolerance: float | None = None) -> None:
    """Raise TracingCheckError where two results are not the same in structure, dtype, shape and value."""
    if isinstance(expected, (tuple, list)) and type(found) is type(expected):
        if len(found) != len(expected):
            raise TracingCheckError(f"{what} has {len(found)} items, and {len(expected)} in Python")
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            compare(f"{what}[{k}]", a, b, tolerance)
    elif isinstance(expected, (np.ndarray, np.generic)) and isinstance(found, (np.ndarray, np.generic)):
        _compare_arrays(what, found, expected, tolerance)
    elif type(found) is not type(expected):
        raise TracingCheckError(f"{what} is a {type(found).__name__}, and a {type(expected).__name__} in Python")
    elif isinstance(expected, (float, complex)):
        _compare_arrays(what, np.asarray(found), np.asarray(expected), tolerance)
    elif isinstance(expected, (bool, int, str, bytes)) and found != expected:
        raise TracingCheckError(f"{what} is {found!r}, and {expected!r} in Python")


def _compare_arrays(what: str, found: Any, expected: Any, tolerance: float | None) -> None:
    if found.dtype != expected.dtype:
        raise TracingCheckError(f"{what} is {found.dtype}, and {expected.dtype} in Python")
    if found.shape != expected.shape:
        raise TracingCheckError(f"{what} has the shape {found.shape}, and {expected.shape} in Python")
    if type(found) is not type(expected):
        raise TracingCheckError(f"{what} is a {type(found).__name__}, and a {type(expected).__name__} in Python")
    relative, absolute = TOLERANCES.get(expected.dtype.str[1:], (0.0, 0.0))
    with np.errstate(all="ignore"):
        same = np.isclose(found, expected, relative if tolerance is None else tolerance, absolute, equal_nan=True)
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~np.atleast_1d(same))[0]) if expected.ndim else ()
        place = f"[{', '.join(map(str, first))}]" if first else ""
        count = f" ({np.count_nonzero(~same)} of {same.size} elements differ)" if same.size > 1 else ""
        raise TracingCheckError(f"{what}{place} is {found[first]!r}, and {expected[first]!r} in Python{count}")
