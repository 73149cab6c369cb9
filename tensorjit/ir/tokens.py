"""The text of the IR as tokens: names, numbers, strings, locations. The grammar is in docs/ir.md."""

from __future__ import annotations

import re
import struct
from typing import NoReturn, final

from tensorjit.errors import FormatError, Loc
from tensorjit.ir import dtypes
from tensorjit.ir.dtypes import DType

MAX_OPS = 100_000
MAX_NESTING = 200  # of blocks, statements, expressions
INT64 = range(-(1 << 63), 1 << 63)

STRING = r'"(?:[ !#-\[\]-~]|\\(?:["\\nt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}))*"'
_PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
NAME = rf"{_PLAIN}(?:\.[A-Za-z0-9_]+)*"
_FLOAT = r"(?:inf|nan(?:\.[0-9a-f]{16})?|[0-9]+(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+))"
_FILE = rf"[A-Za-z0-9_./<>+=@~-]+|{STRING}"
_END = r"(?![A-Za-z0-9_])"
_TOKENS = {
    "loc": r"#[^\n]*",
    "value": rf"%(?:[0-9]+|(?:{_PLAIN}|{STRING})(?:\.[0-9]+)?)",
    "opaque": rf"@(?:{NAME}|{STRING})",
    "bytes": f"b{STRING}",
    "string": rf"{STRING}(?:\.[0-9]+)?",
    "complex": rf"-?{_FLOAT}[+-]{_FLOAT}j{_END}",
    "float": rf"-?{_FLOAT}{_END}",
    "int": rf"-?(?:0x[0-9a-f]+|[0-9]+){_END}",
    "name": NAME,
    "sign": r"\.\.\.|>=|!=|<-|[()\[\]{}<,:=*+?-]",
    "end": r"\Z",
}
_TOKEN = re.compile(r"[ \t\r\n]*(?:" + "|".join(f"(?P<{k}>{v})" for k, v in _TOKENS.items()) + ")")
_COMPLEX = re.compile(rf"(-?{_FLOAT})\+?(-?{_FLOAT})j")
_LOC = re.compile(rf"# ({_FILE}):(-?[0-9]+):(-?[0-9]+)(?:-(-?[0-9]+))?(?: in ({_FILE}))?[ \r]*")
_ESCAPE = re.compile(r"\\(?:x(..)|u(....)|U(........)|(.))")


