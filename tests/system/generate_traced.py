"""Writes random programs with Python around their operations, and the objects that they read: what `test_trace_fuzz` traces."""

from __future__ import annotations

import linecache
import random
import re
import sys
import textwrap
from types import ModuleType
from typing import Any, final

import numpy as np

CONDITIONS = (
    "k > 1",
    "x is y",
    "x is not y",
    "o.p is o.q",
    "o.child is o",
    "o.child is None",
    "o.child is not None and o.child.n > 1",
    "type(k) is int",
    "type(k) in (int, float)",
    "isinstance(k, float)",
    "str(k) == '2'",
    "f'{k:.1f}' == '2.0'",
    "x.sum() > 3",
    "x.shape[0] > 3",
    "len(x) == 4",
    "x.ndim == 1",
    "o.n > 1",
    "o.items[0] == 1",
    "'a' in o.table",
    "'b' in o.table",
    "o.p is x",
    "y is o.q",
    "k in (1, 2)",
    "k in o.items",
    "bool(o.items)",
    "not o.table",
    "k == Fraction(3, 2)",
    "x.dtype == np.float64",
    "isinstance(x[0], np.float64)",
    "repr(x[0]) == 'np.float64(1.0)'",
    "(k > 1) is True",
    "id(x) == id(y)",
    "hasattr(o, 'extra')",
    "getattr(o, 'extra', None) is not None",
    "o.f is np.sin",
    "callable(k)",
    "o == o.child",
    "x.shape == y.shape",
    "o.name.startswith('a')",
    "o.name == 'ab'",
    "max(k, 1) == k",
    "np.isscalar(k)",
    "any(v > 2 for v in x)",
    "hash(k) == 2",
    "o.items is o.other",
    "sorted(o.items)[0] == 1",
    "len(o.items) > 2",
    "o.table.get('b', 3) == 3",
    "(x == y).all()",
    "np.array_equal(x, y)",
    "min(o.items) < 2",
    "o.child in o.kids",
    "o.kids[0] is o.kids[1]",
    "o.kids.index(o.kids[-1]) == 1",
    "tuple(o.items) == (1, 2)",
    "list(o.table) == ['a']",
    "o.pair[0] is o.p",
    "o.pair is o.couple",
    "isinstance(o.n, int)",
    "type(o.child).__name__ == 'Thing'",
    "o.items == o.other",
    "not k",
    "k and o.n",
    "k or x.sum() > 100",
    "x[0] in (1.0, 2.0)",
    "x[0] == o.n",
    "round(k) == 2",
    "int(k) == k",
    "str(o.n) == '2'",
    "str(x.dtype) == 'float64'",
    "f'{o.p.shape}' == '(4,)'",
    "np.float64(k) == 2",
    "divmod(k, 2)[0] == 1",
    "o.size() > 1",
    "o.prop == 2",
    "G > 1",
    "G is o.n",
    "LIST[0] is x",
    "k.real == 2",
    "isinstance(k, (int, np.integer)) and k == 2",
)
EXPRESSIONS = (
    "x * k",
    "x + o.n",
    "o.p * 2",
    "o.q + x.sum()",
    "np.repeat(2.0, 4)",
    "o.items[0] * x",
    "o.table['a'] * x",
    "np.zeros(4) + k",
    "x[int(k)]",
    "o.f(x)",
    "helper(x)",
    "helper2(x, k)",
    "float(str(k)) * x",
    "len(str(k)) * x",
    "(x if x is y else y)",
    "np.full(4, o.n) * x",
    "type(k)(3) * x",
    "sum(o.items) * x",
    "[v * 2 for v in o.items][0] * x",
    "{**o.table}['a'] * x",
    "max(o.items) * x",
    "int(x[0]) * x",
    "o.scaled(x)",
    "o.prop * x",
    "x * G",
    "LIST[0] + x",
    "(lambda z: z * k)(x)",
    "np.where(x > k, x, o.p)",
    "x * (1 if k else 2)",
    "x * len(o.items)",
    "x * len(o.table)",
    "x[::-1] * k",
    "x * float(k)",
    "np.array([k, o.n, 1, 2]) * x",
    "np.array(o.items[:2] + [1, 2]) * x",
    "x.astype(type(x[0])) * 2",
    "x * o.pair[1]",
    "sum(v * x for v in o.table.values())",
    "x.reshape(2, -1).sum(axis=0) * k if x.size == 4 else x",
    "np.concatenate([x, x])[:4] + 0 * k",
    "x * int(f'{len(o.name)}')",
    "x * {1: 2, 2: 3}.get(k, 5)",
    "x * [10, 20, 30, 40][int(k) % 4]",
    "x * (o.extra if hasattr(o, 'extra') else 1)",
    "x * k.__class__(2)",
    "x * Thing().n",
    "Thing(k).scaled(x)",
)
STATEMENTS = (  # EXPR and COND are filled in
    "r = r + EXPR",
    "r = r * k",
    "r = EXPR",
    "if COND:\n    r = r + EXPR\nelse:\n    r = r * 2",
    "if COND:\n    r = r - EXPR",
    "if COND:\n    return r",
    "r = r + EXPR if COND else r - 1",
    "try:\n    r = r + x[int(k)]\nexcept IndexError:\n    r = r - 1",
    "try:\n    r = r + 1 / (k - 2)\nexcept ZeroDivisionError:\n    r = r * 3",
    "try:\n    r = r + o.table['b']\nexcept KeyError:\n    r = -r",
    "try:\n    r = r + o.extra\nexcept AttributeError:\n    r = r + 1",
    "try:\n    r = x + y\nexcept ValueError:\n    r = r * 5",
    "try:\n    r = r * o.items[int(k)]\nexcept IndexError:\n    r = r * 7",
    "try:\n    if COND:\n        raise ValueError('no')\n    r = r + 1\nexcept ValueError:\n    r = r + EXPR",
    "with contextlib.suppress(IndexError):\n    r = r + x[int(k) + 2]",
    "x[0] = k",
    "o.p[0] += 1",
    "y *= 2",
    "r += 1",
    "for v in o.items:\n    r = r + v",
    "for name, v in o.table.items():\n    r = r + v * len(name)",
    "for kid in o.kids:\n    r = r + kid.n",
    "n = 0\nwhile r.sum() < 10 and n < 3:\n    r = r + 1\n    n += 1",
    "assert k < 100",
    "z = np.repeat(1.0, 4)\nz += r.sum()\nr = z",
    "z = np.arange(4.0)\nr = r.sum() * z",
    "def inner():\n    return k * o.n\nr = r * inner()",
    "a, b = (x, y) if COND else (y, x)\nr = r + a.sum() - 2 * b.sum()",
    "seen = {id(v) for v in (x, y, o.p)}\nr = r + len(seen)",
    "r = r.sum() * x if COND else r",
    "match k:\n    case 2:\n        r = r + 1\n    "
    "case int():\n        r = r + 2\n    case float():\n        r = r + 3\n    case _:\n        r = r + 4",
    "l = [x, y]\nl.append(r)\nr = l[0 if COND else 2] + l[1].sum()",
    "d = {'x': x, 'y': y}\nif COND:\n    d['x'] = r\nr = d['x'] + d['y'].sum()",
    "t = Thing(k)\nt.n += 1\nr = r * t.n",
    "t = o.child or o\nr = r * t.n",
    "mode = 'a' if COND else 'b'\nr = r + (1 if mode == 'a' else 2) * x",
    "k = int(k)",
    "k = k / 2",
    "k += 1",
    "r = x",
    "r = x[1:]",
    "r = y if COND else x",
    "w = x if COND else y\nw[0] += 1\nr = r + w.sum()",
    "w = o.p if COND else x\nw *= 2\nr = r + w.sum()",
    "try:\n    r = r + helper3(x, k)\nexcept (IndexError, ValueError) as error:\n    r = r + len(str(error))",
    "try:\n    w = x[int(k)]\nfinally:\n    r = r + 1\nr = r + w",
    "try:\n    r = r + float(o.name)\nexcept ValueError:\n    r = r - 2",
    "r = r + sum(v * x for v in o.items)",
    "for i, v in enumerate(x):\n    if v > 2:\n        break\n    r = r + v * i",
    "r = helper4(lambda z: z + EXPR)",
    "r = r + (o.p is x) + 2 * (o.q is y)",
    "r = r + [kid is o.child for kid in o.kids].count(True)",
    "if isinstance(r, np.ndarray) and r.ndim and r.shape[0] > 3:\n    r = r[:3]",
    "r = np.where(r > k, r, -r)",
    "first, *rest = o.items\nr = r * first + len(rest)",
    "while k > 3:\n    k = k - 2\n    r = r + k",
    "s = f'{o.name}-{int(k)}'\nr = r + {'ab-2': 1, 'ab-1': 2}.get(s, 3)",
    "p, q = o.pair\nr = r + p * q",
    "if o.child is not None:\n    o2 = o.child\n    r = r + o2.scaled(x)",
    "r = r + max(o.items, key=lambda v: -v)",
    "r = r + sorted(o.items, reverse=True)[0]",
    "r = r * (k if k else 1)",
    "r = r * (COND)",
    "r = r + (not (COND)) * x",
)
PREFIX = """
import contextlib
import numpy as np
from fractions import Fraction

class Thing:
    def __init__(self, n=2): self.n = n
    def size(self): return self.n
    def scaled(self, x): return x * self.n
    @property
    def prop(self): return self.n

G = 2
LIST = [None]
o = Thing()
def helper(x): return x * G + (1 if G > 1 else 0)
def helper2(x, k): return x + k if isinstance(k, int) else x - k
def helper3(x, k):
    if k < 0:
        raise ValueError("negative")
    return x[int(k)]
def helper4(g): return g(o.p) + g(o.q).sum()
"""
NUMBERS = (2, 1, 0, 3, 9, -1, 2.0, 1.5, 0.0, -0.0, np.float64(2), np.float32(1.5), np.int64(2), True, 2 + 0j, -7)
LISTS = ([1, 2], [1, 2], [2, 3, 4], [5], [3, 1, 2, 4])
CHOICES: dict[str, tuple[Any, ...]] = {
    "x": (0, 0, 1, 1, 2, 3, 4, 5),
    "y": (0, 0, 1, 1, 2, 3, 4, 5),
    "k": NUMBERS,
    "p": (0, 1, 2),
    "q": (0, 1, 2),
    "pair": (0, 1, 2),
    "listed": (0, 1, 2),
    "child": (None, -1, 0, 1),
    "kids": ([0, 1], [0, 0], [1, 1], [2, 0], [0, 1, 2], [1, 0]),
    "ns": ((1, 2, 3), (2, 2, 2), (1.5, 2, 0)),
    "n": (2, 1, 3, 2.0, 0.5, True, 0),
    "G": (2, 1, 3, 2.0, 0.5, True, 0),
    "items": (0, 1, 2, 3, 4),
    "other": (0, 1, 2, 3, 4),
    "table": ({"a": 2}, {"a": 3}, {"a": 2, "b": 1}, {"b": 1, "a": 2}, {"a": 2.0}),
    "name": ("ab", "a", "b", "abc"),
    "f": (np.sin, np.cos, abs),
    "couple": (False, True),
    "extra": ("absent", 1, 2, None, 3.5),
}
FIRST = {
    "x": 0, "y": 1, "k": 2, "p": 1, "q": 2, "pair": 1, "listed": 2, "child": None, "kids": [0, 1], "ns": (1, 2, 3), "n": 2, "G": 2,
    "items": 0, "other": 1, "table": {"a": 2}, "name": "ab", "f": np.sin, "couple": False, "extra": "absent",
}  # fmt: skip
State = dict[str, Any]


