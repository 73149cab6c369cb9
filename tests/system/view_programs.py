"""Writes random programs that store through views of one buffer, and the arguments to call them with.

A program's arrays all have one length `d` along every axis, and its views one length `n` (`d` less a margin, or half of it), so
that whatever is transposed, shifted, reversed or stepped over still fits; parts of length one, indexed parts and results of
reductions broadcast to it. Where a view begins is a literal or one of the arguments i, j, k: one compiled function serves many
placements.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from tensorjit.records import dataclass

FLOATS = ("f8", "f4", "f2")
DTYPES = ("f8", "f8", "f8", "f4", "f4", "i8", "i4", "u1", "i1", "u2", "?", "c16", "f2")
LENGTHS = {1: (4, 6, 10, 34, 66, 130, 260), 2: (4, 6, 10, 18, 34, 66), 3: (4, 6, 10), 4: (4, 6)}
PLACES = {
    0: (":", "::-1", ":n", "0:"),
    1: ("1:", ":-1", "-2::-1", ":0:-1", "i:i+n", "j:j+n", "k:k+n", ":n"),
    2: ("2:", ":-2", "1:-1", "-3::-1", "-2:0:-1", ":1:-1", "i:i+n", "j:j+n", "k:k+n"),
    3: ("3:", ":-3", "1:-2", "2:-1", ":2:-1", "i:i+n", "j:j+n", "k:k+n"),
}
HALVES = ("::2", "1::2", ":n", "n:", "::-2", "-2::-2", "n-1::-1", "i:i+n", "j:j+n", "k:k+n", "i%2::2")
SINGLE = ("i:i+1", "j:j+1", ":1", "-1:", "1:2", "-2:-1")
INDICES = ("i", "j", "0", "-1", "1", "2", "-2")


@final
@dataclass(frozen=True, slots=True)
class Program:
    """The text of a function `program(x, …, i, j, k, n)`, and what its arrays must be."""

    source: str
    arrays: int
    rank: int
    dtype: str
    margin: int | None  # None: views are half as long as arrays
    written: frozenset[str]


@final
class Writer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        pick = self.random
        self.dtype: str = pick.choice(DTYPES)
        self.rank: int = pick.choice((1, 1, 1, 2, 2, 2, 2, 3, 3, 4))
        self.view_rank = self.rank if pick.random() < 0.7 else pick.randint(0 if self.rank < 3 else 1, self.rank)
        self.margin: int | None = pick.choice((0, 1, 1, 2, 2, 3, None))
        self.arrays = ("x", "y", "z")[: pick.choice((1, 1, 1, 2, 2, 3))]
        self.divides = self.dtype in FLOATS and pick.random() < 0.3  # then sums are not exact
        self.lines: list[str] = []
        self.views: list[str] = []  # names of views that fill the shape
        self.made: list[str] = []  # names of arrays that were computed
        self.written: set[str] = set()
        self.of: dict[str, str] = {}  # the array that a named view looks at
        self.focus = ""  # the view that the statement writes: what is read is often a part of it

    def write(self) -> Program:
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            base = self.random.choice(self.arrays)
            name = f"v{len(self.views)}"
            self.lines.append(f"    {name} = {self.view(base, self.view_rank)}")
            self.views.append(name)
            self.of[name] = base
        for _ in range(self.random.choice((1, 1, 2, 2, 3, 4))):
            self.statement()
        results = [*self.made, *(["v0.sum()"] if self.views and self.random.random() < 0.1 and self.exact else [])]
        self.lines.append(f"    return {', '.join(results) or 'None'}")
        head = f"def program({', '.join(self.arrays)}, i, j, k, n):\n"
        source = head + "\n".join(self.lines) + "\n"
        return Program(source, len(self.arrays), self.rank, self.dtype, self.margin, frozenset(self.written))

    @property
    def exact(self) -> bool:
        """Whether the sum of a few small numbers is the same in every order."""
        return not self.divides and self.dtype != "f2"

    # -- views

    def place(self) -> str:
        text: str = self.random.choice(HALVES if self.margin is None else PLACES[self.margin])
        return text

    def view(self, base: str, rank: int, single: Sequence[int] = ()) -> str:
        """A view of `rank` axes, those in `single` of length 1."""
        pick = self.random
        walked = sorted(pick.sample(range(self.rank), rank))
        parts = ["" for _ in range(self.rank)]
        for axis in range(self.rank):
            if axis in walked:
                inserted = walked.index(axis) in single and pick.random() < 0.4
                parts[axis] = f"{pick.choice(INDICES)}, None" if inserted else self.place()
                if walked.index(axis) in single and not inserted:
                    parts[axis] = pick.choice(SINGLE)
            else:
                parts[axis] = pick.choice(INDICES)
        if all(p == ":" for p in parts) and pick.random() < 0.7:
            text = base
        else:
            text = f"{base}[{', '.join(parts)}{'' if rank else ', ...'}]"
        if single or rank < 2:
            return f"{text}[::-1]" if rank == 1 and not single and pick.random() < 0.05 else text
        roll = pick.random()
        if roll < 0.25:
            return f"{text}.T"
        if roll < 0.3:
            return f"np.swapaxes({text}, 0, -1)"
        return text

    def target(self) -> str:
        """A view that is written."""
        if self.views and self.random.random() < 0.5:
            self.focus = self.random.choice(self.views)
            self.written.add(self.of[self.focus])
            return self.focus
        base = self.random.choice(self.arrays)
        self.written.add(base)
        self.focus = self.view(base, self.view_rank)
        return self.focus

    def item(self) -> str:
        """A target of an assignment."""
        text = self.target()
        if text[-1] == "]":
            return text
        return f"{text}[...]" if self.view_rank == 0 or self.random.random() < 0.5 else f"{text}[:]"

    def operand(self) -> str:
        """What is read: as a whole, or a part that is broadcast."""
        roll, rank = self.random.random(), self.view_rank
        if self.focus and self.random.random() < 0.4:
            return self.part(self.focus)
        if roll < 0.2 and self.views:
            return self.random.choice(self.views)
        if roll < 0.25 and self.made:
            return self.random.choice(self.made)
        base = self.random.choice(self.arrays)
        if roll < 0.6 or rank == 0:
            return self.view(base, rank)
        if roll < 0.85:
            single = self.random.sample(range(rank), self.random.randint(1, rank))
            text = self.view(base, rank, single)
        elif roll < 0.95:
            text = self.view(base, self.random.randint(0, rank - 1))
        else:
            return self.reduced()
        return f"np.broadcast_to({text}, {(self.views or [self.view(base, rank)])[0]}.shape)" if self.random.random() < 0.1 else text

    def part(self, text: str) -> str:
        """A view itself, or a row of it that is broadcast: most often the first, whose place is the view's."""
        pick, rank = self.random, self.view_rank
        single = pick.sample(range(rank), pick.randint(0, rank))
        parts = [
            pick.choice((*SINGLE, ":1", ":1", ":1", f"{pick.choice(INDICES)}, None")) if k in single else ":" for k in range(rank)
        ]
        if parts[1:] and parts[0] != ":" and pick.random() < 0.3:
            parts[0] = pick.choice(INDICES)  # fewer axes
        return f"{text}[{', '.join(parts)}]" if single else text

    def reduced(self) -> str:
        """A reduction that broadcasts."""
        rank = self.view_rank
        if self.divides:
            return self.view(self.random.choice(self.arrays), rank)
        name = self.random.choice(("sum", "max", "min") if self.exact and self.dtype not in "?" else ("max", "min"))
        text = self.focus if self.focus and self.random.random() < 0.4 else self.view(self.random.choice(self.arrays), rank)
        if rank == 0:
            return f"{text}.{name}()"
        axis = self.random.choice(("0", str(rank - 1), "None"))
        keep = axis != "None" and (axis != "0" or self.random.random() < 0.7)
        dtype = f", dtype='{self.dtype}'" if name == "sum" else ""
        return f"{text}.{name}({axis}{dtype}, keepdims={keep})"

    def expression(self) -> str:
        pick = self.random
        form = pick.choice(
            ("{} + {}", "{} - {}", self.extreme("np.maximum({}, {})"), "{} + 1", "-{}", "({} + {}) - {}", "np.where({} > 1, {}, {})")
        )
        if self.dtype == "?":
            form = pick.choice(("{} ^ {}", "{} | {}", "~{}", "({} ^ {}) & {}", "np.where({}, {}, {})"))
        elif self.dtype == "c16":
            form = pick.choice(("{} + {}", "{} - {}", "-{}", "({} + {}) - {}"))
        elif self.divides and pick.random() < 0.5:
            form = pick.choice(("{} / {}", "{} * {}"))
        return form.format(*(self.operand() for _ in range(form.count("{}"))))

    def extreme(self, form: str) -> str:
        """Of equal zeros NumPy takes now one, now the other: not where a sign would decide about infinities."""
        return "{} - {}" if self.divides else form

    def value(self) -> str:
        return self.operand() if self.random.random() < 0.35 else self.expression()

    # -- statements

    def statement(self) -> None:
        depth = 1
        if self.random.random() < 0.06:
            self.lines.append(self.random.choice(("    for t in range(2):", "    if k > 0:")))
            depth = 2
        self.focus = self.random.choice(self.views) if self.views else ""
        for line in self.simple(depth == 1):
            self.lines.append("    " * depth + line)

    def simple(self, defines: bool) -> list[str]:
        roll = self.random.random()
        if roll < 0.24:
            target = self.item()
            return [f"{target} = {self.value()}"]
        if roll < 0.52:
            return [self.in_place()]
        if roll < 0.64:
            return [self.out()]
        if roll < 0.7:
            target = self.target()
            return [f"np.copyto({target}, {self.value()})"]
        if roll < 0.76:
            one, other = self.item(), self.item()
            copied = self.random.choice(("{}, {}", "{}.copy(), {}.copy()"))
            return [f"{one}, {other} = {copied.format(other, one)}"]
        if roll < 0.84 and defines:
            return self.through_a_variable()
        if roll < 0.9:
            return [f"{self.item()} {self.operator()} {self.reduced()}"]
        if roll < 0.93:
            return [f"{self.item()} = {self.random.choice(('1', '0', self.view(self.random.choice(self.arrays), 0)))}"]
        if roll < 0.96 and self.view_rank and not self.divides:
            return [self.reduction_out()]
        target = self.target()
        return [f"np.copyto({target}, {self.operand()}, where={self.condition()})"]

    def operator(self) -> str:
        if self.dtype == "?":
            return self.random.choice(("^=", "|=", "&="))
        if self.divides:
            return self.random.choice(("/=", "*=", "-="))
        return self.random.choice(("+=", "-=", "+=", "-=", "*=") if self.dtype not in (*FLOATS, "c16") else ("+=", "-="))

    def in_place(self) -> str:
        target = self.item()
        return f"{target} {self.operator()} {self.value()}"

    def out(self) -> str:
        roll, target = self.random.random(), self.target()
        if self.dtype == "?":
            return f"np.logical_xor({self.operand()}, {self.operand()}, out={target})"
        if roll < 0.2 and self.dtype not in ("u1", "u2"):
            return f"np.negative({self.operand()}, out={target})"
        if roll < 0.3 and self.dtype != "c16" and not self.divides:
            return f"np.clip({self.operand()}, {self.operand()}, {self.operand()}, out={target})"
        name = self.random.choice(("add", "subtract"))
        return f"np.{name}({self.operand()}, {self.operand()}, out={target})"

    def through_a_variable(self) -> list[str]:
        name = f"w{len(self.made)}"
        lines = [f"{name} = {self.expression()}"]
        if self.random.random() < 0.7:
            lines.append(f"{self.item()} {self.random.choice(('=', self.operator()))} {name}")
        self.made.append(name)
        return lines

    def reduction_out(self) -> str:
        base = self.random.choice(self.arrays)
        self.written.add(base)
        row = self.view(base, self.view_rank - 1)
        name = self.random.choice(("max", "min"))
        return f"np.{name}({self.view(self.random.choice(self.arrays), self.view_rank)}, axis=0, out={row})"

    def condition(self) -> str:
        """A mask of the whole shape: whether one fits is not looked at by NumPy where target and source are one."""
        mask = self.view(self.random.choice(self.arrays), self.view_rank)
        return f"~{mask}" if self.dtype == "?" else f"{mask} == 1"


