"""NumPy's floating-point warnings, from the status flags that a compiled call raised.

NumPy tells of a flag once per ufunc call; a compiled function once per call of it, naming its operations. What happens is
`numpy.errstate`'s to say: ignore, warn, raise, call, print, log.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# NumPy's NPY_FPE_* bits, in the order in which NumPy reports them (numpy/_core/src/umath/extobj.c)
_KINDS = (
    (1, "divide", "divide by zero"),
    (2, "over", "overflow"),
    (4, "under", "underflow"),
    (8, "invalid", "invalid value"),
)
MAX_NAMES = 4


def reporter(names: Sequence[str]) -> Callable[[int], None]:
    """What an entry tells about flags, for a function made of these ops.

    >>> with np.errstate(divide="raise"):
    ...     reporter(["log"])(1)
    Traceback (most recent call last):
    FloatingPointError: divide by zero encountered in log
    """
    shown = list(dict.fromkeys(names))
    text = ", ".join(shown[:MAX_NAMES]) + (", ..." if len(shown) > MAX_NAMES else "")

    def report(flags: int) -> None:
        modes = np.geterr()
        for bit, kind, what in _KINDS:
            if flags & bit:
                _tell(modes[kind], f"{what} encountered in {text or 'a compiled function'}", what, flags)  # type: ignore[literal-required]

    return report


def _tell(mode: str, message: str, what: str, flags: int) -> None:
    if mode == "warn":
        warnings.warn(message, RuntimeWarning, stacklevel=caller_level())
    elif mode == "raise":
        raise FloatingPointError(message)
    elif mode == "call":
        handler: Any = np.geterrcall()
        if handler is None:
            raise NameError(f"python callback specified for {what} but no function found.")
        handler(what, flags)
    elif mode == "print":
        _write(f"Warning: {message}\n")
    elif mode == "log":
        handler = np.geterrcall()
        if handler is None:
            raise NameError(f"log specified for {what} but no object with write method found.")
        handler.write(f"Warning: {message}\n")


def caller_level() -> int:
    """The stack level, for whoever asks, of the code that called the compiled function: a first call comes through our own."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tensorjit."):
        level, frame = level + 1, frame.f_back
    return level


def _write(text: str) -> None:
    sys.stderr.write(text)
