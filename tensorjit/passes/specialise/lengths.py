"""What a captured array's dimensions are: those of other arrays of the first call that are as long.

So ``np.tanh(x @ w + self.b)`` needs no broadcasting at run time. What is assumed is guarded: a call without it is another version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from tensorjit.ir.dims import Dim, symbol
from tensorjit.ir.signature import Place

Lengths = tuple[int, ...]


@final
class KnownLengths:
    """The lengths of the first call's arrays, numbered as the params of the typed graph, and the dims that stand for them.

    A captured array has the dims of an array of its very shape, or each the dim of the last one of that length. The sides of a
    square count as equal, which those of an argument do not: what is captured is seldom of another shape in the next call.
    """

    def __init__(self) -> None:
        self.equal: list[tuple[Place, Place]] = []  # what was assumed
        self.symbols: dict[str, Place] = {}  # what could not be
        self._shapes: dict[Lengths, tuple[int, Sequence[Dim]]] = {}
        self._dims: dict[int, tuple[Place, Dim]] = {}

    def add(self, array: int, lengths: Lengths, dims: Sequence[Dim]) -> None:
        """An argument."""
        self._shapes.setdefault(lengths, (array, dims))
        self._dims.update((n, ((array, axis), dim)) for axis, (n, dim) in enumerate(zip(lengths, dims, strict=True)))

    def assume(self, array: int, lengths: Lengths, name: str) -> tuple[Dim, ...]:
        """The dims of a captured array; a length of 1 is 1."""
        dims = tuple(1 if n == 1 else self._dim((array, axis), lengths, name) for axis, n in enumerate(lengths))
        self._shapes.setdefault(lengths, (array, dims))
        return dims

    def _dim(self, place: Place, lengths: Lengths, name: str) -> Dim:
        array, axis = place
        if lengths in self._shapes:
            other, dims = self._shapes[lengths]
            known, dim = (other, axis), dims[axis]
        elif lengths[axis] in self._dims:
            known, dim = self._dims[lengths[axis]]
        else:
            dim = symbol(f"{name}{array}_{axis}", not_one=True)
            self.symbols[str(dim)] = place
            self._dims[lengths[axis]] = place, dim
            return dim
        self.equal.append((known, place))
        return dim