def program(seed: int) -> Program:
    return Writer(seed).write()


# -- arguments -----------------------------------------------------------------------------------------------------


def _spread(pick: random.Random, rank: int, d: int) -> tuple[Any, ...]:
    """How an array lies in the buffer: offset, steps (in elements) of its axes, for a buffer of `_room` elements."""
    order = list(range(rank))
    if pick.random() < 0.3:
        pick.shuffle(order)
    steps, size = [0] * rank, 1
    for axis in reversed(order):
        size *= pick.choice((1, 1, 1, 2, 3)) if pick.random() < 0.5 else 1
        steps[axis] = size
        size *= d + pick.choice((0, 0, 1, 2))
    signs = [-1 if pick.random() < 0.15 else 1 for _ in range(rank)]
    first = sum((d - 1) * s for s, sign in zip(steps, signs, strict=True) if sign < 0)
    return first, [s * sign for s, sign in zip(steps, signs, strict=True)]


def _extent(steps: Sequence[int], first: int, d: int) -> int:
    return first + sum((d - 1) * s for s in steps if s > 0) + 1


@final
@dataclass(frozen=True, slots=True)
class Placement:
    """Where the arrays of one call lie in the buffer."""

    d: int
    size: int
    arrays: tuple[tuple[int, tuple[int, ...]], ...]
    numbers: tuple[int, int, int, int]
    writable: tuple[bool, ...]

    def arguments(self, buffer: Any) -> tuple[Any, ...]:
        item, rank = buffer.itemsize, len(self.arrays[0][1])
        made = []
        for (first, steps), writable in zip(self.arrays, self.writable, strict=True):
            strides = tuple(s * item for s in steps)
            array = np.ndarray((self.d,) * rank, buffer.dtype, buffer.data, first * item, strides)
            array.flags.writeable = writable
            made.append(array)
        return (*made, *self.numbers)


