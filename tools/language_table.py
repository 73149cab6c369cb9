"""Writes the tables of docs/language.md: `python tools/language_table.py`.

Every program below is run: by Python, and compiled. One whose results agree is listed as part of the language, one that is
refused with the message of its refusal. Anything else ends the tool with an error, so the page cannot say what is not so.
`--try` runs them all and prints what becomes of each.
"""

from __future__ import annotations

import linecache
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

import tensorjit as tj

PAGE = Path(__file__).parent.parent / "docs" / "language.md"
BEGIN, END = "<!-- tables: begin -->\n\n<!-- fmt: off -->\n\n", "\n<!-- fmt: on -->\n\n<!-- tables: end -->\n"

SETUP = """
import math
import numpy as np

LIMIT = 2.0
TABLE = np.array([1.0, 10.0, 100.0])
PAIR = (2.0, 3.0)
NAMES = {"a": 1}

def square(v):
    return v * v

def signed_root(v, low=0.0):
    if v > low:
        return math.sqrt(v)
    return -1.0
"""

PROGRAMS = """
=== Assignment
--- assignment, also to several names
a = b = x + 1
return a * b
--- unpacking, nested, with a star
a, (b, *rest) = 1, (2.0, 3, 4)
return x * a + b * rest[0]
--- unpacking a shape
rows, columns = m.shape
return rows * columns
--- unpacking a result
whole, part = divmod(n, 2)
return x * whole + part
--- unpacking an array
a, b = x[:2]
return a - b
--- exchange
a, b = x, n
a, b = b, a
return a * b
--- augmented, on a number and on an array
k = n
k **= 2
x += k
x //= 2
return x
--- a name that changes its type
a = 1
a = a * 2.5
a = x + a
return a
--- walrus
return (y := x * 2) + y
--- annotations, which are not read
y: int = x * 2
return y
--- `del`
y = x + 1
z = y * 2
del y
return z
--- `del` of an element
del x[0]
return x
--- setting an attribute
x.shape = (5, 1)
return x
--- `global`
global LIMIT
LIMIT = 3.0
return x
--- `nonlocal`
def g():
    nonlocal n
    n = 1
g()
return n
=== Branches
--- `if`, `elif`, `else`
if n > 3:
    y = x + 1
elif flag:
    y = x - 1
else:
    y = x
return y
--- ternary
return x if n > 3 else -x
--- early `return`
if n > 3:
    return x
return x * 2
--- chained comparison
return 0 < n < 10 and n != 5
--- `and`, `or`, `not`, which give operands
return (n or 1) * (r and 2.0)
--- `is`, `is None`, `in`
return (x is None, n in (1, 2, 3), word in ('fast', 'slow'))
--- a branch on an array's sum
if x.sum() > 3:
    return x
return -x
--- returns of different type or rank
if x.sum() > 100:
    return m
if n > 1:
    return x
return 1
--- types that differ by path
if n > 2:
    y = 1
else:
    y = 2.5
return x * y
--- shapes that differ by path
y = x
if n > 2:
    y = m
return y * 2
--- a name that one path leaves unbound
if n > 2:
    y = x * 2
return y
--- a branch on a static value
if word == 'fast':
    return x
else:
    return x.no_such_thing()
--- `isinstance`
if isinstance(n, int):
    return x * n
return x
--- `match`
match n:
    case 1:
        return x
return -x
--- `assert`
assert n > 0, 'n is positive'
return x * n
--- `raise`
if n < 0:
    raise ValueError('negative')
return x
--- `raise ... from`
if n < 0:
    raise ValueError('negative') from KeyError(n)
return x
--- a branch on an array, which raises as in NumPy
if x > 0:
    return x
return -x
--- `try`
try:
    y = x[9]
except IndexError:
    y = 0.0
return y
--- `with`
with np.errstate(all='ignore'):
    y = np.log(x)
return y
=== Loops
--- `for` over a `range`
s = 0.0
for i in range(1, len(x), 2):
    s += x[i] * i
return s
--- `for` over a `range` backwards
s = 0.0
for i in range(len(x) - 1, -1, -1):
    s = s * 2 + x[i]
return s
--- `for` over an array; over a matrix, which gives rows
s = 0.0
for v in x:
    s += v
for row in m:
    s += row.max()
return s
--- `for` over a tuple (unrolled)
s = x * 0
for k, scale in ((1, 2.0), (2, 0.5)):
    s += x ** k * scale
return s
--- `enumerate`, `zip`, `reversed`
s = 0.0
for i, (a, b) in enumerate(zip(x, reversed(x))):
    s += i * a * b
return s
--- `while`
k = 0
while k * k < n:
    k += 1
return k
--- `break`, `continue`
s = 0.0
for v in x:
    if v < 0:
        continue
    if v > 3:
        break
    s += v
return s
--- `return` in a loop
for i in range(len(x)):
    if x[i] > 2:
        return i
return -1
--- `else` of a loop
for v in x:
    if v > 9:
        break
else:
    return 'none'
return 'one'
--- `else` of a `while`
while n > 0:
    n -= 1
else:
    return 'done'
return 'left'
--- the loop's name afterwards
for i in range(n):
    pass
return i
--- arrays carried and exchanged
a, b = x, x * 2
for _ in range(n):
    b = a + b
    a, b = b, a
return a
--- stores into elements
y = np.empty_like(x)
for i in range(len(x)):
    y[i] = x[i] * i
return y
--- a sum that starts as another type
s = 0
for v in x:
    s += v
return s
--- a sum that starts as another type and may keep it
s = 0
for v in x:
    if v > 1:
        s += v
return s
--- an array that grows
y = x
for _ in range(n):
    y = np.concatenate((y, x))
return y
--- a list that grows
parts = []
for i in range(3):
    parts.append(x * i)
return parts
--- a list that grows unknown times
parts = []
for i in range(n):
    parts.append(x * i)
return parts
--- a comprehension
return [v * 2 for v in (1, 2.5, n)]
--- a comprehension over a size, as an array
return np.array([i * 2.0 for i in range(n)])
--- a comprehension with `if` and two `for`
return [a * b for a in (1, 2) for b in (3, 4) if a + b != 5]
--- a generator in a call
return sum(v * v for v in (1, 2, n))
--- `any` and `all` of a generator
return any(v > 3 for v in x)
--- a set
return {n, 1}
--- a generator function
yield x
=== Functions
--- another function, inlined
return square(x) + square(n)
--- defaults and keywords
return signed_root(v=r, low=1.0) + signed_root(r)
--- a call with a star
pair = (r, 0.5)
return signed_root(*pair)
--- a nested function and a lambda
def scaled(v, by=2):
    return v * by + n
return scaled((lambda v: v + 1)(x))
--- a function as a value
f = square if flag else signed_root
return f(r)
--- recursion
def g(k):
    return 1 if k == 0 else k * g(k - 1)
return g(n)
--- a class
class C:
    pass
return x
--- an import
import math
return x * math.pi
--- an import of another module
import os
return x
--- a decorated nested function
@square
def g(v):
    return v
return g(x)
=== Values
--- module constants and captured arrays
return x[:3] * TABLE * LIMIT + PAIR[1]
--- a captured dictionary
return x * NAMES['a']
--- tuples and lists
pair = (x, [n, r])
return pair[0] * pair[1][0], pair
--- dictionaries
scales = {'fast': 1.0, 'slow': 0.5}
return x * scales[word]
--- Python's integers, without wrapping
return n ** 30 - 5 // -2 % 3 << 2
--- Python's floats
return r / 3 + r // 0.3 + r % 0.3 + float(n)
--- complex numbers
return x * (1 + 2j) * abs(3 - 4j)
--- strings as modes
return x if word.startswith('f') else -x
--- f-strings in messages
if n < 0:
    raise ValueError(f'{n} is negative')
return x
--- f-strings of values
return f'{n} turns'
--- `print`
print(n)
return x
--- `len`, `min`, `max`, `sum`, `abs`, `round`, `pow`, `int`, `float`, `bool`
return (len(x), min(n, 2), max(r, 0.5), sum((n, 1)), abs(-n), round(r), pow(n, 2), int(r), float(n), bool(n))
--- `math`
return math.sin(r) + math.floor(r) + math.hypot(r, n) + math.inf
--- `tuple`, `list`, `range` of known length
return tuple(range(3)), list((n, r))
--- `max` of numbers of several types: the result is one of them
return max(0.0, x[0]), max(0, r), min(n, 1.5)
--- `sum`, `any`, `all`, `in` of an array
return sum(x), any(x), all(x), 2.0 in x, n not in x
--- texts in exceptions: f-strings, `%`, `.format`, `str`
if n < 0:
    raise ValueError(f'{x.shape} {n}: ' + str(r) + '%d' % n)
return n
--- `sorted` of a tuple
return sorted((n, 1, 2))
--- `type`
return x * (type(n) is int)
--- `hasattr`, `getattr`
return getattr(x, 'size') if hasattr(x, 'size') else 0
=== Arrays
--- basic indexing
return m[1, 2], m[-1], m[:, 0], m[::-1, 1:3], m[..., None]
--- stores
m[0] = 1
m[:, 1] += x[:3]
m[m.shape[0] - 1, 0] *= 2
return m
--- overlapping stores
x[1:] += x[:-1]
return x
--- views that are written
y = m.T[1]
y[:] = 0
return m
--- methods and attributes
return x.sum(), m.T.shape, m.reshape(-1).ndim, x.dtype, x.size, m.mean(axis=0)
--- `np.where`, `np.clip`, casts
return np.where(x > 2, x, 0).astype(np.float32), np.clip(x, 1, 3)
--- comparisons and masks in arithmetic
return x * (x > 2) + (x == 0)
--- matrix products
return m @ m.T, m.dot(m[0])
--- creation
return np.zeros((n, 2)), np.arange(n), np.linspace(0, 1, n), np.eye(2), np.full(n, r)
--- `out=`
np.add(x, 1, out=x)
return x
--- `np.concatenate`, `np.stack`
return np.concatenate((x, x * 2)), np.stack((x, x), axis=1)
--- `np.sort`, `np.cumsum`, by NumPy itself
return np.sort(x), np.cumsum(x)
--- a static axis from an argument
return m.sum(axis=n - 3)
--- a mask as an index
return x[x > 2]
--- a store under a mask
x[x > 2] = 0
return x
--- an index array
return x[np.array([0, 2])]
--- an element of unknown position
return m[n - 1, n]
--- 0-d arrays and NumPy scalars
return np.asarray(x.sum()) + np.float32(1), x[0] / np.int8(2)
--- `np.linalg`
return np.linalg.norm(x)
--- `np.random`
return np.random.default_rng(0).random(3)
--- a function that is not in the table
return np.unique(x)
--- a keyword that is not in the table
return np.sum(x, nothing=1)
--- an attribute that is not in the table
return x.data
--- an array of strings
return np.array(['a', 'b'])
"""


