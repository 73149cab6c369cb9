"""The dtypes of the IR: fourteen rows, each a NumPy dtype in native byte order."""

from __future__ import annotations

from typing import Any, Literal, final

import numpy as np

from tensorjit.records import dataclass

Kind = Literal["b", "i", "u", "f", "c"]


@final
@dataclass(frozen=True, slots=True)
class DType:
    """One element type: its short `name` in IR text, NumPy's `kind` letter, `size` in bytes, NumPy's type character."""

    name: str
    kind: Kind
    size: int
    char: str

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.char)

    @property
    def part(self) -> DType:
        """The real dtype of a complex one's parts; itself otherwise."""
        return {"c64": F32, "c128": F64}.get(self.name, self)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name


BOOL = DType("bool", "b", 1, "?")
I8 = DType("i8", "i", 1, "b")
I16 = DType("i16", "i", 2, "h")
I32 = DType("i32", "i", 4, "i")
I64 = DType("i64", "i", 8, np.dtype(np.int64).char)
U8 = DType("u8", "u", 1, "B")
U16 = DType("u16", "u", 2, "H")
U32 = DType("u32", "u", 4, "I")
U64 = DType("u64", "u", 8, np.dtype(np.uint64).char)
F16 = DType("f16", "f", 2, "e")
F32 = DType("f32", "f", 4, "f")
F64 = DType("f64", "f", 8, "d")
C64 = DType("c64", "c", 8, "F")
C128 = DType("c128", "c", 16, "D")

DTYPES = (BOOL, I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64, C64, C128)
BY_NAME = {d.name: d for d in DTYPES}
_BY_KIND_SIZE: dict[tuple[str, int], DType] = {(d.kind, d.size): d for d in DTYPES}


def from_numpy(dtype: np.dtype[Any]) -> DType | None:
    """The IR dtype of a NumPy dtype, whatever its byte order; None where there is none.

    >>> from_numpy(np.dtype("int32")), from_numpy(np.dtype("longlong")), from_numpy(np.dtype("S3"))
    (i32, i64, None)
    """
    return _BY_KIND_SIZE.get((str(dtype.kind), dtype.itemsize))
