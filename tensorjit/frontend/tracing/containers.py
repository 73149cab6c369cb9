"""Lists and dictionaries from outside of the traced function, as it sees them.

What is read is read through a source, when it is read: a list of a hundred layers of which three are used is
three guards. The first change makes a private copy, whose items still remember where they come from; the rest
of the run sees the change, and the user's object does not.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, SupportsIndex, final

import numpy as np

from tensorjit.frontend.tracing.tracer import Tracer
from tensorjit.passes.specialise.state import MISSING, PLAIN, Source

MAX_ITEMS: Final = 64  # plain numbers and strings of one container that are guarded, and keys of a dict that is walked over


class Reads(Protocol):
    """What a container asks of the run that it belongs to."""

    def value(self, source: Source, value: Any) -> Any: ...
    def fact(self, source: Source, found: Any) -> None: ...
    def kind(self, source: Source, value: Any) -> None: ...
    def keys(self, source: Source, found: tuple[Any, ...]) -> None: ...
    def changed(self, source: Source) -> None: ...
    def unfollowed(self, what: str) -> None: ...


@final
class _Unread:
    """An item that was put in the private copy before anybody read it."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


@final
class _Items:
    """The items of one container, each read once."""

    __slots__ = ("_counted", "_read", "copied", "kind", "original", "run", "source")

    def __init__(self, run: Reads, source: Source, original: Any) -> None:
        self.run, self.source, self.original = run, source, original
        self.kind: Any = "list item" if isinstance(original, list) else "dict item"
        self.copied = False
        self._read: dict[Any, Any] = {}
        self._counted = 0

    def item(self, key: Any) -> Any:
        if key not in self._read:
            self._read[key] = self._value(key, self.original[key])
        return self._read[key]

    def _value(self, key: Any, value: Any) -> Any:
        if not is_plain_key(key):
            self.run.unfollowed(f"`{self.source.shown}[...]`, an item whose key is a {type(key).__name__},")
            return self.run.value(Source("constant", value, f"{self.source.shown}[...]"), value)
        if type(value) in PLAIN:
            self._counted += 1
            if self._counted == MAX_ITEMS + 1:
                self.run.unfollowed(f"`{self.source.shown}`, beyond its first {MAX_ITEMS} numbers,")
            if self._counted > MAX_ITEMS:
                return value
        return self.run.value(Source(self.kind, self.source, key), value)

    def lacks(self, key: Any) -> None:
        """A guard that there is no such item: the question that reading it asks."""
        self.run.kind(Source(self.kind, self.source, key), MISSING)

    def length(self) -> int:
        self.run.fact(Source("length", self.source), len(self.original))
        return len(self.original)

    def has(self, key: Any) -> bool:
        found = key in self.original
        if is_plain_key(key):
            self.run.fact(Source("has", Source("dict item", self.source, key)), found)
        else:
            self.run.unfollowed(f"whether a {type(key).__name__} is a key of `{self.source.shown}`")
        return found

    def keys(self) -> tuple[Any, ...]:
        keys = tuple(self.original)
        if len(keys) > MAX_ITEMS or not all(map(is_plain_key, keys)):
            self.length()
            self.run.unfollowed(f"what the keys of `{self.source.shown}` are")
        else:
            self.run.keys(Source("keys", self.source), keys)
        return keys


def is_plain_key(key: Any) -> bool:
    """Whether looking a key up runs no code of the user's."""
    return type(key) in PLAIN or (type(key) is tuple and all(map(is_plain_key, key)))


def _known(key: Any) -> Any:
    """A key as it is in this run; for a traced number, hash takes it, with a guard."""
    if not isinstance(key, Tracer):
        return key
    hash(key)
    return key._tj_concrete.item() if isinstance(key._tj_concrete, np.generic) else key._tj_concrete


def _from_all(kind: type, name: str) -> Any:
    """A method that wants all items."""
    method = getattr(kind, name)
    return lambda self, *args, **kwargs: method(self._tj_all(), *map(_filled, args), **kwargs)


def _filled(x: Any) -> Any:
    """What C code can read: a container from outside is empty to it."""
    return x._tj_all() if isinstance(x, (List, Dict)) else x


