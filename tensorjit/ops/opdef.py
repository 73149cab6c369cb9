"""What is known of one kind of op: a row of the op table.

A row holds an op's name, the NumPy callables and methods that mean it, its type rule and its scalar lowering side by side; adding
an op is adding a row. Four kinds of rows:

* ``elementwise``: a ufunc with one output. The type rule is NumPy's own (`ufunc.resolve_dtypes`, NEP 50 included); `scalar` lowers
  one element to kernel expressions, or returns None where NumPy's own loop shall be called.
* ``reduction``: `reduction` names the kernel reduction; `rule` gives the keyword arguments their meaning.
* ``function``: everything that is built from other ops; `rule` builds it.
* ``python``: an operator on Python scalars, with Python's own checks (overflow, division by zero).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import numpy as np

from tensorjit.ir.dtypes import DType
from tensorjit.ir.kernel import Expr, ReductionOp
from tensorjit.ir.types import Loop as Loop
from tensorjit.records import dataclass

RowKind = Literal["elementwise", "reduction", "function", "python"]
Scalar = Callable[[Sequence[Expr], DType], "Expr | None"]
Rule = Callable[..., Any]


@final
@dataclass(frozen=True, slots=True)
class OpDef:
    """One row. `scalar(args, output)` gets kernel expressions already cast to the loop's input dtypes. Of operands that are all
    `harmless`, a ufunc raises no floating-point flag. `raises`: it may end in an exception.

    `rule(b, *args, **kwargs)` has NumPy's signature after the builder, so that a keyword which it does not name is refused.
    """

    name: str
    kind: RowKind
    numpy: tuple[object, ...] = ()
    methods: tuple[str, ...] = ()
    ufunc: np.ufunc | None = None
    scalar: Scalar | None = None
    reduction: ReductionOp | None = None
    rule: Rule | None = None
    commutative: bool = False
    harmless: float = 1.0
    raises: bool = False
    doc: str = ""

    @property
    def nin(self) -> int:
        return 1 if self.ufunc is None else self.ufunc.nin

    def lower(self, args: Sequence[Expr], output: DType) -> Expr | None:
        """The kernel expression of one element, or None where the row has none for these dtypes."""
        return None if self.scalar is None else self.scalar(args, output)


def function_row(name: str, rule: Rule, *numpy: object, methods: tuple[str, ...] = ()) -> OpDef:
    """A row that is built from other ops."""
    return OpDef(name, "function", numpy, methods, rule=rule)
