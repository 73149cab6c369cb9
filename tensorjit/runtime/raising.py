"""Exceptions and warnings by the qualified names of their classes, as compiled code raises them."""

from __future__ import annotations

import builtins
import importlib
import warnings
from functools import cache
from typing import Any

from tensorjit.runtime.fpstatus import caller_level


@cache
def resolve(name: str) -> Any:
    """A builtin, or the object of a qualified name.

    >>> resolve("numpy.linalg.norm").__name__, resolve("IndexError")
    ('norm', <class 'IndexError'>)
    """
    if "." not in name:
        return getattr(builtins, name)
    path, _, rest = name.partition(".")
    found: Any = importlib.import_module(path)
    for part in rest.split("."):
        path = f"{path}.{part}"
        found = getattr(found, part) if hasattr(found, part) else importlib.import_module(path)
    return found


def make_exception(kind: str | type[BaseException], text: str) -> BaseException:
    """An exception by its class, or the qualified name of its class, and its message.

    >>> make_exception("IndexError", "too far")
    IndexError('too far')
    """
    known: type[BaseException] = resolve(kind) if isinstance(kind, str) else kind
    if known.__module__ == "numpy._core._exceptions":
        known = _with_text(known)  # type: ignore[arg-type]  # a class is hashable
    return known(text) if text else known()


@cache
def _with_text(kind: Any) -> Any:
    """NumPy's casting errors are made of ufuncs and dtypes: the same class with a text of its own.

    >>> error = make_exception("numpy._core._exceptions._UFuncOutputCastingError", "no")
    >>> str(error), isinstance(error, TypeError)
    ('no', True)
    """
    own = {
        "__init__": Exception.__init__,
        "__str__": Exception.__str__,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    return type(kind.__name__, (kind,), own)


def warn(message: str, category: type[Warning]) -> None:
    """Warn in the line that called the compiled function."""
    warnings.warn(message, category, stacklevel=caller_level())
