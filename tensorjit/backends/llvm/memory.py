"""Elements in memory and lanes in registers: contiguous, strided and gathered loads and stores, with and without a mask.

Lanes that do not count repeat the first one, so that what is computed of them raises no flag that it would not.
With AVX-512 a mask goes into the load or store; elsewhere the few elements of a tail pass through the stack.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from tensorjit.backends.llvm.abi import I8, I32, I64, PTR
from tensorjit.backends.llvm.clib import libc_function
from tensorjit.backends.llvm.frame import Frame
from tensorjit.backends.llvm.quiet import declare, suffix
from tensorjit.backends.llvm.registers import Pair, Register, element_type, number, splat, vector_type
from tensorjit.ir.dtypes import DType
from tensorjit.records import dataclass

__all__ = ["Memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Elements of one dtype, as some view has them."""

    frame: Frame
    dtype: DType
    align: int
    masked_moves: bool  # the target loads and stores under a mask

    @property
    def parts(self) -> int:
        return 2 if self.dtype.kind == "c" else 1

    @property
    def element(self) -> ir.Type:
        """The type of one real element."""
        return element_type(self.dtype)

    @property
    def whole(self) -> ir.Type:
        """The type of one element, whose size a pointer steps by."""
        return ir.LiteralStructType([self.element] * 2) if self.parts == 2 else self.element

    # -- one element

    def load_one(self, b: ir.IRBuilder, pointer: ir.Value) -> Register:
        return self._as_register(b, self._load_raw(b, pointer))

    def store_one(self, b: ir.IRBuilder, pointer: ir.Value, register: Register) -> None:
        self._store_raw(b, pointer, self._as_raw(b, register))

    def _load_raw(self, b: ir.IRBuilder, pointer: ir.Value) -> tuple[ir.Value, ...]:
        return tuple(b.load(self._part(b, pointer, k), align=self.align, typ=self.element) for k in range(self.parts))

    def _store_raw(self, b: ir.IRBuilder, pointer: ir.Value, raw: tuple[ir.Value, ...]) -> None:
        for k, part in enumerate(raw):
            b.store(part, self._part(b, pointer, k), align=self.align)

    def _part(self, b: ir.IRBuilder, pointer: ir.Value, k: int) -> ir.Value:
        return b.gep(pointer, [I64(k)], source_etype=self.element) if k else pointer

    def _as_register(self, b: ir.IRBuilder, raw: tuple[ir.Value, ...]) -> Register:
        if self.dtype.kind == "c":
            return Pair(*raw)
        (value,) = raw
        return b.icmp_unsigned("!=", value, number(value.type, 0)) if self.dtype.kind == "b" else value

    def _as_raw(self, b: ir.IRBuilder, register: Register) -> tuple[ir.Value, ...]:
        if isinstance(register, Pair):
            return tuple(register)
        if self.dtype.kind == "b":
            width = register.type.count if isinstance(register.type, ir.VectorType) else 1
            return (b.zext(register, vector_type(I8, width)),)
        return (register,)

    # -- lanes side by side

    def load_row(self, b: ir.IRBuilder, pointer: ir.Value) -> Register:
        """The elements from pointer on, one a lane."""
        frame = self.frame
        typ = vector_type(self.element, self.parts * frame.width)
        if frame.mask is None:
            return self._split(b, b.load(pointer, align=self.align, typ=typ))
        first = splat(b, self._load_raw(b, pointer)[0], frame.width)
        if self.parts == 2:
            first = self._join(b, Pair(*(splat(b, r, frame.width) for r in self._load_raw(b, pointer))))
        if not self.masked_moves:
            return self._load_by_stack(b, pointer, first)
        mask = self._element_mask(b)
        function = declare(b.module, f"llvm.masked.load.{suffix(typ)}.p0", typ, [PTR, I32, mask.type, typ])
        return self._split(b, b.call(function, [pointer, I32(self.align), mask, first]))

    def store_row(self, b: ir.IRBuilder, pointer: ir.Value, register: Register) -> None:
        raw = self._join(b, register)
        if self.frame.mask is None:
            b.store(raw, pointer, align=self.align)
        elif self.masked_moves:
            mask = self._element_mask(b)
            kind = f"llvm.masked.store.{suffix(raw.type)}.p0"
            function = declare(b.module, kind, ir.VoidType(), [raw.type, PTR, I32, mask.type])
            b.call(function, [raw, pointer, I32(self.align), mask])
        else:
            room = self._room()
            b.store(raw, room, align=1)
            b.call(libc_function(b.module, "memcpy"), [pointer, room, self._active_bytes(b)])

    def _split(self, b: ir.IRBuilder, raw: ir.Value) -> Register:
        if self.parts == 1:
            return self._as_register(b, (raw,))
        return Pair(*(_shuffle(b, raw, raw, range(k, raw.type.count, 2)) for k in range(2)))

    def _join(self, b: ir.IRBuilder, register: Register) -> ir.Value:
        raw = self._as_raw(b, register)
        if self.parts == 1:
            return raw[0]
        width = raw[0].type.count
        return _shuffle(b, raw[0], raw[1], [k // 2 + (k % 2) * width for k in range(2 * width)])

    def _element_mask(self, b: ir.IRBuilder) -> ir.Value:
        mask = self.frame.mask
        assert mask is not None
        if self.parts == 1:
            return mask
        return _shuffle(b, mask, mask, [k // 2 for k in range(2 * self.frame.width)])

    # -- by way of the stack

    def _room(self) -> ir.Value:
        return self.frame.room(self.frame.width * self.dtype.size)

    def _active_bytes(self, b: ir.IRBuilder) -> ir.Value:
        return b.mul(self.frame.active, I64(self.dtype.size))

    def _load_by_stack(self, b: ir.IRBuilder, pointer: ir.Value, first: ir.Value) -> Register:
        room = self._room()
        b.store(first, room, align=1)
        b.call(libc_function(b.module, "memcpy"), [room, pointer, self._active_bytes(b)])
        return self._split(b, b.load(room, align=1, typ=first.type))

    # -- lanes anywhere

    def load_lanes(self, b: ir.IRBuilder, pointers: list[ir.Value]) -> Register:
        """The elements at the pointers."""
        typ = ir.VectorType(self.element, len(pointers))
        vectors = [ir.Constant(typ, ir.Undefined)] * self.parts
        for lane, pointer in enumerate(pointers):
            for k, part in enumerate(self._load_raw(b, pointer)):
                vectors[k] = b.insert_element(vectors[k], part, I32(lane))
        return self._as_register(b, tuple(vectors))

    def store_lanes(self, b: ir.IRBuilder, pointers: list[ir.Value], register: Register) -> None:
        raw = self._as_raw(b, register)
        for lane, pointer in enumerate(pointers):
            self._store_raw(b, pointer, tuple(b.extract_element(part, I32(lane)) for part in raw))

    def load_active(self, b: ir.IRBuilder, place: Callable[[ir.Value], ir.Value]) -> Register:
        """The elements at place(lane) of the lanes that count, in a loop."""
        room, width = self._room(), self.frame.width
        first = self._load_raw(b, place(I64(0)))
        image = splat(b, first[0], width)
        if self.parts == 2:
            image = self._join(b, Pair(*(splat(b, part, width) for part in first)))
        b.store(image, room, align=1)
        self._each_active(lambda lane: self._store_raw(b, self._in_room(b, lane), self._load_raw(b, place(lane))))
        return self._split(b, b.load(room, align=1, typ=image.type))

    def store_active(self, b: ir.IRBuilder, place: Callable[[ir.Value], ir.Value], register: Register) -> None:
        b.store(self._join(b, register), self._room(), align=1)
        self._each_active(lambda lane: self._store_raw(b, place(lane), self._load_raw(b, self._in_room(b, lane))))

    def store_same(self, place: Callable[[ir.Value], ir.Value], register: Register) -> None:
        """One value at place(lane) of the lanes that count."""
        b = self.frame.b
        raw = self._as_raw(b, register)
        self._each_active(lambda lane: self._store_raw(b, place(lane), raw))

    def _in_room(self, b: ir.IRBuilder, lane: ir.Value) -> ir.Value:
        return b.gep(self._room(), [lane], source_etype=self.whole)

    def _each_active(self, move: Callable[[ir.Value], None]) -> None:
        def body(lane: ir.Value, _: object) -> tuple[()]:
            move(lane)
            return ()

        count = I64(self.frame.width) if self.frame.active is None else self.frame.active
        self.frame.repeat(I64(0), count, 1, (), body, certain=True)


def _shuffle(b: ir.IRBuilder, x: ir.Value, y: ir.Value, lanes: range | list[int]) -> ir.Value:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))