def fail_at(text: str, at: int, message: str) -> NoReturn:
    """A FormatError for this place of a text."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    raise FormatError(f"line {line}, column {column}: {message}")


@final
class Tokens:
    """A text as tokens, one ahead: `kind` and `text` of the token to come, and its `start`."""

    def __init__(self, source: str, start: int, end: int) -> None:
        self.source = source
        self.limit = end
        self.go_to(start)

    def go_to(self, at: int) -> None:
        """Reads the token at this place, and on from there."""
        match = _TOKEN.match(self.source, at, self.limit)
        if match is None or match.lastgroup is None:
            while self.source[at] in " \t\r\n":
                at += 1
            fail_at(self.source, at, "no token begins here")
        self.kind, self.text = match.lastgroup, match.group(match.lastgroup)
        self.start, self.stop = match.start(match.lastgroup), match.end()

    def take(self) -> str:
        """Passes over the token to come, and gives its text."""
        text = self.text
        self.go_to(self.stop)
        return text

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        if at is not None:
            fail_at(self.source, at, message)
        found = "the end of the text" if self.kind == "end" else self.text[:40]
        fail_at(self.source, self.start, f"{message}, found {found}")

    def at(self, text: str) -> bool:
        """Whether the token to come is this sign or bare word."""
        return self.text == text and self.kind in ("sign", "name")

    def skip(self, text: str) -> bool:
        """Passes over this sign or bare word if it is to come."""
        found = self.at(text)
        if found:
            self.take()
        return found

    def expect(self, text: str) -> None:
        if not self.skip(text):
            self.fail(f"expected `{text}`")

    def name(self, what: str) -> str:
        if self.kind != "name":
            self.fail(f"expected {what}")
        return self.take()

    def key(self) -> str:
        """A plain or quoted name with the number that makes it unique, as written."""
        if self.kind not in ("name", "string"):
            self.fail("expected a name")
        return self.take()

    def plain(self, dotted: bool = False) -> str:
        """A plain or quoted name, without a number."""
        at, key = self.start, self.key()
        name = base_name(key)
        if not dotted and not key.startswith('"') and name != key:
            self.fail("a name with a dot must be quoted", at)
        if key.startswith('"') and not key.endswith('"'):
            self.fail("no number may follow this name", at)
        return key if dotted and not key.startswith('"') else name

    def string(self) -> str:
        if self.kind != "string" or not self.text.endswith('"'):
            self.fail("expected a string")
        return unquote(self.take())

    def size(self) -> int:
        """An integer of 64 bits."""
        if self.kind != "int":
            self.fail("expected an integer")
        at, value = self.start, self._integer(self.text)
        self.take()
        if value not in INT64:
            self.fail("an integer beyond 64 bits", at)
        return value

    def count(self) -> int:
        at, value = self.start, self.size()
        if value < 0:
            self.fail("a negative number", at)
        return value

    def _integer(self, text: str) -> int:
        if "x" in text:
            return int(text, 16)
        if len(text) > 20:  # longer ones are written in hexadecimal; int() refuses some and is slow for others
            self.fail("a decimal integer of more than 19 digits")
        return int(text)

    def _float(self, text: str) -> float:
        sign, _, payload = text.partition("nan.")
        if not payload:
            return float(text)
        bits = int(payload, 16) | (1 << 63 if sign else 0)
        (value,) = struct.unpack("<d", struct.pack("<Q", bits))
        if value == value:
            self.fail("these are not the bits of a NaN")
        return float(value)

    def number(self) -> bool | int | float | complex | None:
        """A Python number if one is to come."""
        match self.kind:
            case "int":
                value: bool | int | float | complex = self._integer(self.text)
            case "float":
                value = self._float(self.text)
            case "complex":
                parts = _COMPLEX.fullmatch(self.text)
                assert parts is not None
                value = complex(self._float(parts[1]), self._float(parts[2]))
            case "name" if self.text in ("True", "False"):
                value = self.text == "True"
            case _:
                return None
        self.take()
        return value

    def dtype(self) -> DType:
        at, name = self.start, self.name("a dtype")
        found = dtypes.BY_NAME.get(name)
        if found is None:
            self.fail(f"no dtype {name}", at)
        return found

    def loc(self) -> Loc | None:
        """A location if one is to come."""
        if self.kind != "loc":
            return None
        match = _LOC.fullmatch(self.text)
        if match is None:
            self.fail("expected `# file:line:column`")
        filename, function = (unquote(t) if t.startswith('"') else t for t in (match[1], match[5] or ""))
        lineno, col, end_col = (self._integer(t) for t in (match[2], match[3], match[4] or "0"))
        self.take()
        return Loc(filename, lineno, col, end_col, function=function)


def unquote(text: str) -> str:
    """The text that stands between quotes, its escapes undone."""
    return _ESCAPE.sub(_unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    short = match[4]
    if short is not None:
        return {"n": "\n", "t": "\t"}.get(short, short)
    return chr(int(match[1] or match[2] or match[3], 16))


def base_name(key: str) -> str:
    """The name in a key: `x` of ``x.1``, `a b` of ``"a b".1``."""
    if key.startswith('"'):
        return unquote(key[: key.rindex('"') + 1])
    return key.split(".", 1)[0]


@final
class Budget:
    """Counts ops and statements over all sections of a text."""

    def __init__(self) -> None:
        self.left = MAX_OPS

    def take(self, tokens: Tokens) -> None:
        self.left -= 1
        if self.left < 0:
            tokens.fail(f"more than {MAX_OPS} ops")