def placement(p: Program, pick: random.Random) -> Placement:
    """A random placement of a program's arrays, and random numbers i, j, k."""
    d = pick.choice(LENGTHS[p.rank])
    n = d // 2 if p.margin is None else d - p.margin
    numbers = (pick.randint(0, d - n), pick.randint(0, d - n), pick.randint(0, d - n), n)
    first, steps = (0, [d**k for k in reversed(range(p.rank))]) if pick.random() < 0.5 else _spread(pick, p.rank, d)
    placed = [(first, steps)]
    for name in ("y", "z")[: p.arrays - 1]:
        roll = pick.random()
        if roll < 0.15:
            placed.append(pick.choice(placed))
        elif roll < 0.25 and name not in p.written:  # repeats: windows, broadcasts
            placed.append((pick.randint(0, 3), [pick.choice((0, 1, 1, 2)) for _ in range(p.rank)]))
        elif roll < 0.6:
            base, same = pick.choice(placed)
            placed.append((base + pick.choice((1, 2, d, d + 1)), same))
        else:
            first, steps = _spread(pick, p.rank, d)
            placed.append((first + pick.randint(0, 2 * d), steps))
    size = max(_extent(steps, first, d) for first, steps in placed)
    arrays = tuple((first, tuple(steps)) for first, steps in placed)
    return Placement(d, size, arrays, numbers, tuple(name in p.written for name in ("x", "y", "z")[: p.arrays]))


def contents(p: Program, size: int, pick: random.Random) -> Any:
    """The elements of a buffer: small whole numbers."""
    rng = np.random.default_rng(pick.getrandbits(32))
    if p.dtype == "?":
        return rng.random(size) < 0.5
    low = 0 if p.dtype.startswith("u") else -3
    values: Any = rng.integers(low, 5, size).astype(p.dtype)
    return values * (1 + 2j) if p.dtype == "c16" else values
