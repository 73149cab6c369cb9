"""Writes random programs of scalars and control flow, whose variables change their types: what `test_control_fuzz` runs."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

NAMES = ("s", "t", "u")
STARTS = ("0", "0.0", "1", "n", "c", "k32", "x[0]", "0.5", "True", "1.5", "np.float64(0.0)", "np.int64(2)", "-1")
ATOMS = ("n", "c", "k32", "0", "1", "2", "0.5", "-1", "1.0", "True", "x[0]", "x.sum()", "len(x)", "y[-1]")
OPERATORS = ("+", "-", "*") * 4 + ("/", "//", "%")
COMPARISONS = ("<", ">", "<=", "==", "!=")
AROUND = (
    "abs({})", "min(1, {})", "max(0.5, {})", "int({})", "float({})", "round({})", "bool({})", "-{}", "{} ** 2", "{} ** 0.5",
    "np.sqrt({})", "np.float32({})", "np.abs({})", "np.floor({})", "np.sign({})", "sum(({}, 1))", "isinstance({}, int)",
)  # fmt: skip
LOOPS = (
    "for {} in range(n):", "for {} in x:", "for {} in range(len(x)):", "for {0}, w{0} in enumerate(x):", "for {} in (0, 1.5, c):",
    "for {} in range(2):", "for {0}, w{0} in zip(x, y):", "for {} in x[::-1]:",
)  # fmt: skip
SHIFTS = (
    "s, t = t, s", "s, t = t, u", "s, t = u, s", "s, t, u = t, u, s", "s, t, u = u, s, t", "p = (s, t)", "s, t = p", "p = (p[1], u)",
    "u = p[0]", "p = (t, p[0])",
)  # fmt: skip


class Writer:
    """One program: statements over three scalars, a pair, arrays x and y, and the numbers n, c, k32."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.helpers: list[str] = []  # calls of what is defined, with room for two arguments
        self.loops = 0

    def write(self) -> str:
        for k in range(self.random.choice([0, 0, 0, 1, 2])):
            self.helper(0, f"g{k}", NAMES[:2])
        self.line(0, "def program(x, y, n, c, k32):")
        for name in NAMES:
            self.line(1, f"{name} = {self.choose(STARTS)}")
        self.line(1, "p = (s, t)")
        if self.random.random() < 0.15:
            self.helper(1, "inner", NAMES[:2])
        self.block([*NAMES, "p[0]"], 1, 0, in_loop=False)
        self.line(1, "return s, t, u, p")
        return "\n".join(self.lines) + "\n"

    def line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text)

    def choose(self, options: Any) -> str:
        found: str = self.random.choice(options)
        return found

    def helper(self, depth: int, name: str, params: tuple[str, ...]) -> None:
        """A function of two numbers, of x, y, n, c, k32, and its calls."""
        shared = ", x, y, n, c, k32"
        self.line(depth, f"def {name}({', '.join(params)}{shared}):")
        self.line(depth + 1, f"u = {self.choose(STARTS)}")
        self.line(depth + 1, "p = (t, u)")
        self.block([*NAMES], depth + 1, 1, in_loop=False)
        self.line(depth + 1, f"return {self.choose(['s', 't', 'u', 's + t', 'max(s, u)'])}")
        self.helpers.append(f"{name}({{}}, {{}}{shared})")

    def atom(self, names: list[str]) -> str:
        return self.choose([*names * 3, *ATOMS])

    def condition(self, names: list[str]) -> str:
        roll = self.random.random()
        if roll < 0.8:
            return f"{self.atom(names)} {self.choose(COMPARISONS)} {self.atom(names)}"
        if roll < 0.87:
            return f"not {self.atom(names)}"
        if roll < 0.93:
            return f"{self.atom(names)} < {self.atom(names)} {self.choose(['and', 'or'])} {self.atom(names)} > {self.atom(names)}"
        return f"{self.atom(names)} < {self.atom(names)} <= {self.atom(names)}"

    def expression(self, names: list[str], depth: int = 0) -> str:
        roll = self.random.random()
        if depth > 1 or roll < 0.35:
            return self.atom(names)
        one = self.expression(names, depth + 1)
        if roll < 0.72:
            return f"({one} {self.choose(OPERATORS)} {self.expression(names, depth + 1)})"
        if roll < 0.79:
            return f"({one} if {self.condition(names)} else {self.expression(names, depth + 1)})"
        if roll < 0.9:
            return self.choose(AROUND).format(f"({one})")
        if roll < 0.95 and self.helpers:
            return self.choose(self.helpers).format(one, self.atom(names))
        return f"({one} {self.choose(['and', 'or'])} {self.expression(names, depth + 1)})"

    def block(self, names: list[str], depth: int, nesting: int, in_loop: bool) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.statement(names, depth, nesting, in_loop)

    def statement(self, names: list[str], depth: int, nesting: int, in_loop: bool) -> None:
        roll = self.random.random()
        if roll < 0.3:
            self.line(depth, f"{self.choose(NAMES)} = {self.expression(names)}")
        elif roll < 0.52:
            self.line(depth, f"{self.choose(NAMES)} {self.choose(['+=', '-=', '*='])} {self.expression(names)}")
        elif roll < 0.62:
            self.line(depth, self.choose(SHIFTS))
        elif roll < 0.7 and nesting < 3:
            self.choice(names, depth, nesting, in_loop)
        elif roll < 0.88 and nesting < 2:
            self.loop(names, depth, nesting)
        elif in_loop and roll < 0.96:
            self.line(depth, f"if {self.condition(names)}:")
            self.line(depth + 1, self.choose(["continue", "break", "continue", f"return {self.choose(['s', 't', 'u'])}"]))
        else:
            target = self.choose(["0", "-1", "1:", ":2"])
            self.line(depth, f"y[{target}] {self.choose(['=', '+=', '*='])} {self.choose([*NAMES, 'c', 'n'])}")

    def choice(self, names: list[str], depth: int, nesting: int, in_loop: bool) -> None:
        self.line(depth, f"if {self.condition(names)}:")
        self.block(names, depth + 1, nesting + 1, in_loop)
        if self.random.random() < 0.5:
            self.line(depth, "else:")
            self.block(names, depth + 1, nesting + 1, in_loop)

    def loop(self, names: list[str], depth: int, nesting: int) -> None:
        item = f"i{self.loops}"
        self.loops += 1
        if self.random.random() < 0.2:
            self.line(depth, f"{item} = 0")
            self.line(
                depth, f"while {item} < {self.choose(['n', '2', 'len(x)'])}{self.choose(['', '', ' and ' + self.condition(names)])}:"
            )
            self.line(depth + 1, f"{item} += 1")
        else:
            self.line(depth, self.choose(LOOPS).format(item))
        self.block([*names, item], depth + 1, nesting + 1, in_loop=True)
        if self.random.random() < 0.2:
            self.line(depth, "else:")
            self.block(names, depth + 1, nesting + 1, in_loop=False)


def program(seed: int) -> str:
    """The source of a program."""
    return Writer(seed).write()


ARRAYS = (
    np.array([1.0, -2.0, 3.5]),
    np.array([-1.0, -1.0]),
    np.array([2.0, 0.0, 1.0], np.float32),
    np.array([3, -1]),
    np.array([0.5]),
)


def arguments(seed: int, call: int) -> tuple[Any, ...]:
    """The arguments of one of five calls of a program; the same ones for the same seed and call."""
    rng = random.Random(10 * seed + call)
    return ARRAYS[call].copy(), np.ones(3), rng.choice([0, 1, 3]), rng.choice([0.0, 1.5, -2.0]), np.float32(rng.choice([0.5, 2.0]))
