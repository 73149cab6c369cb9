"""Strings with values in them that are known at run time only, as messages of exceptions have: f-strings, `%`, `.format`, `str`.

A `Text` is a format string over numbers and arrays: a tuple is written out, an array is copied, for it may change before it is shown.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

from tensorjit.ops.abstract import Abstract, Sequence_, Static, SymInt, Text, is_static, static_value
from tensorjit.ops.typed import TypedBuilder
from tensorjit.ops.words import describe
from tensorjit.passes.specialise.operators import is_number, is_numpy

_PERCENT = re.compile(r"%([-+ 0]*)(\d*)(\.\d+)?([a-zA-Z%])")
_HINT = "give it constants, numbers, arrays, or tuples of these"


def joined(b: TypedBuilder, parts: Sequence[Abstract]) -> Abstract:
    """The parts one after the other: strings, known or not."""
    template = ""
    values: list[Abstract] = []
    for part in parts:
        if isinstance(part, Text):
            template += part.template
            values += part.args
        else:
            template += _escaped(static_value(part))
    return Text(template, tuple(values)) if values else Static(template.format())


def formatted(b: TypedBuilder, x: Abstract, conversion: str = "", spec: str = "") -> Abstract:
    """format(x, spec), or of str(x) or repr(x), as `conversion` says."""
    field = "{" + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
    if is_static(x):
        return _known(b, field, static_value(x))
    if isinstance(x, Text) and conversion in ("", "s") and not spec:
        return x
    if isinstance(x, Sequence_) and not spec:
        items = [formatted(b, i, "r") for i in x.items]
        between: list[Abstract] = [part for i in items for part in (Static(", "), i)][1:]
        ends = "[]" if x.is_list else ("(", ",)" if len(items) == 1 else ")")
        return joined(b, [Static(ends[0]), *between, Static(ends[1])])
    if b.is_array(x):
        return Text(field, (b.copy(b.value(x)),))
    if isinstance(x, SymInt) or is_number(x) or is_numpy(x):
        return Text(field, (x,))
    b.refuse(f"a string with {describe(x)} in it", _HINT)


def _known(b: TypedBuilder, field: str, value: Any) -> Abstract:
    try:
        return Static(field.format(value))
    except (ValueError, TypeError) as error:
        b.fail(type(error).__name__, _escaped(str(error)))
        return Static("")


def by_format(b: TypedBuilder, template: str, args: Sequence[Abstract], keywords: dict[str, Abstract]) -> Abstract:
    """template.format(*args, **keywords)."""
    parts: list[Abstract] = []
    count = 0
    for text, name, spec, conversion in string.Formatter().parse(template):
        parts.append(Static(text))
        if name is None:
            continue
        key, count = (str(count), count + 1) if name == "" else (name, count)
        found = args[int(key)] if key.isdecimal() and int(key) < len(args) else keywords.get(key)
        if found is None or "{" in (spec or ""):
            b.refuse(f"the field {name!r} of a format string", "name each value by itself, and give it")
        parts.append(formatted(b, found, conversion or "", spec or ""))
    return joined(b, parts)


def by_percent(b: TypedBuilder, template: str, values: Abstract) -> Abstract:
    """template % values."""
    items = list(values.items) if isinstance(values, Sequence_) and not values.is_list else [values]
    parts: list[Abstract] = []
    end = 0
    for found in _PERCENT.finditer(template):
        parts.append(Static(template[end : found.start()]))
        end = found.end()
        if found[0] == "%%":
            parts.append(Static("%"))
            continue
        if not items:
            b.fail("TypeError", "not enough arguments for format string")
            return Static("")
        parts.append(_percent(b, found, items.pop(0)))
    if items:
        b.fail("TypeError", "not all arguments converted during string formatting")
        return Static("")
    rest = template[end:]
    if "%" in rest or any("%" in static_value(p) for p in parts[::2] if isinstance(p, Static) and p.value != "%"):
        b.refuse("a format string that is not understood", "use an f-string")
    return joined(b, [*parts, Static(rest)])


def _percent(b: TypedBuilder, found: re.Match[str], x: Abstract) -> Abstract:
    """One conversion, by what format() calls it where both mean the same."""
    flags, width, precision, kind = found.groups()
    if is_static(x):
        return Static(found[0] % static_value(x))
    if kind in "sr" and not (flags or width or precision):
        return formatted(b, x, kind)
    scalar = not b.is_array(x) and (is_number(x) or is_numpy(x))
    whole = scalar and b.strong_dtype(x).kind in "iu"
    if whole and kind in "di" and not precision:
        kind = "d"
    elif not (scalar and b.strong_dtype(x).kind in "fiu" and kind in "feg"):
        b.refuse(f"the conversion {found[0]!r} of {describe(x)}", "use an f-string")
    sign = "+" if "+" in flags else " " if " " in flags else ""
    fill = "<" if "-" in flags else ""
    zero = "0" if "0" in flags and not fill and width else ""
    return formatted(b, x, "", f"{fill}{sign}{zero}{width}{precision or ''}{kind}")


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
