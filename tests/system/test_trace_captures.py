"""What a traced function reads from outside is read again at each call, or noticed; what it changes there it does not change."""

from __future__ import annotations

import abc
import argparse
import collections
import contextvars
import copy
import dataclasses
import enum
import functools
import gc
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

import tensorjit as tj
from tensorjit.passes.specialise.state import _canonical as remembered
from tests.system.harness import BACKENDS, compare, observe

X = np.arange(1.0, 5.0)
CONFIG: dict[str, Any] = {"a": 2.0, "b": {"c": 3.0}}
PARAMS: list[Any] = [np.full(4, 2.0), 3.0]
COUNT = 0
LAST: Any = None


@pytest.fixture
def silent() -> Iterator[None]:
    """A TracerWarning is an error: nothing was baked, nothing was decided."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        yield


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        yield


def held(traced: Callable[..., Any], function: Callable[..., Any], *args: Any) -> None:
    mine, theirs = copy.deepcopy(args), copy.deepcopy(args)
    with np.errstate(all="ignore"):
        text = compare(observe(traced, mine), observe(function, theirs), ulp=4)
    assert not text, text


def followed(function: Callable[..., Any], *changes: Callable[[], Any], args: tuple[Any, ...] = (X,), backend: str = "llvm") -> Any:
    """A trace that does after each change what the function does, and compiles nothing while nothing changes."""
    traced = tj.trace(function, args, backend=backend)
    for change in (nothing, *changes):
        change()
        held(traced, function, *args)
        before = traced.cache_info()
        held(traced, function, *args)
        held(traced, function, *args)
        after = traced.cache_info()
        assert after.misses == before.misses
        if backend == "llvm":
            assert after.hits == before.hits + 2
    return traced


def setting(x: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(x, name, value)


def nothing() -> None: ...


class Holder:
    """Whatever attributes are wanted."""

    def __init__(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            setattr(self, name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


# -- attributes ------------------------------------------------------------------------------------------------


class Model:
    kind = "plain"
    gain = 2.0

    def __init__(self) -> None:
        self.w: Any = np.ones(4)
        self.cell = Holder(alpha=0.5, w=np.full(4, 3.0), deep=Holder(beta=2.0))
        self.act: Any = np.tanh
        self.cfg = {"a": 2.0, "mode": "sum"}

    def largest(self, x: Any) -> Any:
        return x * self.w.max()

    def distant(self, x: Any) -> Any:
        return x * self.cell.alpha + self.cell.w[0] * self.cell.deep.beta

    def by_class(self, x: Any) -> Any:
        return x * self.gain if self.kind == "plain" else x

    def acted(self, x: Any) -> Any:
        return self.act(x)

    def configured(self, x: Any) -> Any:
        y = x * self.cfg["a"]
        return y.sum() if self.cfg["mode"] == "sum" else y

    def named(self, x: Any, name: str = "w") -> Any:
        return x * getattr(self, name) + vars(self)["cell"].alpha + getattr(self, "absent", 1.0)


def test_a_number_computed_of_an_attribute_is_not_baked(silent: None) -> None:
    model = Model()
    traced = followed(
        model.largest,
        lambda: model.w.__setitem__(1, 7.0),
        setting(model, "w", np.full(4, -1.0)),
        setting(model, "w", np.ones((1, 4))),
    )
    assert traced.paths == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_distant_objects_are_not_baked(silent: None, backend: str) -> None:
    model = Model()
    traced = followed(
        model.distant,
        lambda: model.cell.w.__setitem__(0, 9.0),
        setting(model.cell, "w", np.full(4, 5.0)),
        setting(model.cell, "alpha", 0.25),
        setting(model.cell.deep, "beta", 4.0),
        setting(model, "cell", Holder(alpha=0.25, w=np.ones(2), deep=Holder(beta=4.0))),
        backend=backend,
    )
    assert traced.paths == 3  # alpha and beta; other arrays and other objects are inputs


def test_an_attribute_of_another_type_is_noticed(silent: None) -> None:
    model = Model()
    for w in (2.0, np.float32(2.0), np.ones((4, 4)), None, True, "text"):
        model.w = np.ones(4)
        traced = tj.trace(lambda x: x * model.w, X)
        for value in (w, np.full(4, 2.0), w):
            model.w = value
            held(traced, lambda x: x * model.w, X)


def test_a_deleted_attribute_is_noticed(silent: None) -> None:
    model = Model()
    traced = tj.trace(model.distant, X)
    alpha = model.cell.alpha
    del model.cell.alpha
    for _ in range(2):
        held(traced, model.distant, X)
    model.cell.alpha = alpha
    held(traced, model.distant, X)
    traced = tj.trace(model.named, X)
    model.absent = 5.0  # type: ignore[attr-defined]
    held(traced, model.named, X)
    del model.absent  # type: ignore[attr-defined]
    held(traced, model.named, X)
    assert traced.paths == 2


def test_class_attributes_are_noticed(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    followed(
        model.by_class,
        lambda: monkeypatch.setattr(Model, "gain", 5.0),
        setting(model, "gain", 7.0),
        lambda: monkeypatch.setattr(Model, "kind", "other"),
    )


def test_a_ufunc_as_an_attribute_is_noticed(silent: None) -> None:
    model = Model()
    followed(model.acted, setting(model, "act", np.sin), setting(model, "act", lambda x: x + 1), setting(model, "act", model.largest))


def test_items_of_a_dict_are_not_baked(silent: None) -> None:
    model = Model()
    traced = followed(
        model.configured,
        lambda: model.cfg.update(a=4.0),
        lambda: model.cfg.update(unrelated=1),
        setting(model, "cfg", {"mode": "sum", "a": 4.0}),
        lambda: model.cfg.update(mode="none"),
    )
    assert traced.paths == 3
    del model.cfg["a"]
    held(traced, model.configured, X)


def test_names_made_at_run_time(silent: None) -> None:
    model = Model()
    followed(model.named, setting(model, "w", np.full(4, 2.0)), setting(model.cell, "alpha", 3.0), setting(model, "absent", 2.0))


def test_globals_that_are_containers_are_not_baked(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Any) -> Any:
        return x * CONFIG["a"] + PARAMS[0].max() * PARAMS[1] + CONFIG["b"]["c"]

    monkeypatch.setitem(globals(), "CONFIG", copy.deepcopy(CONFIG))
    monkeypatch.setitem(globals(), "PARAMS", copy.deepcopy(PARAMS))
    followed(
        function,
        lambda: CONFIG.update(a=5.0),
        lambda: CONFIG["b"].update(c=4.0),
        lambda: PARAMS[0].__setitem__(2, 50.0),
        lambda: PARAMS.__setitem__(0, np.zeros(3)),
        lambda: PARAMS.append(1),
        lambda: monkeypatch.setitem(globals(), "PARAMS", [np.ones(2), 4.0]),
    )


def helper(x: Any) -> Any:
    return x * 2


def test_a_helper_that_is_defined_anew_is_noticed(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    followed(lambda x: helper(x), lambda: monkeypatch.setitem(globals(), "helper", lambda x: x - 1))


def test_a_builtin_that_gets_hidden_is_noticed(silent: None) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(x):\n    return abs(x) + max(1, 2)", space)
    followed(space["f"], lambda: space.update(max=lambda a, b: 7), lambda: space.pop("max"), args=(-X,))


# -- objects of all kinds --------------------------------------------------------------------------------------


class Base(abc.ABC):
    scale = 1.0

    @abc.abstractmethod
    def forward(self, x: Any) -> Any: ...

    def __call__(self, x: Any) -> Any:
        return self.forward(x) * self.scale

    def describe(self) -> str:
        return type(self).__name__ + self.__class__.__name__


class Dense(Base):
    __slots__ = ("b", "w")

    def __init__(self, n: int, m: int, scale: float = 1.0) -> None:
        rng = np.random.default_rng(n * m)
        self.w, self.b = rng.normal(size=(n, m)), np.zeros(m)

    def forward(self, x: Any) -> Any:
        return x @ self.w + self.b


class Relu(Dense):
    limit = 0.0

    def forward(self, x: Any) -> Any:
        return np.maximum(super().forward(x), self.floor)

    @property
    def floor(self) -> float:
        return self.limit / 2


class MLP:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_of_plain_classes(silent: None, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    net = MLP(Relu(4, 3), Relu(3, 3), Dense(3, 2))
    traced = followed(
        net,
        setting(net.layers[0], "w", np.full((4, 3), 2.0)),
        lambda: net.layers[1].b.__iadd__(1),
        lambda: net.layers.__setitem__(1, Relu(3, 3)),
        setting(net.layers[0], "limit", 0.5),
        lambda: net.layers.insert(1, Dense(3, 3)),
        lambda: monkeypatch.setattr(Base, "scale", 3.0),
        lambda: monkeypatch.setattr(Dense, "forward", lambda self, x: x @ self.w),
        setting(net, "layers", [Dense(4, 2)]),
        backend=backend,
    )
    assert traced.paths == 6
    assert "net" not in traced.explain(X) and "self.layers[0].w" in traced.explain(X)


def test_training_is_no_new_path(silent: None) -> None:
    net = MLP(Relu(4, 3), Dense(3, 2))
    traced = tj.trace(net, X)
    for step in range(20):
        for layer in net.layers:
            if step % 2:
                layer.w = layer.w - 0.01
            else:
                layer.b -= 0.01
        held(traced, net, X)
    assert traced.paths == 1
    assert traced.cache_info().misses == 1


class Both(Relu):
    def __init__(self) -> None:
        super().__init__(4, 4)
        self.other = Dense(4, 4)
        self._cache: Any = None

    def forward(self, x: Any) -> Any:
        return self.other(Dense.forward(self, x)) + len(self.describe())

    def lazily(self, x: Any) -> Any:
        if self._cache is None:
            self._cache = self.w * 2
        return x @ self._cache


def test_unbound_methods_and_names_of_classes(silent: None) -> None:
    both = Both()
    followed(both, setting(both, "w", np.ones((4, 4))), setting(both.other, "b", np.ones(4)))


@dataclasses.dataclass
class Config:
    rate: float = 0.1
    steps: int = 2
    w: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    rate: float


class Named(NamedTuple):
    rate: float
    w: Any


def test_dataclasses_namedtuples_and_namespaces(silent: None) -> None:
    state = Holder(
        config=Config(w=np.ones(4)), frozen=Frozen(2.0), named=Named(0.5, np.ones(4)), space=types.SimpleNamespace(a=1.0, w=X)
    )

    def function(x: Any) -> Any:
        for _ in range(state.config.steps):
            x = x * state.config.rate + state.config.w
        return x * state.frozen.rate + state.named.rate * state.named.w + state.space.a * state.space.w

    followed(
        function,
        setting(state.config, "rate", 0.2),
        setting(state.config, "steps", 3),
        setting(state, "config", dataclasses.replace(state.config, rate=0.3)),
        setting(state, "frozen", Frozen(3.0)),
        lambda: setattr(state, "named", state.named._replace(rate=0.25)),
        lambda: state.named.w.__setitem__(0, 100.0),
        setting(state, "named", Named(0.25, np.full(4, 3.0))),
        setting(state.space, "a", 2.0),
        setting(state.space, "w", np.full(4, 9.0)),
    )


def test_static_arguments_that_are_objects_are_not_baked(silent: None) -> None:
    config, other = Config(w=np.ones(4)), Config(5.0, w=np.zeros(4))

    def function(x: Any, c: Any, pair: Any) -> Any:
        return x * c.rate + c.w[0] + pair[0].rate

    traced = tj.trace(function, (X, config, (other,)))
    for change in (nothing, setting(config, "rate", 0.5), setting(config, "w", np.full(4, 2.0)), setting(other, "rate", 4.0)):
        change()
        np.testing.assert_array_equal(traced(X, config, (other,)), function(X, config, (other,)))
        misses = traced.cache_info().misses
        np.testing.assert_array_equal(traced(X, config, (other,)), function(X, config, (other,)))
        assert traced.cache_info().misses == misses
    np.testing.assert_array_equal(traced(X, other, (config,)), function(X, other, (config,)))


class Vector:
    """Special methods."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.tag = 2.0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, k: int) -> Any:
        return self.items[k] * self.tag

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            yield item * self.tag

    def __contains__(self, x: object) -> bool:
        return x in self.items[1:]

    def __add__(self, other: Any) -> Any:
        return self.items[0] + other

    def __matmul__(self, other: Any) -> Any:
        return self.items[0] @ other

    def __bool__(self) -> bool:
        return self.tag > 1

    def __enter__(self) -> float:
        return self.tag

    def __exit__(self, *_: object) -> None: ...