@final
@dataclass(frozen=True, slots=True)
class Program:
    """A small program and what became of it: `refused` holds the messages, empty where it was compiled."""

    group: str
    name: str
    body: str
    refused: tuple[tuple[str, str], ...]


def arguments() -> dict[str, Any]:
    """What the programs are called with."""
    m = np.arange(12.0).reshape(3, 4)
    return {"x": np.arange(5.0), "m": m, "n": 3, "r": 2.5, "flag": True, "word": "fast"}


def function(name: str, body: str) -> Callable[..., Any]:
    """The function of a program, with a source that Python knows."""
    text = f"def f({', '.join(arguments())}):\n{textwrap.indent(body, '    ')}\n"
    filename = f"<{name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "table"}
    _define(SETUP, "<setup>", namespace)
    exec(compile(text, filename, "exec"), namespace)
    found: Callable[..., Any] = namespace["f"]
    return found


def _define(text: str, filename: str, namespace: dict[str, Any]) -> None:
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), namespace)


def run(group: str, name: str, body: str) -> Program:
    """Compile and call one program; AssertionError where it gives anything but Python's result or a refusal."""
    plain = function(name, body)
    try:
        compiled = tj.script(plain)
        found = outcome(compiled)
    except tj.CompileError as error:
        return Program(group, name, body, tuple((p.message, p.hint) for p in error.problems))
    wanted = outcome(plain)
    assert found == wanted, f"{group}: {name}\n{body}\nPython: {wanted}\ncompiled: {found}"
    return Program(group, name, body, ())