def program(rng: random.Random) -> str:
    """A function of two arrays and a number, which reads `o`, `G` and `LIST`."""
    body = [rng.choice(STATEMENTS) for _ in range(rng.randint(1, 4))]
    lines = ["r = x * 1", *body, rng.choice(("return r", "return r, x", "return r.sum()"))]
    text = re.sub(r"EXPR", lambda _: rng.choice(EXPRESSIONS), "\n".join(lines))
    text = re.sub(r"COND", lambda _: f"({rng.choice(CONDITIONS)})", text)
    return "def f(x, y, k):\n" + textwrap.indent(text, "    ")


def changed(state: State, rng: random.Random, count: int) -> State:
    """The same with other values in `count` places."""
    keys = [*rng.choices(list(CHOICES), k=count), rng.choice(("x", "y", "k", "k"))]
    return {**state, **{key: rng.choice(CHOICES[key]) for key in keys[:count]}}


def arrays() -> list[Any]:
    """The arrays of all places: two are equal, one is shorter, two are of other dtypes."""
    return [
        np.arange(1.0, 5.0),
        np.arange(1.0, 5.0),
        np.array([2.0, 0.5, 3.0, 1.0]),
        np.arange(1.0, 4.0),
        np.array([1, 2, 3, 4]),
        np.ones(4, np.float32),
    ]


