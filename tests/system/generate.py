"""Writes random NumPy programs: what `test_fuzz` runs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

UNARY = (
    "-{}",
    "abs({})",
    "np.square({})",
    "np.floor({})",
    "np.sign({})",
    "np.maximum({}, 1)",
    "np.sqrt(abs({}))",
    "~({} > 1)",
    "({} * 1)",
)
BINARY = (
    "{} + {}",
    "{} - {}",
    "{} * {}",
    "np.maximum({}, {})",
    "np.minimum({}, {})",
    "np.where({} > 1, {}, 2)",
    "({} < {})",
    "{} * 2 + {}",
)
REDUCTIONS = ("{}.sum()", "{}.max(initial=-9)", "{}.min(initial=9)", "np.any({})", "({} > 0).all()", "{}.size", "{}.shape[0]")
SLICES = ("[1:]", "[:-1]", "[::-1]", "[::2]", "[:k]", "[k:]", "[:]", "[-k:]", "[1:-1]", "[k]", "[:, None]", "[None]", "[..., :1]")
UPDATES = ("+=", "-=", "*=")


class Writer:
    """One program: statements over arrays x, y (1-d or 2-d), an int k, a float t, and what it assigns itself."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.arrays = ["x", "y"]
        self.scalars = ["k", "t"]
        self.loops = 0
        self.count = 0

    def write(self) -> str:
        pick = self.random.randint
        self.block(1, pick(2, 7), 0)
        names = self.random.sample(self.arrays, min(len(self.arrays), 2)) + self.random.sample(self.scalars, 1)
        self.line(1, f"return {', '.join(names)}")
        return "def program(x, y, k, t):\n" + "\n".join(self.lines) + "\n"

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def block(self, depth: int, count: int, nesting: int) -> None:
        for _ in range(count):
            self.statement(depth, nesting)

    def choose(self, names: Any) -> str:
        found: str = self.random.choice(names)
        return found

    def array(self, depth: int = 0) -> str:
        roll = self.random.random()
        if depth > 2 or roll < 0.35:
            return self.choose(self.arrays)
        if roll < 0.55:
            return f"{self.choose(self.arrays)}{self.choose(SLICES)}"
        if roll < 0.7:
            return "(" + self.choose(UNARY).format(self.array(depth + 1)) + ")"
        text = self.choose(BINARY)
        parts = [self.array(depth + 1) if self.random.random() < 0.75 else self.scalar(depth + 1) for _ in range(text.count("{}"))]
        return "(" + text.format(*parts) + ")"

    def scalar(self, depth: int = 0) -> str:
        roll = self.random.random()
        if depth > 2 or roll < 0.4:
            return self.choose(self.scalars)
        if roll < 0.55:
            return str(self.choose(["1", "2", "-1", "0.5", "3.0"]))
        if roll < 0.75:
            return "(" + self.choose(REDUCTIONS).format(self.array(depth + 1)) + ")"
        if roll < 0.82:
            return f"len({self.choose(self.arrays)})"
        op = self.choose(["+", "-", "*"])
        return f"({self.scalar(depth + 1)} {op} {self.scalar(depth + 1)})"

    def name(self, known: list[str], prefix: str) -> str:
        """A new variable, or one that is there."""
        own = [n for n in known if n.startswith(prefix)]
        if own and self.random.random() < 0.5:
            return self.choose(own)
        self.count += 1
        return f"{prefix}{self.count}"

    def statement(self, depth: int, nesting: int) -> None:
        roll = self.random.random()
        if roll < 0.26:
            name = self.name(self.arrays, "a")
            self.line(depth, f"{name} = {self.array()}")
            self.known(self.arrays, name, nesting)
        elif roll < 0.4:
            name = self.name(self.scalars, "s")
            self.line(depth, f"{name} = {self.scalar()}")
            self.known(self.scalars, name, nesting)
        elif roll < 0.5:
            self.line(depth, f"{self.choose(self.arrays)} {self.choose(UPDATES)} {self.array()}")
        elif roll < 0.62:
            target = f"{self.choose(self.arrays)}{self.choose(SLICES)}"
            self.line(
                depth, f"{target} {self.choose(('=', *UPDATES))} {self.array() if self.random.random() < 0.6 else self.scalar()}"
            )
        elif roll < 0.68:
            self.line(depth, f"{self.choose(self.scalars)} {self.choose(UPDATES)} {self.scalar()}")
        elif roll < 0.72 and len(self.arrays) > 1:
            one, other = self.random.sample(self.arrays, 2)
            self.line(depth, f"{one}, {other} = {other}, {one}")
        elif nesting < 2:
            self.nested(depth, nesting)
        else:
            self.line(depth, f"{self.choose(self.arrays)} *= 1")

    def known(self, names: list[str], name: str, nesting: int) -> None:
        # what is assigned on one path may be read on another: an UnboundLocalError is a result as well
        if name not in names and (nesting == 0 or self.random.random() < 0.15):
            names.append(name)

    def nested(self, depth: int, nesting: int) -> None:
        roll = self.random.random()
        count = self.random.randint(1, 3)
        if roll < 0.4:
            self.line(depth, f"if {self.scalar()} {self.choose(['>', '<', '=='])} {self.scalar()}:")
            self.block(depth + 1, count, nesting + 1)
            if self.random.random() < 0.5:
                self.line(depth, "else:")
                self.block(depth + 1, count, nesting + 1)
        elif roll < 0.75:
            self.loops += 1
            item = f"i{self.loops}"
            over = self.choose(["range(3)", "range(k)", f"range(len({self.choose(self.arrays)}))"])
            self.line(depth, f"for {item} in {over}:")
            self.scalars.append(item)
            self.block(depth + 1, count, nesting + 1)
            self.jump(depth + 1)
            self.scalars.remove(item)
        else:
            self.loops += 1
            item = f"w{self.loops}"
            self.line(depth, f"{item} = 0")
            self.line(depth, f"while {item} < {self.random.randint(0, 3)}:")
            self.line(depth + 1, f"{item} += 1")
            self.block(depth + 1, count, nesting + 1)
            self.jump(depth + 1)

    def jump(self, depth: int) -> None:
        if self.random.random() < 0.4:
            self.line(depth, f"if {self.scalar()} > {self.scalar()}:")
            self.line(depth + 1, self.choose(["break", "continue", f"return {self.choose(self.arrays)}", f"return {self.scalar()}"]))