def _changing(kind: type, name: str) -> Any:
    """A method that changes what was read before."""
    method = getattr(kind, name)

    def change(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._tj_all()
        self._tj_own(read=True)
        result = method(self, *args, **kwargs)
        self._tj_tell()
        return result

    return change


@final
class List(list[Any]):
    """A list; empty as C code sees it, until it is changed."""

    __slots__ = ("_tj_items",)
    _tj_items: _Items

    @staticmethod
    def of(run: Reads, source: Source, original: list[Any]) -> List:
        made = List()
        made._tj_items = _Items(run, source, original)
        return made

    def _tj_size(self) -> int:
        items = self._tj_items
        length = items.length()
        return list.__len__(self) if items.copied else length

    def _tj_item(self, k: int) -> Any:
        items = self._tj_items
        if not items.copied:
            return items.item(k)
        found = list.__getitem__(self, k)
        return items.item(found.key) if type(found) is _Unread else found

    def _tj_all(self) -> list[Any]:
        return [self._tj_item(k) for k in range(self._tj_size())]

    def _tj_own(self, read: bool = False) -> None:
        items = self._tj_items
        if not items.copied:
            keys = range(len(items.original))
            list.extend(self, map(items.item, keys) if read else map(_Unread, keys))
            items.copied = True
        elif read:
            list.__setitem__(self, slice(None), self._tj_all())

    def _tj_tell(self) -> None:
        self._tj_items.run.changed(self._tj_items.source)

    def __len__(self) -> int:
        return self._tj_size()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self._tj_item(k) for k in range(*key.indices(self._tj_size()))]
        if not hasattr(type(key), "__index__"):
            list.__getitem__(self, key)  # raises what it raises
        k = operator.index(key)
        if not self._tj_items.copied and k >= len(self._tj_items.original):
            self._tj_items.lacks(k)
            raise IndexError("list index out of range")
        if k < 0 or self._tj_items.copied:
            size = self._tj_size()
            k = k + size if k < 0 else k
            if not 0 <= k < size:
                raise IndexError("list index out of range")
        return self._tj_item(k)

    def __iter__(self) -> Iterator[Any]:
        k = 0
        while k < self._tj_size():
            yield self._tj_item(k)
            k += 1

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            _SET(self, key, value)
        elif self[key] is not value:  # else the end of items[k] += y, which changed an array where it is
            self._tj_own()
            list.__setitem__(self, key, value)
            self._tj_tell()

    def append(self, value: Any) -> None:
        self.extend((value,))

    def extend(self, values: Any) -> None:
        self._tj_own()
        list.extend(self, values)
        self._tj_tell()

    def __iadd__(self, values: Any) -> Any:  # type: ignore[misc]
        self.extend(values)
        return self

    def __radd__(self, other: Any) -> Any:
        return other + self._tj_all() if isinstance(other, list) else NotImplemented

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (self._tj_all(),)


_SET: Final[Callable[..., Any]] = _changing(list, "__setitem__")
_LIST_READS: Final = (
    "__add__", "__mul__", "__rmul__", "__contains__", "__reversed__", "__repr__", "index", "count", "copy",
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__",
)  # fmt: skip
for _name in _LIST_READS:
    setattr(List, _name, _from_all(list, _name))
for _name in ("insert", "remove", "pop", "clear", "sort", "reverse", "__delitem__", "__imul__"):
    setattr(List, _name, _changing(list, _name))


@final
class Dict(dict[Any, Any]):
    """A dict; empty as C code sees it, until it is changed."""

    __slots__ = ("_tj_items", "_tj_owner")
    _tj_items: _Items
    _tj_owner: Callable[[dict[Any, Any]], None] | None

    @staticmethod
    def of(run: Reads, source: Source, original: dict[Any, Any], owner: Callable[[dict[Any, Any]], None] | None = None) -> Dict:
        """`owner` is told of changes: the attributes of an object."""
        made = Dict()
        made._tj_items = _Items(run, source, original)
        made._tj_owner = owner
        return made

    def _tj_keys(self) -> list[Any]:
        items = self._tj_items
        keys = items.keys()
        return list(dict.__iter__(self) if items.copied else keys)

    def _tj_item(self, key: Any) -> Any:
        if not self._tj_items.copied:
            return self._tj_items.item(key)
        found = dict.__getitem__(self, key)
        return self._tj_items.item(found.key) if type(found) is _Unread else found

    def _tj_all(self) -> dict[Any, Any]:
        return {key: self._tj_item(key) for key in self._tj_keys()}

    def _tj_own(self, read: bool = False) -> None:
        items = self._tj_items
        if not items.copied:
            dict.update(self, {key: items.item(key) if read else _Unread(key) for key in items.original})
            items.copied = True
        elif read:
            dict.update(self, self._tj_all())

    def _tj_tell(self) -> None:
        self._tj_items.run.changed(self._tj_items.source)
        if self._tj_owner is not None:
            self._tj_owner({key: value for key, value in dict.items(self) if type(value) is not _Unread})

    def __len__(self) -> int:
        length = self._tj_items.length()
        return dict.__len__(self) if self._tj_items.copied else length

    def __contains__(self, key: object) -> bool:
        items, key = self._tj_items, _known(key)
        if items.copied and (dict.__contains__(self, key) or key in items.original):
            return dict.__contains__(self, key)
        return items.has(key)

    def __getitem__(self, key: Any) -> Any:
        key = _known(key)
        if key not in self:
            raise KeyError(key)
        return self._tj_item(key)

    def get(self, key: Any, default: Any = None) -> Any:
        key = _known(key)
        return self._tj_item(key) if key in self else default

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tj_keys())

    def keys(self) -> Any:
        return dict.fromkeys(self._tj_keys()).keys()

    def __setitem__(self, key: Any, value: Any) -> None:
        key = _known(key)
        if key in self._tj_items.original and key in self and self._tj_item(key) is value:
            return  # the end of d[key] += y, which changed an array where it is
        self._tj_own()
        dict.__setitem__(self, key, value)
        self._tj_tell()

    def __ror__(self, other: Any) -> Any:
        return other | self._tj_all() if isinstance(other, dict) else NotImplemented

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return dict, (self._tj_all(),)


for _name in ("values", "items", "copy", "__or__", "__reversed__", "__repr__", "__eq__", "__ne__"):
    setattr(Dict, _name, _from_all(dict, _name))
for _name in ("update", "setdefault", "pop", "popitem", "clear", "__delitem__", "__ior__"):
    setattr(Dict, _name, _changing(dict, _name))
List.__name__, Dict.__name__ = "list", "dict"  # as messages, and the traced function, should call them
