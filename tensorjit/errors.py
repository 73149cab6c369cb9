"""Errors and warnings of tensorjit.

An error that is the user's to mend carries one :class:`Problem` for each place, printed as file:line, the source line, a caret,
what was seen, why it is refused, and how to write it instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from tensorjit.records import dataclass


@final
@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's source; `line` is the text of the source line where it is known."""

    filename: str
    lineno: int
    col: int = 0
    end_col: int = 0
    line: str = ""
    function: str = ""

    def __str__(self) -> str:
        return f"{self.filename}:{self.lineno}:{self.col}"


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong at one place: what was seen and why it is refused, and a hint how to write it."""

    message: str
    loc: Loc | None = None
    hint: str = ""

    def render(self) -> str:
        """The problem as shown to the user.

        >>> print(Problem("no", Loc("f.py", 3, 4, 5, "    x = 1"), "write y").render())
        f.py:3:5: no
            |     x = 1
            |     ^
          hint: write y
        """
        if self.loc is None:
            lines = [self.message]
        else:
            lines = [f"{self.loc.filename}:{self.loc.lineno}:{self.loc.col + 1}: {self.message}"]
            if self.loc.line:
                width = max(1, min(self.loc.end_col, len(self.loc.line)) - self.loc.col)
                lines += [f"    | {self.loc.line}", f"    | {' ' * self.loc.col}{'^' * width}"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class TensorJitError(Exception):
    """Base class of what tensorjit itself raises."""


class CompileError(TensorJitError):
    """A function cannot be compiled; `problems` says where and why."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (Problem(problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(p.render() for p in self.problems))

    @property
    def filename(self) -> str | None:
        loc = self.problems[0].loc
        return None if loc is None else loc.filename

    @property
    def lineno(self) -> int | None:
        loc = self.problems[0].loc
        return None if loc is None else loc.lineno


class UnsupportedError(CompileError):
    """Syntax, or a function, that the language does not have."""


@contextmanager
def depth_told(name: str) -> Iterator[None]:
    """What is nested too deeply for Python's own recursion is an UnsupportedError of this function.

    >>> with depth_told("f"):
    ...     raise RecursionError
    Traceback (most recent call last):
    tensorjit.errors.UnsupportedError: f, or an argument of it, is nested too deeply
      hint: split it into several functions; put what is nested into arrays
    """
    try:
        yield
    except RecursionError:
        hint = "split it into several functions; put what is nested into arrays"
        raise UnsupportedError([Problem(f"{name}, or an argument of it, is nested too deeply", None, hint)]) from None


class TypeInferenceError(CompileError):
    """The types of a program cannot be found, or do not fit."""


class InternalError(CompileError):
    """The compiler failed where it should have compiled, or refused with a reason: a fault of tensorjit, to be reported. What it met
    is the `__cause__`."""


class GuardError(TensorJitError):
    """A recorded assumption does not hold and there is nothing to re-trace."""


class TracingCheckError(TensorJitError):
    """A traced function differs from the function that it was recorded from."""


class VerifyError(TensorJitError):
    """The IR is not well formed: a fault of tensorjit, never of the user."""


class FormatError(TensorJitError):
    """Text or a file that is not what tensorjit wrote."""


class TensorJitWarning(UserWarning):
    """Base class of tensorjit's warnings."""


class TracerWarning(TensorJitWarning):
    """A traced function used a value as a Python bool, int or float: the value became a guard."""


class FallbackWarning(TensorJitWarning):
    """A function runs as plain Python, because it could not be compiled and fallback="python" was chosen."""


RAW = False  # in tests: internal errors come out as what they are
REPORT = 'this is a fault of tensorjit: please report it, with the function and this traceback; fallback="python" runs it meanwhile'


def internal_error(error: BaseException, work: str, loc: Loc | None = None) -> InternalError:
    """What the user is told of an exception of the compiler's own.

    >>> print(internal_error(KeyError("x"), "compiled f"))
    an internal error of tensorjit while it compiled f (KeyError: 'x')
      hint: this is a fault of tensorjit: please report it, with the function and this traceback; ...
    """
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    return InternalError([Problem(f"an internal error of tensorjit while it {work} ({said})", loc, REPORT)])


@contextmanager
def internal_errors_told(name: str, loc: Callable[[], Loc | None] = lambda: None) -> Iterator[None]:
    """Around the compiler's own work: what it raises is its fault, but for what it says to the user, and memory that runs out."""
    try:
        yield
    except Exception as error:
        ours = isinstance(error, TensorJitError) and not isinstance(error, VerifyError)
        if RAW or ours or isinstance(error, MemoryError):
            raise
        raise internal_error(error, f"compiled {name}", loc()) from error