def test_special_methods_are_followed(silent: None) -> None:
    vector = Vector(np.ones(4), 3.0)

    def function(x: Any) -> Any:
        first, second = vector
        with vector as tag:
            y = x * tag + first * second
        return y + vector[1] + len(vector) + (vector + x) + (vector @ x) + (1 if vector else 0) + (3.0 in vector)

    followed(
        function,
        setting(vector, "tag", 0.5),
        lambda: vector.items.__setitem__(1, 4.0),
        lambda: vector.items.__setitem__(0, np.full(4, 7.0)),
    )
    vector.items.append(1.0)
    traced = tj.trace(lambda x: x * len(vector), X)
    vector.items.append(1.0)
    held(traced, lambda x: x * len(vector), X)


class Dynamic:
    """Attributes that are made when they are asked for."""

    def __init__(self) -> None:
        self.values = {"rate": 2.0, "w": np.ones(4)}

    def __getattr__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        raise AttributeError(name)


class Positive:
    """A descriptor."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "_" + name

    def __get__(self, x: Any, kind: Any = None) -> Any:
        return self if x is None else getattr(x, self.name)

    def __set__(self, x: Any, value: Any) -> None:
        setattr(x, self.name, abs(value))


class Described:
    rate = Positive()

    def __init__(self) -> None:
        self.rate = 2.0
        self.w = np.ones(4)

    @functools.cached_property
    def doubled(self) -> Any:
        return self.w * 2

    @functools.cache  # noqa: B019
    def table(self, n: int) -> Any:
        return np.arange(n) * 2.0

    @classmethod
    def make(cls, x: Any) -> Any:
        return x + cls.level

    level = 3.0

    @staticmethod
    def shifted(x: Any) -> Any:
        return x + CONFIG["a"]


def test_attributes_that_code_computes_are_followed(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamic, described = Dynamic(), Described()
    monkeypatch.setitem(globals(), "CONFIG", {"a": 1.0})

    def function(x: Any) -> Any:
        y = x * dynamic.rate + dynamic.w + described.rate * described.doubled + getattr(dynamic, "nothing", 2.0)
        return described.make(y) + described.shifted(y) + described.table(4)

    traced = tj.trace(function, X, check_trace=False)
    for change in (
        nothing,
        lambda: dynamic.values.update(rate=3.0),
        lambda: dynamic.values.update(w=np.full(4, 2.0)),
        lambda: dynamic.values.update(nothing=5.0),
        setting(described, "rate", -7.0),
        lambda: CONFIG.update(a=9.0),
        lambda: monkeypatch.setattr(Described, "level", 8.0),
    ):
        change()
        held(traced, function, X)
        held(traced, function, X)
    assert "doubled" in vars(described)  # by the plain function; from now on it is what it is
    described.w = np.zeros(4)
    held(traced, function, X)
    assert type(described.doubled) is type(described.table(4)) is np.ndarray


def test_identity_of_objects(silent: None) -> None:
    shared = Dense(4, 4)
    pair = Holder(a=shared, b=shared, parent=None)
    pair.parent = pair

    def function(x: Any) -> Any:
        same = (pair.a is pair.b, pair.a == pair.b, pair.parent is pair, pair.a in [pair.b], {pair.a: 1}.get(pair.b))
        return pair.a(x) + pair.b(x), same, isinstance(pair.a, Base), callable(pair.a), type(pair.a) is Dense

    traced = followed(function, setting(shared, "w", np.ones((4, 4))))
    pair.b = Dense(4, 4)
    pair.b.w *= 2
    held(traced, function, X)  # no longer one object
    pair.b = shared
    held(traced, function, X)


def test_two_names_of_one_array_are_told_apart_when_they_part(silent: None) -> None:
    state = Holder(a=np.ones(4))
    state.b = state.a

    def function(x: Any) -> Any:
        return x * state.a + state.b

    traced = followed(function)
    state.b = np.full(4, 5.0)
    held(traced, function, X)
    held(traced, function, X)
    assert traced.paths == 2


# -- containers ------------------------------------------------------------------------------------------------


def test_lists_and_dicts_are_what_they_are() -> None:
    state = Holder(
        layers=[np.ones(4), np.full(4, 2.0)], numbers=[1.0, 2.0, 3.0], params={"w": np.ones(4), "b": 2.0}, index=(slice(1, 3),)
    )

    def function(x: Any) -> Any:
        y = np.stack(state.layers).sum(axis=0) * x + sum(state.numbers) + np.array(state.numbers)[0]
        _, *rest = state.numbers
        a, b = state.layers
        for k, v in state.params.items():
            y = y + v * len(k)
        y = y + sum(state.params[k] for k in sorted(state.params)) + a - b
        y = y + dict(**state.params)["b"] + {**state.params}["w"] + ("b" in state.params) + ("c" in state.params)
        y = y + (state.numbers + [1.0])[-1] + ([1.0] + state.numbers)[-1] + state.numbers[-1] + state.numbers[::2][-1]
        more = [*state.numbers, *rest, len(state.params), len(state.numbers), state.numbers.index(2.0), max(state.numbers)]
        more += [
            state.params.get("b", 0),
            state.params.get("zz", 4),
            list(state.params) == ["w", "b"],
            next(reversed(state.numbers)),
        ]
        more += next(zip(state.numbers, state.params, strict=False))
        return y, more, x[state.index], type(state.numbers) is list, isinstance(state.params, dict), state.numbers == [1.0, 2.0, 3.0]

    with warnings.catch_warnings():
        warnings.simplefilter("error", tj.TracerWarning)
        followed(
            function,
            lambda: state.layers.__setitem__(0, np.full(4, 9.0)),
            lambda: state.numbers.__setitem__(1, 2.0),
            lambda: state.numbers.append(2.0),
            lambda: state.params.update(b=7.0),
            lambda: state.params.update(c=7.0),
            lambda: state.params.pop("w") is not None and state.params.update(w=np.ones(4)),
            setting(state, "params", {"w": np.zeros(4), "b": 7.0}),
            setting(state, "index", (slice(0, 2),)),
        )


def test_only_what_is_read_is_guarded(silent: None) -> None:
    state = Holder(config={"rate": 2.0, "epoch": 0}, history=[0.0], seen=0)
    traced = tj.trace(lambda x: x * state.config["rate"], X)
    for epoch in range(5):
        state.config["epoch"] = state.seen = epoch
        state.history.append(1.0)
        traced(X)
    assert traced.paths == 1 and traced.cache_info().misses == 1


def test_a_state_that_is_replaced_at_each_call_is_one_path(silent: None) -> None:
    class Cell:
        def __init__(self) -> None:
            self.state = (np.zeros(4), np.ones(4))
            self.params = {"w": np.ones(4)}

        def step(self, x: Any) -> Any:
            h, c = self.state
            return x * self.params["w"] + h, c * 2

    cell = Cell()
    traced = tj.trace(cell.step, X)
    for k in range(10):
        held(traced, cell.step, X)
        cell.state = cell.step(X)
        cell.params = {"w": cell.params["w"] * k}
    assert traced.paths == 1 and traced.cache_info().misses == 1


def test_a_long_list_of_numbers_is_a_constant_with_a_warning() -> None:
    state = Holder(numbers=[float(k) for k in range(1000)])
    with pytest.warns(tj.TracerWarning, match="beyond its first 64 numbers"):
        traced = tj.trace(lambda x: x * sum(state.numbers), X)
    held(traced, lambda x: x * sum(state.numbers), X)
    state.numbers[3] = 0.0
    held(traced, lambda x: x * sum(state.numbers), X)


@pytest.mark.parametrize("make", [lambda: {1.0, 2.0}, lambda: collections.OrderedDict(a=1.0), lambda: collections.deque([1.0])])
def test_containers_that_are_not_followed_warn(make: Callable[[], Any]) -> None:
    state = Holder(things=make())
    with pytest.warns(tj.TracerWarning, match="is followed as it is now"):
        traced = tj.trace(lambda x: x * len(state.things), X)
    held(traced, lambda x: x * len(state.things), X)
    state.things = type(state.things)()
    held(traced, lambda x: x * len(state.things), X)


@pytest.mark.parametrize(
    "make", [set, collections.OrderedDict, collections.deque, lambda: collections.defaultdict(list), type("Mine", (dict,), {})]
)
def test_containers_that_are_not_followed_do_not_leak_tracers(make: Callable[[], Any]) -> None:
    things = make()

    def function(x: Any) -> Any:
        if isinstance(things, set):
            things.add(x.shape[0])
        elif isinstance(things, dict):
            things["last"] = x
        else:
            things.append(x)
        return x * len(things)

    with pytest.warns(tj.TracerWarning) as caught:
        traced = tj.trace(function, X, check_trace=False)
    assert any("is changed in the trace only" in str(w.message) for w in caught)
    assert len(things) == 0
    np.testing.assert_array_equal(traced(X), X)
    assert len(things) == 0


def test_what_hands_out_objects_is_not_baked_silently() -> None:
    hidden = Holder(k=2.0)
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default=hidden)
    local = threading.local()
    local.k = 2.0
    reference, view, chain = weakref.ref(hidden), types.MappingProxyType({"k": 2.0}), collections.ChainMap({"k": 2.0})
    functions: list[Callable[[Any], Any]] = [
        lambda x: x * reference().k,  # type: ignore[union-attr]
        lambda x: x * variable.get().k,
        lambda x: x * local.k,
        lambda x: x * view["k"],
        lambda x: x * chain["k"],
    ]
    for function in functions:
        with pytest.warns(tj.TracerWarning, match="is followed as it is now"):
            traced = tj.trace(function, X)
        held(traced, function, X)


def test_an_array_from_out_of_sight_warns() -> None:
    box = iter([np.ones(4)] * 100)
    with pytest.warns(tj.TracerWarning, match="followed as the object that it is now"):
        with pytest.warns(tj.TracerWarning, match="`box`, a list_iterator, is followed as it is now"):
            tj.trace(lambda x: x * next(box), X, check_trace=False)


class Physics:
    dt = 0.5
    table = np.arange(4.0)

    @staticmethod
    def step(x: Any) -> Any:
        return x * Physics.dt + OFFSET


OFFSET = 1.0


def test_classes_as_namespaces_are_noticed(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    followed(
        lambda x: x * Physics.dt + Physics.table * x + Physics.step(x),
        lambda: monkeypatch.setattr(Physics, "dt", 0.25),
        lambda: monkeypatch.setattr(Physics, "table", np.ones(4)),
        lambda: monkeypatch.setitem(globals(), "OFFSET", 5.0),
        lambda: monkeypatch.setitem(globals(), "Physics", type("Physics", (Physics,), {"dt": 3.0, "table": np.zeros(4)})),
    )


# -- what the function changes -----------------------------------------------------------------------------------


class Stateful:
    def __init__(self) -> None:
        self.count = 0
        self.history: list[Any] = []
        self.info: dict[str, Any] = {}
        self.cell = Holder(last=None)
        self.w: Any = np.ones(4)
        self.buffer = np.zeros(4)

    def counts(self, x: Any) -> Any:
        self.count += 1
        return x * self.w.max()

    def remembers(self, x: Any) -> Any:
        self.last = x + 1
        return x * self.last.sum()

    def appends(self, x: Any) -> Any:
        self.history.append(x.sum())
        self.info["mean"] = x.mean()
        self.cell.last = x
        return x * self.history[-1] + self.info["mean"] + self.cell.last

    def raises(self, x: Any) -> Any:
        self.history.append(x)
        self.last = x
        raise KeyError("mine")

    def accumulates(self, x: Any) -> Any:
        self.buffer += x
        self.w[0] += x[0]
        self.cell.last = None
        return self.buffer * 1

    def nonlocals(self, x: Any) -> Any:
        total = 0.0

        def add(y: Any) -> None:
            nonlocal total
            total = total + y.sum()

        add(x)
        add(x * self.w)
        return total


@pytest.mark.parametrize("name", ["counts", "remembers", "appends"])
def test_what_is_stored_warns_and_is_not_repeated(name: str) -> None:
    model = Stateful()
    method = getattr(model, name)
    before = copy.deepcopy(vars(model))
    with pytest.warns(tj.TracerWarning, match="is changed in the trace only"):
        traced = tj.trace(method, X, check_trace=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        expected = getattr(Stateful(), name)(X)
        for _ in range(3):
            np.testing.assert_array_equal(traced(X), expected)
    assert traced.paths == 1 and traced.cache_info().hits == 3
    assert repr(vars(model)["history"]) == repr(before["history"]) and vars(model).keys() == before.keys()
    assert (model.count, model.info, model.cell.last) == (0, {}, None)


@pytest.mark.parametrize("name", ["counts", "remembers", "appends"])
def test_what_is_stored_is_refused_when_strict(name: str) -> None:
    with pytest.raises(tj.UnsupportedError, match="is changed in the trace only"):
        tj.trace(getattr(Stateful(), name), X, strict=True)


def test_a_function_that_raises_does_not_leak_tracers() -> None:
    model = Stateful()
    with pytest.raises(KeyError, match="mine"), warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        tj.trace(model.raises, X)
    assert model.history == [] and not hasattr(model, "last")


def test_what_is_changed_in_place_is_changed_at_each_call(silent: None) -> None:
    mine, theirs = Stateful(), Stateful()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        traced = tj.trace(mine.accumulates, X)
    assert not mine.buffer.any() and mine.w[0] == 1.0  # also after the check
    for _ in range(3):
        np.testing.assert_array_equal(traced(X), theirs.accumulates(X))
        np.testing.assert_array_equal(mine.buffer, theirs.buffer)
        np.testing.assert_array_equal(mine.w, theirs.w)
    assert traced.paths == 1


def test_an_attribute_that_is_made_when_it_is_needed(quiet: None) -> None:
    both, plain = Both(), Both()
    traced = tj.trace(both.lazily, X, check_trace=False)
    assert both._cache is None
    for w in (np.ones((4, 4)), np.eye(4)):
        both.w = plain.w = w
        plain._cache = None
        np.testing.assert_array_equal(traced(X), plain.lazily(X))
    both.lazily(X)
    both.w = np.zeros((4, 4))
    held(traced, both.lazily, X)  # as it was made


def test_nonlocal_variables_of_the_function_are_its_own(silent: None) -> None:
    model = Stateful()
    followed(model.nonlocals, setting(model, "w", np.full(4, 3.0)))


def test_globals_and_cells_that_are_stored_do_not_leak_tracers() -> None:
    seen = None

    def function(x: Any) -> Any:
        global COUNT, LAST
        nonlocal seen
        COUNT += 1
        LAST = x + 1
        seen = LAST * 2
        return seen * COUNT

    with pytest.warns(tj.TracerWarning) as caught:
        traced = tj.trace(function, X, check_trace=False)
    texts = "\n".join(str(w.message) for w in caught)
    assert all(f"`{name}` is outside" in texts for name in ("COUNT", "LAST", "seen"))
    assert COUNT == 0 and LAST is None and seen is None
    for _ in range(2):
        np.testing.assert_array_equal(traced(X), (X + 1) * 2)
    assert COUNT == 0 and LAST is None and seen is None


def test_other_threads_see_no_tracers(quiet: None) -> None:
    model = Stateful()
    inside, looked = threading.Event(), threading.Event()
    found: list[Any] = []

    def slow(x: Any) -> Any:
        model.last = x
        model.history.append(x)
        inside.set()
        assert looked.wait(10)
        return x * model.w

    def look() -> None:
        assert inside.wait(10)
        found.append((hasattr(model, "last"), list(model.history)))
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    tj.trace(slow, X, check_trace=False)
    thread.join()
    assert found == [(False, [])]


# -- the cost, and what is kept ------------------------------------------------------------------------------------


def test_reading_at_each_call_leaks_nothing(silent: None) -> None:
    model = Model()
    traced = followed(model.distant)
    before = [sys.getrefcount(o) for o in (model.cell, model.cell.w, model.cell.deep)]
    for _ in range(200):
        traced(X)
    assert [sys.getrefcount(o) for o in (model.cell, model.cell.w, model.cell.deep)] == before


def test_a_replaced_object_is_let_go(silent: None) -> None:
    model = Model()
    traced = tj.trace(model.distant, X)
    traced(X)
    alive = weakref.ref(model.cell)
    model.cell = Holder(alpha=0.5, w=np.ones(4), deep=Holder(beta=2.0))
    held(traced, model.distant, X)
    gc.collect()
    assert alive() is None
    assert traced.paths == 1


def test_a_new_path_is_a_miss_and_no_hit(quiet: None) -> None:
    traced = tj.trace(lambda x: x if x[0] > 0 else -x, X, check_trace=False)
    traced(X)
    before = traced.cache_info()
    traced(-X)
    after = traced.cache_info()
    assert after.hits == before.hits and after.misses == before.misses + 1


def test_explain_lists_what_was_taken_and_where(quiet: None) -> None:
    model = Model()

    def function(x: Any) -> Any:
        if x.sum() > 0:  # decided
            x = x * model.cfg["a"]
        return x * model.w

    text = tj.trace(function, X).explain(X)
    assert "guarded: model.cfg['a'] is 2.0" in text
    assert "read at each call: model.w, f64" in text
    assert "decided by a value: `if x.sum() > 0:  # decided`" in text


class Unusual:
    """What classes may do to their attributes."""

    def __init__(self) -> None:
        self._v = 2.0
        self.w = np.ones(4)
        self.d: dict[str, Any] = {"x": 1.0}
        self.by_size = {4: np.ones(4), 3: np.zeros(3)}
        self.space = types.SimpleNamespace(a=1.0)

    @property
    def v(self) -> Any:
        return self._v * 2

    @v.setter
    def v(self, value: Any) -> None:
        self._v = value

    def sets_a_property(self, x: Any) -> Any:
        self.v = x.sum()
        return x * self.v

    def deletes(self, x: Any) -> Any:
        del self._v
        return x * getattr(self, "_v", 7.0)

    def through_its_dict(self, x: Any) -> Any:
        self.__dict__["q"] = 3.0
        vars(self).update(r=x.sum())
        return x * self.q + self.r + len(vars(self))  # type: ignore[attr-defined]

    def sets_a_default(self, x: Any) -> Any:
        return x * self.d.setdefault("y", 5.0) + self.d["y"] + len(self.d)

    def sets_in_a_namespace(self, x: Any) -> Any:
        self.space.b = x
        return self.space.b * self.space.a

    def looks_up_a_size(self, x: Any) -> Any:
        return x * self.by_size[x.shape[0]] + self.by_size.get(x.shape[0] + 1, 1.0) + (x.shape[0] in self.by_size)


class Logged(Unusual):
    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, "log_" + name, 1.0)
        super().__setattr__(name, value)

    def sets(self, x: Any) -> Any:
        self.zz = x * 2
        return self.zz + self.log_zz  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name", ["sets_a_property", "deletes", "through_its_dict", "sets_a_default", "sets_in_a_namespace", "looks_up_a_size", "sets"]
)
def test_unusual_attributes_do_what_they_do_once(quiet: None, name: str) -> None:
    mine, before = Logged(), Logged()
    traced = tj.trace(getattr(mine, name), X, check_trace=False)
    for _ in range(3):
        np.testing.assert_array_equal(traced(X), getattr(Logged(), name)(X))
    assert vars(mine).keys() == vars(before).keys() and (mine._v, mine.d, mine.space) == (before._v, before.d, before.space)
    assert traced.cache_info().hits == 3


class SlottedDynamic:
    __slots__ = ("w",)

    def __init__(self) -> None:
        self.w = np.ones(4)

    def __getattr__(self, name: str) -> Any:
        if name == "rate":
            return 5.0
        raise AttributeError(name)

    def scaled(self, x: Any) -> Any:
        return x * self.w * self.rate + getattr(self, "nothing", 1.0)


def test_slots_with_getattr(silent: None) -> None:
    slotted = SlottedDynamic()
    followed(slotted.scaled, setting(slotted, "w", np.full(4, 2.0)))


def test_numpy_scalars_are_inputs(silent: None) -> None:
    state = Holder(total=np.float64(1.5), flag=np.bool_(True), n=np.int32(3))
    traced = tj.trace(lambda x: x * state.total + state.flag + state.n, X)
    for k in range(10):
        state.total, state.n = np.float64(k), np.int32(k * 2)
        held(traced, lambda x: x * state.total + state.flag + state.n, X)
    assert traced.paths == 1 and traced.cache_info().misses == 1
    for value in (np.float32(2.0), 2.0, np.ones(4), np.longdouble(2.0)):
        state.total = value
        held(traced, lambda x: x * state.total + state.flag + state.n, X) if type(value) is not np.longdouble else None


def test_a_container_from_outside_is_not_returned(silent: None) -> None:
    state = Holder(items=[np.ones(4)], table={"w": X})
    for function in (lambda x: state.items, lambda x: (x, state.table), lambda x: [state]):
        with pytest.raises(tj.UnsupportedError, match="from outside of the function is returned"):
            tj.trace(function, X)
    followed(lambda x: list(state.items), lambda: state.items.append(X))


def test_a_scripted_method_and_a_list_for_a_scripted_function(silent: None) -> None:
    @tj.script
    def total(arrays: Any) -> Any:
        return arrays[0] + arrays[1]

    state = Holder(arrays=[np.ones(4), X])
    followed(lambda x: x + total(state.arrays), lambda: state.arrays.__setitem__(0, np.zeros(4)))


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


def test_enums_and_parsed_arguments(silent: None) -> None:
    state = Holder(mode=Mode.FAST, args=argparse.Namespace(rate=0.5))

    def function(x: Any) -> Any:
        return x * state.args.rate if state.mode is Mode.FAST else x

    followed(function, setting(state.args, "rate", 2.0), setting(state, "mode", Mode.SLOW))


def test_a_module_of_the_users(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("tests_trace_captures_module")
    exec("CFG = {'a': 2.0}\nK = 3.0\ndef helper(x):\n    return x * K", vars(module))
    module.holder, module.w = Holder(k=1.0), np.ones(4)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def function(x: Any) -> Any:
        return module.helper(x) * module.CFG["a"] + module.w + module.holder.k

    def importing(x: Any) -> Any:
        import numpy as numbers  # noqa: PLC0415
        import tests_trace_captures_module as mine  # type: ignore[import-not-found]  # noqa: PLC0415
        from tests_trace_captures_module import K, helper  # noqa: PLC0415

        return helper(x) * K + mine.holder.k + numbers.zeros(x.shape[0])

    for one in (function, importing):
        followed(
            one,
            setting(module, "K", 4.0),
            setting(module, "CFG", {"a": 5.0}),
            setting(module, "w", np.zeros(4)),
            setting(module.holder, "k", 7.0),
            setting(module, "holder", Holder(k=8.0)),
            setting(module, "helper", lambda x: x + 1),
        )
    with pytest.warns(tj.TracerWarning, match="`LAST` is outside"):
        tj.trace(lambda x: setattr(module, "LAST", x) or x, X, check_trace=False)  # type: ignore[func-returns-value]
    assert not hasattr(module, "LAST")


def test_decorated_functions_and_partials(silent: None) -> None:
    state = Holder(k=2.0, w=np.ones(4))

    def scaled(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args) * state.k

        return wrapper

    @scaled
    def decorated(x: Any) -> Any:
        return x + state.w

    state.part = functools.partial(lambda w, x, s: x * w + s, state.w, s=3.0)
    state.method = Model().distant
    for function in (decorated, lambda x: state.part(x) + state.method(x), functools.partial(lambda s, x: x * s.k + s.w, state)):
        followed(function, setting(state, "k", 3.0), lambda: state.w.__setitem__(0, 5.0))
    followed(
        lambda x: state.part(x) + state.method(x),
        setting(state, "part", functools.partial(lambda w, x, s: x - w, X, s=1.0)),
        setting(state.method.__self__.cell, "alpha", 9.0),
        setting(state, "method", Model().largest),
    )


def counted(x: Any) -> Any:
    counted.calls += 1  # type: ignore[attr-defined]
    return x * counted.scale + counted.w  # type: ignore[attr-defined]


def test_attributes_of_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "calls", 0, raising=False)
    monkeypatch.setattr(counted, "scale", 2.0, raising=False)
    monkeypatch.setattr(counted, "w", np.ones(4), raising=False)
    with pytest.warns(tj.TracerWarning, match="`counted.calls` is outside of the function"):
        traced = tj.trace(counted, X, check_trace=False)
    assert counted.calls == 0  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.TracerWarning)
        for scale in (2.0, 3.0):
            for w in (np.ones(4), X):
                monkeypatch.setattr(counted, "scale", scale)
                monkeypatch.setattr(counted, "w", w)
                np.testing.assert_array_equal(traced(X), X * scale + w)
    assert traced.paths == 2


def test_a_number_that_always_changes_is_not_remembered_for_ever(quiet: None) -> None:
    state = Holder(step=0.0)
    traced = tj.trace(lambda x: x * state.step, X, check_trace=False, backend="reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tj.FallbackWarning)
        for step in range(100):
            state.step = float(step)
            np.testing.assert_array_equal(traced(X), X * step)
        before = len(remembered)
        for step in range(100, 120):
            state.step = float(step)
            np.testing.assert_array_equal(traced(X), X * step)
    assert len(remembered) == before


def test_errors_of_containers_are_pythons(silent: None) -> None:
    state = Holder(items=[1.0], table={"a": 1.0})
    functions: list[Callable[[Any], Any]] = [
        lambda x: x * state.items[3],
        lambda x: x * state.items["a"],
        lambda x: x * state.table["b"],
        lambda x: x * state.absent,
        lambda x: x * state.items[-2],
    ]
    for function in functions:
        with pytest.raises(Exception) as mine:
            tj.trace(function, X)
        with pytest.raises(Exception) as theirs:
            function(X)
        assert (type(mine.value), str(mine.value)) == (type(theirs.value), str(theirs.value))


def test_a_package_with_an_extension_module_is_followed_where_it_is_traced(silent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    package: Any = types.ModuleType("tests_trace_captures_package")
    extension = types.ModuleType("tests_trace_captures_package.fast")
    extension.__file__ = "/nowhere/fast.abi3.so"
    for module in (package, extension):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(
        "K = 2.0\nclass Model:\n    def __init__(self):\n        self.a = 3.0\n    def f(self, x):\n        return x * self.a * K",
        vars(package),
    )
    model = package.Model()
    followed(model.f, setting(model, "a", 5.0), setting(package, "K", 7.0))
    state = Holder(model=model)
    with pytest.warns(tj.TracerWarning, match="`state.model`, a Model, is followed as it is now"):
        tj.trace(lambda x: state.model.f(x), X)


def test_equal_objects_are_the_same_where_python_cannot_tell(silent: None) -> None:
    table = {b"ab": 2.0}
    state = Holder(key=b"ab", dtype=np.dtype("f4"), text="mode", axes=tuple(range(20)), big=10**30, step=0)

    def function(x: Any) -> Any:
        y = x.astype(state.dtype) * table[state.key] + len(state.axes) + (state.text == "mode") + (state.big > 5)
        return y + state.step

    def renewed() -> None:
        state.key, state.dtype = bytes([97, 98]), np.dtype([("a", "f4")])["a"]
        state.text, state.axes, state.big = "".join(["mo", "de"]), tuple(range(20)), 10**29 * 10

    traced = tj.trace(function, X)
    for step in range(4):
        state.step = step
        renewed()
        held(traced, function, X)
        misses = traced.cache_info().misses
        renewed()
        held(traced, function, X)
        assert traced.cache_info().misses == misses
    assert traced.paths <= 8


# -- found on rereading ------------------------------------------------------------------------------------------


def test_cells_of_equal_contents_are_told_apart() -> None:
    def make(first: Any, second: Any) -> Callable[[Any], Any]:
        n, m = first, second

        def g(x: Any) -> Any:
            return x * n + m

        def f(x: Any) -> Any:
            return g(x) + n

        return f

    x = np.arange(4.0)
    for first, second in ((1, 1), (0, 0), (np.ones(4), np.ones(4))):
        f = make(first, second)
        assert np.array_equal(tj.trace(f, x)(x), f(x))


def test_a_method_that_an_attribute_comes_to_hide_is_noticed() -> None:
    class Scale:
        def go(self, x: Any) -> Any:
            return x * 2

        def __call__(self, x: Any) -> Any:
            return self.go(x)

    scale, x = Scale(), np.arange(4.0)
    traced = tj.trace(scale, x)
    assert np.array_equal(traced(x), x * 2)
    scale.go = lambda x: x * 5  # type: ignore[method-assign]
    assert np.array_equal(traced(x), x * 5)


def test_a_closure_of_a_method_of_an_object_made_in_the_trace_is_noticed() -> None:
    factor = 3

    class Made:
        def __init__(self, x: Any) -> None:
            self.x = x

        def scaled(self) -> Any:
            return self.x * factor

    def f(x: Any) -> Any:
        return Made(x).scaled()

    x = np.arange(4.0)
    traced = tj.trace(f, x)
    assert np.array_equal(traced(x), x * 3)
    factor = 4
    assert np.array_equal(traced(x), x * 4)
