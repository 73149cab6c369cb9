"""A Python object that is called natively.

`NativeCallable` is a heap type with a vectorcall slot in each instance. While the slot is empty, a call is an
ordinary Python call of `__call__`, which hands it to `_miss(args, kwargs)`; so nothing native is needed
before the first compile. Once an entry is installed, calls go straight to its machine code, and what the
entries do not serve comes back to `_miss`.

The entries of one callable form a chain, the latest first: each, when a check fails, jumps to the next; the end of the
chain is `_unserved`.

Machine code does not ask for the options in force. So wherever in the process some are that may forbid it
(`config.overridden`), the slots are empty, and Python decides call by call; a call costs nothing for that otherwise.

>>> class Doubler(NativeCallable):
...     def _miss(self, args, kwargs):
...         return 2 * args[0]
>>> double = Doubler()
>>> double.__doc__ = "twice"
>>> double(21)
42
>>> class Thing:
...     method = double
>>> isinstance(Thing().method, __import__("types").MethodType)
True
"""

from __future__ import annotations

import copyreg
import ctypes
import sys
import threading
import weakref
from types import FunctionType
from typing import Any, Protocol

from tensorjit import config

__all__ = ["NativeCallable", "NativeEntry"]


class NativeEntry(Protocol):
    """An entry as a callable sees it; made by a backend."""

    @property
    def address(self) -> int:
        """The vectorcall function."""

    @property
    def in_use(self) -> int:
        """How many calls are inside it."""

    @property
    def hits(self) -> int:
        """How many calls it has served."""

    def set_next(self, address: int | None) -> None:
        """Where unserved calls go; None: back to Python."""

    def close(self) -> None:
        """Free its code."""


# -- the type --------------------------------------------------------------------------------------

# CPython's Include/typeslots.h, Include/object.h, Include/descrobject.h
_PY_TP_CALL = 50
_PY_TP_DESCR_GET = 54
_PY_TP_MEMBERS = 72
_TPFLAGS_BASETYPE = 1 << 10
_TPFLAGS_HAVE_VECTORCALL = 1 << 11
_TPFLAGS_METHOD_DESCRIPTOR = 1 << 17
_T_PYSSIZET = 19
_READONLY = 1

_HEADER = object.__basicsize__
_FLAGS_OFFSET = _HEADER + 19 * 8  # of tp_flags in PyTypeObject: after ob_size and 18 words


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


def _api(name: str) -> int | None:
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value


def _function_descr_get() -> int:
    # what plain functions have: it binds whatever object it is given, and makes no use of being one
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.restype = ctypes.c_void_p
    get_slot.argtypes = (ctypes.py_object, ctypes.c_int)
    return int(get_slot(FunctionType, _PY_TP_DESCR_GET))


def _make_base() -> Any:
    members = (_Member * 3)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, _HEADER, _READONLY, None),
        _Member(b"_native_address", _T_PYSSIZET, _HEADER, 0, b"The vectorcall function; 0 for none."),
        _Member(),
    )
    slots = (_Slot * 4)(
        _Slot(_PY_TP_CALL, _api("PyVectorcall_Call")),
        _Slot(_PY_TP_DESCR_GET, _function_descr_get()),
        _Slot(_PY_TP_MEMBERS, ctypes.addressof(members)),
        _Slot(),
    )
    flags = _TPFLAGS_BASETYPE | _TPFLAGS_HAVE_VECTORCALL | _TPFLAGS_METHOD_DESCRIPTOR
    name = b"tensorjit.runtime.callable._NativeBase"
    spec = _Spec(name, _HEADER + ctypes.sizeof(ctypes.c_void_p), 0, flags, slots)
    from_spec = ctypes.pythonapi.PyType_FromSpec
    from_spec.restype = ctypes.py_object
    from_spec.argtypes = (ctypes.POINTER(_Spec),)
    kind = from_spec(ctypes.byref(spec))
    _keep.extend((members, slots, spec, name))  # CPython copies them, but says so only since 3.11
    return kind


_keep: list[object] = []
_NativeBase: Any = _make_base()


def _enable_vectorcall(kind: type) -> None:
    """Let the interpreter call instances through their slot: Python classes do not inherit that (before
    3.12), nor where they define `__call__`. Without it calls are slower and still right."""
    flags = ctypes.c_ulong.from_address(id(kind) + _FLAGS_OFFSET)
    if flags.value == kind.__flags__:  # else this is not the field we think it is
        flags.value |= _TPFLAGS_HAVE_VECTORCALL
        if kind.__get__ is _NativeBase.__get__:  # type: ignore[attr-defined]
            flags.value |= _TPFLAGS_METHOD_DESCRIPTOR  # a method call then makes no bound method
        _type_modified(kind)