def program(seed: int) -> str:
    """The source of a program."""
    return Writer(seed).write()


def arguments(seed: int) -> tuple[Any, ...]:
    """Arguments for a program; the same ones for the same seed."""
    rng = random.Random(seed)
    kinds = ("f8", "f8", "f4", "i8", "i4")

    def array(shape: tuple[int, ...], kind: str) -> Any:
        values = [rng.randint(-4, 4) for _ in range(int(np.prod(shape)))]
        return np.array(values, dtype=kind).reshape(shape)

    n = rng.choice([0, 1, 2, 3, 5, 9, 17])
    shape = (n,) if rng.random() < 0.7 else (rng.choice([1, 2, 3]), n)
    kind = rng.choice(kinds)
    x = array(shape, kind)
    roll = rng.random()
    if roll < 0.45:
        y = array(shape, kind)
    elif roll < 0.6:
        y = array(shape, rng.choice(kinds))
    elif roll < 0.7:
        y = x
    elif roll < 0.8:
        y = x[::-1]
    elif roll < 0.85:
        x, y = (lambda a: (a[1:], a[:-1]))(array((n + 1,), kind))
    elif roll < 0.93:
        y = array((n,), rng.choice(kinds))
    else:
        y = array((1,), kind)
    return x, y, rng.choice([0, 1, 2, 3]), rng.choice([0.0, 1.5, -2.0, np.float64(0.5), np.float32(2), 4])
