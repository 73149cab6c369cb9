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
from tensorjit.backends.llvm.vmath import coefficients as tables
from tensorjit.records import dataclass

PERMUTES = {64: "tj.vmath.permutes.avx512", 32: "tj.vmath.permutes.avx2"}  # by the bytes of a register
LITTLE = {64: 2.0**-200, 32: 2.0**-60}


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


def clamped(number: Lane, low: int, high: int) -> Lane:
    """Signed integers brought to low ... high."""
    typ, b = number.value.type, number.builder
    for name, edge in (("smax", low), ("smin", high)):
        function = declare(b.module, f"llvm.{name}.{suffix(typ)}", typ, [typ, typ])
        number = number.of(b.call(function, [number.value, number.constant(edge).value]))
    return number


def clamped_index(index: Lane, last: int) -> Lane:
    """Signed integers brought to 0 ... last."""
    return clamped(index, 0, last)


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


def square(r: Lane) -> Lane:
    """r^2 and a little that is rounded away, so that nothing underflows."""
    return fma(r, r, LITTLE[r.format.bits])


def polynomial(x: Lane, coefficients: Sequence[float], square: Lane | None = None) -> Lane:
    """Constant term first. With x^2 given, two Horner schemes in it, for the even and the odd powers.

    That halves the latency: a processor looks a hundred operations ahead or so, and one long chain would keep it from
    the next vector. The caller makes the square, since x^2 might underflow.
    """
    if square is None or len(coefficients) < 5:
        return horner(x, coefficients)
    first, *rest = coefficients
    # the first apart, for its sum to be rounded once
    return fma(x, fma(horner(square, rest[1::2]), x, horner(square, rest[::2])), first)


def horner(x: Lane, coefficients: Sequence[float]) -> Lane:
    """Horner's scheme, constant term first: fewest operations."""
    total: Operand = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = fma(x, total, c)
    return x.constant(total)


def allow_permutes(module: ir.Module, vector_bytes: int = 64) -> None:
    """Let `lookup` use AVX-512 (64 bytes) or AVX2 (32) in this module: its value is the same either way."""
    name = PERMUTES.get(vector_bytes)
    if name is not None and name not in module.namedmetadata:
        module.add_named_metadata(name)


def lookup(index: Lane, name: str) -> Lane:
    """The table of that name in `coefficients`, at the low bits of every lane of index: 16 or 32 values."""
    values, scalar = getattr(tables, name), ir.DoubleType() if index.format is F64 else ir.FloatType()
    allowed = index.builder.module.namedmetadata
    if index.width and PERMUTES[64] in allowed:
        return index.of(_permuted(index, tuple(ir.Constant(scalar, v) for v in values)))
    if index.width >= 8 and index.format is F32 and PERMUTES[32] in allowed:
        return index.of(_permuted_by_eights(index, values))
    stored = _stored(index.builder.module, name, scalar, values)
    place = index.builder.gep(stored, [(index & (len(values) - 1)).value], source_etype=scalar)
    if not index.width:
        return index.of(index.builder.load(place, typ=scalar))
    typ, mask = index.like(scalar), ir.VectorType(ir.IntType(1), index.width)
    place.type = ir.VectorType(ir.PointerType(), index.width)  # llvmlite takes it for one pointer
    kind = f"llvm.masked.gather.{suffix(typ)}.v{index.width}p0"
    gather = declare(index.builder.module, kind, typ, [place.type, ir.IntType(32), mask, typ])
    operands = [place, ir.IntType(32)(index.format.bits // 8), ir.Constant(mask, [1] * index.width), ir.Constant(typ, ir.Undefined)]
    return index.of(index.builder.call(gather, operands))


def _stored(module: ir.Module, name: str, scalar: ir.Type, values: Sequence[float]) -> ir.GlobalVariable:
    known = module.globals.get("tj.vmath." + name)
    if known is not None:
        return known
    array = ir.ArrayType(scalar, len(values))
    stored = ir.GlobalVariable(module, array, "tj.vmath." + name)
    stored.initializer = ir.Constant(array, list(values))
    stored.global_constant, stored.linkage = True, "internal"
    return stored


def _permuted(index: Lane, values: Sequence[ir.Constant]) -> ir.Value:
    """A permute chooses from one or two registers of 512 bits; a higher bit of the index between two of them."""
    b, lanes = index.builder, 512 // index.format.bits
    one, word = values[0].type, ir.IntType(index.format.bits)
    vector, words = ir.VectorType(one, lanes), ir.VectorType(word, lanes)
    halves = [ir.Constant(vector, list(values[i : i + lanes])) for i in range(0, len(values), lanes)]
    parts = []
    for first in range(0, index.width, lanes):
        # narrower vectors are filled up with their own lanes
        part = index.value if index.width == lanes else _chosen(b, index.value, [(first + i) % index.width for i in range(lanes)])
        if len(halves) == 1:
            permute = declare(b.module, "llvm.x86.avx512.permvar.sf.512", vector, [vector, words])
            parts.append(b.call(permute, [halves[0], part]))
            continue
        kind = "pd" if lanes == 8 else "ps"
        permute = declare(b.module, f"llvm.x86.avx512.vpermi2var.{kind}.512", vector, [vector, words, vector])
        found = [index.of(b.call(permute, [low, part, high])) for low, high in zip(halves[::2], halves[1::2], strict=True)]
        parts.append(_chosen_by_bit(index.of(part), found, lanes.bit_length()))
    if index.width < lanes:
        return _chosen(b, parts[0], range(index.width))
    return _joined(b, parts)


def _permuted_by_eights(index: Lane, values: Sequence[float]) -> ir.Value:
    """Of f32: AVX2 permutes the eight of one register, and the index's higher bits choose between registers.

    Half the time of gathers, where these are mended against Gather Data Sampling (CVE-2022-40982); f64 would gain nothing.
    """
    b, vector, word = index.builder, ir.VectorType(ir.FloatType(), 8), ir.VectorType(ir.IntType(32), 8)
    permute = declare(b.module, "llvm.x86.avx2.permps", vector, [vector, word])
    registers = [ir.Constant(vector, list(values[i : i + 8])) for i in range(0, len(values), 8)]
    parts = []
    for first in range(0, index.width, 8):
        part = index if index.width == 8 else index.of(_chosen(b, index.value, range(first, first + 8)))
        parts.append(_chosen_by_bit(part, [part.of(b.call(permute, [r, part.value])) for r in registers], 3))
    return _joined(b, parts)


def _chosen_by_bit(index: Lane, found: Sequence[Lane], bit: int) -> ir.Value:
    """One of 2^n lanes by n bits of the index."""
    while len(found) > 1:
        upper = (index << (index.format.bits - 1 - bit)).signed("<", 0)
        found = [select(upper, high, low) for low, high in zip(found[::2], found[1::2], strict=True)]
        bit += 1
    return found[0].value


def _joined(b: ir.IRBuilder, parts: Sequence[ir.Value]) -> ir.Value:
    """Vectors of equal length one after the other."""
    while len(parts) > 1:
        parts = [_chosen(b, x, range(2 * x.type.count), y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _chosen(b: ir.IRBuilder, a: ir.Value, which: Sequence[int], other: ir.Value | None = None) -> ir.Value:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(which)), list(which))
    return b.shuffle_vector(a, ir.Constant(a.type, ir.Undefined) if other is None else other, mask)


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