_type_modified: Any = ctypes.pythonapi.PyType_Modified
_type_modified.argtypes = (ctypes.py_object,)
_type_modified.restype = None


class NativeCallable(_NativeBase):  # type: ignore[misc]
    """Base of what is called natively. A subclass defines `_miss(args, kwargs)`, and must not define
    `__call__`."""

    _native_address: int
    _entries: list[NativeEntry]
    _retired: list[NativeEntry]
    _inside: int

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        self = _NativeBase.__new__(cls)
        self._entries = []  # the latest first
        self._retired = []  # out of the chain, perhaps still running
        self._inside = 0  # calls of the chain that began in Python, and may not have reached an entry yet
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__call__ is NativeCallable.__call__:
            _enable_vectorcall(cls)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        # the slot is empty: nothing is compiled, or options are in force somewhere that may forbid it
        if self._entries and self._runs_natively():
            return self._call_native(args, kwargs)
        return self._miss(args, kwargs)

    def _unserved(self, /, *args: Any, **kwargs: Any) -> Any:
        # the end of every chain
        return self._miss(args, kwargs)

    def _miss(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that no entry serves."""
        raise NotImplementedError

    def _runs_natively(self) -> bool:
        """Whether entries may serve calls under the options in force here."""
        return True

    def _call_native(self, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        """Call the chain of entries, whatever the options in force. If none of them serves the call it comes back to
        `_miss`, so whoever calls this from there must know that an entry will take it."""
        with _chain_lock:
            function = _VECTORCALL(self._entries[0].address) if self._entries else None
            self._inside += function is not None
        if function is None:  # without the lock: it compiles, and runs the user's code
            return self._miss(args, kwargs or {})
        try:
            values = (*args, *kwargs.values()) if kwargs else args
            names = tuple(kwargs) if kwargs else None
            return function(self, id(values) + tuple.__basicsize__, len(args), id(names) if names else None)
        finally:
            with _chain_lock:
                self._inside -= 1
            self._sweep()

    # -- the chain: each change ends with putting all of it in order, so that one made in between, by a signal handler or a
    # finaliser, does no harm

    def _install(self, entry: NativeEntry) -> None:
        """Make `entry` the first of the chain."""
        with _chain_lock:
            self._entries.insert(0, entry)
            _live.add(self)
            self._link()
        self._sweep()

    def _has(self, entry: NativeEntry) -> bool:
        """Whether `entry` is in the chain."""
        return entry in self._entries

    def _evict(self, entry: NativeEntry) -> None:
        """Take `entry` out of the chain and free its code, at once or when the last call inside it has
        left."""
        with _chain_lock:
            if entry in self._entries:
                self._entries.remove(entry)
                self._retired.append(entry)
            self._link()
        self._sweep()

    def _evict_all(self) -> None:
        """Empty the chain."""
        with _chain_lock:
            self._retired += self._entries
            self._entries.clear()
            self._link()
        self._sweep()

    def _link(self) -> None:
        """Let each entry hand on to the next, and calls find the first."""
        following = None
        for entry in reversed(self._entries):
            entry.set_next(following)
            following = entry.address
        for entry in self._retired:  # a call that is still inside may yet be handed on, and what was the next may be freed
            entry.set_next(None)
        self._fill_slot()

    def _fill_slot(self) -> None:
        """Let calls go straight to the first entry, where no call has to ask for the options."""
        direct = self._entries and not config.overridden() and self._runs_natively()
        self._native_address = self._entries[0].address if direct else 0

    def _sweep(self) -> None:
        """Free what is retired and not in use."""
        if not self._retired or not _gil_enabled():
            return
        with _chain_lock:
            if self._inside:
                return  # another thread may be about to enter, or be in an entry's last instructions
            idle = [entry for entry in self._retired if not entry.in_use]
            self._retired[:] = [entry for entry in self._retired if entry not in idle]
        for entry in idle:  # without the lock: what an entry kept alive may end here, and run code of the user's
            entry.close()

    # -- copies and pickles start without machine code

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_entries", "_retired", "_inside")}

    def __reduce_ex__(self, protocol: object) -> Any:
        return copyreg.__newobj__, (type(self),), self.__getstate__()  # type: ignore[attr-defined]


_gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
_chain_lock = threading.RLock()  # the last in the order of runtime.locks: nothing is called under it that takes another
_VECTORCALL = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_live: weakref.WeakSet[NativeCallable] = weakref.WeakSet()  # what has had entries
_enable_vectorcall(NativeCallable)


def _fill_slots() -> None:
    with _chain_lock:
        for each in list(_live):
            each._fill_slot()


config.when_overridden(_fill_slots)