@final
class World:
    """A module with the program, and its objects: the same ones at every call, as the state says what is where."""

    def __init__(self, text: str, name: str) -> None:
        source, filename = PREFIX + text, f"<{name}>"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        self.module: Any = ModuleType(name)
        sys.modules[name] = self.module  # a module of the user's
        exec(compile(source, filename, "exec"), vars(self.module))
        self.arrays = arrays()
        self._kids = [self.module.Thing(1) for _ in range(3)]
        self._lists = [list(values) for values in LISTS]

    def arguments(self, state: State) -> tuple[Any, ...]:
        """Put everything in its place; the arguments of a call."""
        for array, values in zip(self.arrays, arrays(), strict=True):
            array[...] = values
        for kid, n in zip(self._kids, state["ns"], strict=True):
            kid.n = n
        o, child = self.module.o, state["child"]
        vars(o).update({name: state[name] for name in ("n", "name", "f")}, table=dict(state["table"]))
        o.p, o.q = self.arrays[state["p"]], self.arrays[state["q"]]
        o.child = None if child is None else o if child < 0 else self._kids[child]
        o.kids = [self._kids[k] for k in state["kids"]]
        o.items, o.other = self._lists[state["items"]], self._lists[state["other"]]
        o.pair = (self.arrays[state["pair"]], state["n"])
        o.couple = o.pair if state["couple"] else (*o.pair,)[:1] + o.pair[1:]
        vars(o).pop("extra", None)
        if state["extra"] != "absent":
            o.extra = state["extra"]
        self.module.G, self.module.LIST[0] = state["G"], self.arrays[state["listed"]]
        return self.arrays[state["x"]], self.arrays[state["y"]], state["k"]

    def close(self) -> None:
        """Leave no module behind."""
        sys.modules.pop(self.module.__name__, None)
