"""Values in every lane, with Python's operators: the notation that the vector math is written in.

A `Lane` is a scalar or a vector of f32, f64, an integer or i1 together with the builder that emits what is done to it.
Python numbers on the other side of an operator become constants. Integer compares on the bits of a float are preferred
to float compares: they are quiet, and AVX2 has them signed (a positive float orders as its bits do).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from llvmlite import ir

from tensorjit.backends.llvm.quiet import declare, quiet_fcmp, suffix
from tensorjit.records import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format."""

    suffix: str  # of coefficient tables
    bits: int
    fraction: int  # stored bits of the significand
    bias: int
    code: str  # struct's letters for the float and its bits

    def word(self, value: float) -> int:
        """The bits of value.

        >>> hex(F32.word(1.0))
        '0x3f800000'
        """
        return int(struct.unpack("<" + self.code[1], struct.pack("<" + self.code[0], value))[0])

    @property
    def infinity(self) -> int:
        """The bits of infinity, the smallest word that is no finite number."""
        return (2 * self.bias + 1) << self.fraction

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return (1 << (self.bits - 1)) - 1

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.bits - 1)

    @property
    def magic(self) -> float:
        """x + magic has round(x) in its low bits, for |x| < 2^(fraction - 2)."""
        return 1.5 * 2.0**self.fraction

    @property
    def least(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


F32 = Format("32", 32, 23, 127, "fI")
F64 = Format("64", 64, 52, 1023, "dQ")

Operand: TypeAlias = "Lane | float | int"


class Splat(ir.Constant):  # type: ignore[misc]
    """One constant in every lane, written short: llvmlite spells out every lane, which LLVM then parses."""

    def __init__(self, one: ir.Constant, count: int) -> None:
        super().__init__(ir.VectorType(one.type, count), one.constant)
        self._text = f"splat ({one})"

    def _get_reference(self) -> str:
        return self._text


@lru_cache(maxsize=4096)
def _constant(typ_text: str, count: int, bits: int, value: float) -> ir.Constant:
    """value in every lane; kept, since llvmlite formats a constant once per object."""
    scalars = {"float": ir.FloatType(), "double": ir.DoubleType()}
    scalar = scalars.get(typ_text) or ir.IntType(bits)
    if isinstance(scalar, ir.IntType):
        value = int(value) & ((1 << bits) - 1)
    one = ir.Constant(scalar, value)
    if count == 0:
        return one
    return Splat(one, count)


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """An IR value of any width, and where its operations are emitted."""

    builder: ir.IRBuilder
    value: ir.Value

    @property
    def width(self) -> int:
        """The number of lanes; 0 for a scalar."""
        return self.value.type.count if isinstance(self.value.type, ir.VectorType) else 0

    @property
    def scalar(self) -> ir.Type:
        """The type of one lane."""
        return self.value.type.element if self.width else self.value.type

    @property
    def format(self) -> Format:
        """The format of a float, or of a float as wide as this integer."""
        wide = isinstance(self.scalar, ir.DoubleType) or getattr(self.scalar, "width", 0) == 64
        return F64 if wide else F32

    def of(self, value: ir.Value) -> Lane:
        """Another value at this builder."""
        return Lane(self.builder, value)

    def constant(self, number: Operand) -> Lane:
        """number in every lane, of this type; lanes as they are."""
        if isinstance(number, Lane):
            return number
        scalar = self.scalar
        bits = scalar.width if isinstance(scalar, ir.IntType) else 0
        return self.of(_constant(str(scalar), self.width, bits, number))

    def like(self, scalar: ir.Type) -> ir.Type:
        """The type of as many lanes of scalar."""
        return ir.VectorType(scalar, self.width) if self.width else scalar

    def _arith(self, other: Operand, on_float: str, on_int: str) -> Lane:
        name = on_int if isinstance(self.scalar, ir.IntType) else on_float
        return self.of(getattr(self.builder, name)(self.value, self.constant(other).value))

    def __add__(self, other: Operand) -> Lane:
        return self._arith(other, "fadd", "add")

    def __sub__(self, other: Operand) -> Lane:
        return self._arith(other, "fsub", "sub")

    def __mul__(self, other: Operand) -> Lane:
        return self._arith(other, "fmul", "mul")

    def __truediv__(self, other: Operand) -> Lane:
        return self._arith(other, "fdiv", "udiv")

    def __and__(self, other: Operand) -> Lane:
        return self._arith(other, "", "and_")

    def __or__(self, other: Operand) -> Lane:
        return self._arith(other, "", "or_")

    def __xor__(self, other: Operand) -> Lane:
        return self._arith(other, "", "xor")

    def __lshift__(self, other: Operand) -> Lane:
        return self._arith(other, "", "shl")

    def __rshift__(self, other: Operand) -> Lane:
        return self._arith(other, "", "lshr")

    def __radd__(self, other: float) -> Lane:
        return self + other

    def __rmul__(self, other: float) -> Lane:
        return self * other

    def __rsub__(self, other: Operand) -> Lane:
        return self.constant(other) - self

    def __rtruediv__(self, other: float) -> Lane:
        return self.constant(other) / self

    def __neg__(self) -> Lane:
        return self.of(self.builder.fneg(self.value))

    def __invert__(self) -> Lane:
        return self ^ 1

    def bits(self) -> Lane:
        """The words of floats."""
        return self.of(self.builder.bitcast(self.value, self.like(ir.IntType(self.format.bits))))

    def floats(self) -> Lane:
        """Words read as floats."""
        scalar = ir.DoubleType() if self.format is F64 else ir.FloatType()
        return self.of(self.builder.bitcast(self.value, self.like(scalar)))

    def to(self, scalar: ir.Type) -> Lane:
        """Floats converted to another format; themselves if it is theirs."""
        if scalar == self.scalar:
            return self
        convert = self.builder.fpext if isinstance(scalar, ir.DoubleType) else self.builder.fptrunc
        return self.of(convert(self.value, self.like(scalar)))

    def signed(self, relation: str, other: Operand) -> Lane:
        """Integers compared as signed ones."""
        return self.of(self.builder.icmp_signed(relation, self.value, self.constant(other).value))

    def unsigned(self, relation: str, other: Operand) -> Lane:
        """Integers compared as unsigned ones."""
        return self.of(self.builder.icmp_unsigned(relation, self.value, self.constant(other).value))

    def compared(self, predicate: str, other: Operand) -> Lane:
        """Floats compared quietly; the predicate is LLVM's."""
        return self.of(quiet_fcmp(self.builder, predicate, self.value, self.constant(other).value))

    def intrinsic(self, name: str) -> Lane:
        """`llvm.name` of one argument and the same result: sqrt, floor."""
        typ = self.value.type
        function = declare(self.builder.module, f"llvm.{name}.{suffix(typ)}", typ, [typ])
        return self.of(self.builder.call(function, [self.value]))


def strictly(operation: str, *operands: Lane) -> Lane:
    """fadd, fmul, fdiv or sqrt of lanes that a select made safe, or made to raise a flag.

    Ordinary arithmetic on `select(mask, x, 0.0)` may be carried into the select by LLVM, which then does it for every
    x, or be folded altogether; the constrained intrinsics are left where they are, with their flags.
    """
    first = operands[0]
    module, typ, metadata = first.builder.module, first.value.type, ir.MetaDataType()
    name = f"llvm.experimental.constrained.{operation}.{suffix(typ)}"
    function = declare(module, name, typ, [typ] * len(operands) + [metadata] * 2)
    how = [ir.MetaDataString(module, text) for text in ("round.tonearest", "fpexcept.strict")]
    return first.of(first.builder.call(function, [*(v.value for v in operands), *how]))


def nan_of(x: Lane, y: Lane, nan: Lane) -> Lane:
    """x + y in the lanes nan, where one of them is one."""
    return strictly("fadd", select(nan, x, 0.0), select(nan, y, 0.0))


def positive_finite(magnitude: Lane) -> Lane:
    """Lanes whose bits are those of a positive finite number.

    One compare; and LLVM makes of `magnitude != 0` a float compare that signals.
    """
    return (magnitude - 1).unsigned("<", magnitude.format.infinity - 1)


def fma(a: Operand, b: Operand, c: Operand) -> Lane:
    """a * b + c, rounded once; one of them is a Lane."""
    lane = next(v for v in (a, b, c) if isinstance(v, Lane))
    typ = lane.value.type
    function = declare(lane.builder.module, f"llvm.fma.{suffix(typ)}", typ, [typ] * 3)
    return lane.of(lane.builder.call(function, [lane.constant(v).value for v in (a, b, c)]))


def select(mask: Lane, a: Operand, b: Operand) -> Lane:
    """a where mask, b elsewhere; one of a and b is a Lane."""
    lane = a if isinstance(a, Lane) else b
    assert isinstance(lane, Lane)
    return mask.of(mask.builder.select(mask.value, lane.constant(a).value, lane.constant(b).value))


def polynomial(x: Lane, coefficients: Sequence[float]) -> Lane:
    """Horner's scheme, constant term first: fewest operations; neighbouring iterations hide its latency."""
    total: Operand = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = fma(x, total, c)
    return x.constant(total)


def rare(mask: Lane, values: Sequence[Lane], fix: Callable[[], Sequence[Lane]]) -> list[Lane]:
    """values, in the lanes of mask what fix returns: computed behind a branch that is expected not to be taken.

    fix emits into that branch. It is selected by lane, so that no lane depends on its neighbours.
    """
    builder = mask.builder
    taken, after = builder.append_basic_block("rare"), builder.append_basic_block("after")
    test = mask.value
    if mask.width:
        word = ir.IntType(mask.width)
        test = builder.icmp_unsigned("!=", builder.bitcast(test, word), ir.Constant(word, 0))
    before = builder.block
    builder.cbranch(test, taken, after).set_weights([1, 4000])
    builder.position_at_end(taken)
    fixed = list(fix())
    if mask.width:
        fixed = [select(mask, new, old) for new, old in zip(fixed, values, strict=True)]
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    return [_phi(builder, (old, before), (new, end)) for old, new in zip(values, fixed, strict=True)]


def _phi(builder: ir.IRBuilder, *incoming: tuple[Lane, Any]) -> Lane:
    phi = builder.phi(incoming[0][0].value.type)
    for lane, block in incoming:
        phi.add_incoming(lane.value, block)
    return Lane(builder, phi)