def outcome(f: Callable[..., Any]) -> str:
    """Result, arguments afterwards, or exception, all as text that tells types apart."""
    given = arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = f(*given.values())
        except tj.CompileError:
            raise
        except Exception as error:
            public = next(c for c in type(error).__mro__ if not c.__module__.endswith("._exceptions"))
            return f"{public.__name__}: {error}"
    return f"{shown(result)} {[shown(v) for v in given.values()]}"


def shown(value: Any) -> str:
    """A value with its types."""
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(shown, value))})"
    if isinstance(value, np.ndarray | np.generic):
        return f"{type(value).__name__} {value.dtype} {value.shape} {value.tolist()}"
    return f"{type(value).__name__} {value!r}"


def programs() -> Iterator[tuple[str, str, str]]:
    """Group, name and body of each program."""
    for section in re.split(r"^=== ", PROGRAMS, flags=re.MULTILINE)[1:]:
        group, *parts = re.split(r"^--- ", section, flags=re.MULTILINE)
        for part in parts:
            name, _, body = part.partition("\n")
            yield group.strip(), name, body.rstrip("\n")


def tables() -> str:
    """The generated part of the page."""
    lines: list[str] = []
    found = [run(*program) for program in programs()]
    for group in dict.fromkeys(p.group for p in found):
        own = [p for p in found if p.group == group]
        lines += [f"### {group}", "", "```python"]
        for program in (p for p in own if not p.refused):
            lines += [f"# {program.name.replace('`', '')}", *program.body.splitlines(), ""]
        lines[-1] = "```"
        refused = [p for p in own if p.refused]
        if refused:
            lines += ["", "| refused | what the error says |", "|---|---|", *map(_refusal, refused)]
        lines.append("")
    return "\n".join(lines)


def _refusal(program: Program) -> str:
    texts = [f"{message}; *{hint}*" if hint else message for message, hint in program.refused]
    line = f"{program.name}: {_code(program.body)} | {'<br>'.join(map(_cell, texts))}"
    return f"| {line} |"


def _code(body: str) -> str:
    return "`" + _cell(re.sub(r"\s*\n\s*", "; ", body).replace(":; ", ": ")) + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def page(text: str) -> str:
    """The page with its generated part made anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    assert BEGIN in text and END in text, f"{PAGE} has lost its marks"
    return f"{head}{BEGIN}{tables()}{END}{tail}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--try"]:
        for each in programs():
            try:
                result = run(*each)
                sys.stdout.write(f"{'refused' if result.refused else 'ok':8}{result.name} {result.refused or ''}\n")
            except Exception as error:
                sys.stdout.write(f"WRONG   {each[1]}: {type(error).__name__}: {error}\n")
    else:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
