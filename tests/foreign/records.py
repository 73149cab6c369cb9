"""One call, plain and compiled, on copies of its arguments: a record of what differs, a line of JSON.

============  ==============================================================================
same          equal in value, dtype, shape and type, in what it does to its arguments, or in the class of what it raises
refused       a CompileError
internal      an InternalError, or an exception that the compiler's own code raised
diff          the two results differ, or what they do to an argument
class         both raised, exceptions of different classes
status        one raised, and the other did not
timeout       the compiled call did not end in time
============  ==============================================================================
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, final

import numpy as np

import tensorjit as tj
from tensorjit.errors import InternalError
from tests.system.harness import public

Function = Callable[..., Any]
COMPILER = tuple(str(Path(tj.__file__).parent / part) for part in ("passes", "ops", "ir", "frontend", "backends", "compiler.py"))
_SHOWN = 160


class Late(BaseException):
    """A call took too long: no `except Exception` of a test shall catch it."""


@final
@dataclass(slots=True)
class Log:
    """Where records go, and the test at hand; nothing is written where no file is named."""

    test: str = ""
    _file: TextIO | None = field(default=None, repr=False)

    def write(self, function: str, kind: str, **more: Any) -> None:
        """Add a record."""
        if self._file is None:
            self._file = open(os.environ.get("FOREIGN_LOG", os.devnull), "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        self._file.write(json.dumps({"test": self.test, "function": function, "kind": kind, **more}) + "\n")


LOG = Log()


@final
@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: `how` is "returned", "raised", "refused", "internal" or "timeout"."""

    how: str
    result: Any = None
    error: str = ""
    message: str = ""


def compare(name: str, plain: Function, compiled: Function, args: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """Call both on copies, and log one record."""
    first, second = [copied(a) for a in args], [copied(a) for a in args]
    wanted = ended(plain, first, keywords, seconds=10)
    if wanted.how == "timeout":
        return
    found = ended(compiled, second, keywords, seconds=30)
    shown: dict[str, Any] = {"args": [shown_as(a) for a in args] + [f"{k}={shown_as(v)}" for k, v in keywords.items()]}
    if found.how in ("refused", "internal", "timeout"):
        LOG.write(name, found.how, why=f"{found.error}: {found.message}"[:400], **shown)
        return
    kind, why = verdict(wanted, found, first, second)
    if kind == "same":
        LOG.write(name, kind)
    else:
        LOG.write(name, kind, why=why, want=str(wanted)[:300], got=str(found)[:300], **shown)


def verdict(wanted: Ended, found: Ended, first: Sequence[Any], second: Sequence[Any]) -> tuple[str, str]:
    """The kind of record of two calls, and what differs."""
    if wanted.how != found.how:
        return "status", ""
    if wanted.how == "raised":
        return ("same" if wanted.error == found.error else "class"), ""
    if why := difference(wanted.result, found.result):
        return "diff", why
    for k, (one, other) in enumerate(zip(first, second, strict=True)):
        if isinstance(one, np.ndarray | list) and (why := difference(one, other)):
            return "diff", f"argument {k}: {why}"
    return "same", ""


def ended(function: Function, args: Sequence[Any], keywords: Mapping[str, Any], seconds: int) -> Ended:
    """Call a function; what it raises, and that it takes too long, is how it ended."""
    try:
        with limited(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Ended("returned", function(*args, **keywords))
    except Late:
        return Ended("timeout")
    except Exception as error:
        return Ended(_how(error), None, public(type(error)).__name__, str(error))


def _how(error: Exception) -> str:
    if isinstance(error, tj.CompileError):
        return "internal" if isinstance(error, InternalError) else "refused"
    last = traceback.extract_tb(error.__traceback__)[-1]
    by_the_program = last.name in ("throw", "raiser", "ask_python")  # where what a check of the program found is raised
    return "internal" if last.filename.startswith(COMPILER) and not by_the_program else "raised"


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise `Late` in the code inside after some seconds of this process's time, which is what a busy machine does not make longer;
    code that never returns to Python is not reached."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# -- values --------------------------------------------------------------------------------------------------------


def copied(value: Any) -> Any:
    """A copy that keeps layouts and the types of containers."""
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if isinstance(value, list):
        return [copied(v) for v in value]
    if isinstance(value, tuple):
        parts = [copied(v) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


def shown_as(value: Any) -> str:
    """A value in a record: short, with the layout of an array."""
    if isinstance(value, np.ndarray):
        items = value.ravel()[:8].tolist()
        return f"array({items}, shape={value.shape}, dtype={value.dtype}, strides={value.strides})"[: 2 * _SHOWN]
    return repr(value)[:_SHOWN]


def difference(wanted: Any, found: Any) -> str:
    """What differs between two values, "" for nothing; "ulp 2.0" for floats that are so many units in the last place apart."""
    equal_dtypes = isinstance(wanted, np.generic) and isinstance(found, np.generic)  # np.longlong counts as np.int64
    if type(wanted) is not type(found) and not equal_dtypes:
        return f"type {type(wanted).__name__} {type(found).__name__}"
    if isinstance(wanted, tuple | list):
        if len(wanted) != len(found):
            return "length"
        return next((d for w, f in zip(wanted, found, strict=True) if (d := difference(w, f))), "")
    if isinstance(wanted, np.ndarray | np.generic):
        if wanted.dtype != found.dtype or wanted.shape != found.shape:
            return f"{wanted.dtype}{wanted.shape} {found.dtype}{found.shape}"
        if wanted.dtype.kind in "fc":
            distance = ulps(np.asarray(wanted), np.asarray(found))
            return f"ulp {distance:.3g}" if distance else ""
        return "" if np.array_equal(wanted, found) else "values"
    if isinstance(wanted, float | complex):
        return difference(np.asarray(wanted), np.asarray(found))
    return "" if wanted == found or (wanted != wanted and found != found) else "values"


def ulps(wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """The largest distance in units in the last place; infinite where one is NaN or infinite and the other is not, 0.25 where
    zeros differ in sign."""
    if wanted.dtype.kind == "c":
        return max(ulps(wanted.real, found.real), ulps(wanted.imag, found.imag))
    with np.errstate(all="ignore"):
        same = ((wanted == found) & (np.signbit(wanted) == np.signbit(found))) | (np.isnan(wanted) & np.isnan(found))
        distance = np.abs(wanted - found)[~same]
        unit = np.spacing(np.maximum(np.abs(wanted), np.abs(found)))[~same]
        if not np.isfinite(distance).all():
            return float("inf")
        return float(np.where(distance == 0, 0.25, distance / np.where(unit == 0, 1, unit)).max(initial=0.0))
