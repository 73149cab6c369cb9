"""Text to kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, final, get_args

from tensorjit.ir import kernel
from tensorjit.ir.dtypes import I64, DType
from tensorjit.ir.kernel import Expr, For, If, Kernel, Reduction, Stmt
from tensorjit.ir.kernel_printer import constant_dtype, default_dtype, result_dtype
from tensorjit.ir.tokens import MAX_NESTING, Budget, Tokens
from tensorjit.ir.value_reader import MAX_RANK
from tensorjit.records import dataclass

_LOOPS: Mapping[str, kernel.LoopKind] = {"for": "serial", "vector": "vector", "parallel": "parallel"}


@final
@dataclass(slots=True)
class _Nest:
    """A For or If that is not closed yet: its statements so far, of a finished `then`, how to build it."""

    build: Callable[[list[Stmt], list[Stmt] | None], Stmt]
    reductions: tuple[Reduction, ...] = ()
    may_else: bool = False
    body: list[Stmt] = field(default_factory=list)
    then: list[Stmt] | None = None


@final
@dataclass(slots=True)
class _Call:
    """A Load or Apply that is not closed yet."""

    name: str
    closer: str
    dtype: DType | None
    at: int
    args: list[Expr] = field(default_factory=list)


@final
class KernelReader:
    def __init__(self, tokens: Tokens, budget: Budget) -> None:
        self.tokens = tokens
        self.budget = budget
        self.scopes: list[dict[str, DType]] = [{}]
        self.buffers: dict[str, DType] = {}

    def read(self, name: str) -> Kernel:
        tokens = self.tokens
        tokens.expect("{")
        ops = self._op_names() if tokens.skip("ops") else ()
        views = tuple(self._each("view", self._view))
        scalars = tuple(self._each("scalar", self._scalar))
        scratch = tuple(self._each("scratch", self._scratch))
        return Kernel(name, views, scalars, self._statements(), scratch, ops)

    def _each(self, word: str, read: Callable[[], Any]) -> Iterator[Any]:
        while self.tokens.skip(word):
            self.budget.take(self.tokens)
            yield read()

    def _op_names(self) -> tuple[str, ...]:
        self.tokens.expect("(")
        names = [self.tokens.string()]
        while self.tokens.skip(","):
            names.append(self.tokens.string())
        self.tokens.expect(")")
        return tuple(names)

    def _named(self) -> tuple[str, DType]:
        name = self.tokens.plain()
        self.tokens.expect(":")
        return name, self.tokens.dtype()

    def _view(self) -> kernel.ViewParam:
        tokens = self.tokens
        name, dtype = self._named()
        tokens.expect(",")
        tokens.expect("rank")
        at, rank = tokens.start, tokens.count()
        if rank > MAX_RANK:
            tokens.fail(f"a rank above {MAX_RANK}", at)
        words: dict[str, int | None] = {}
        while tokens.skip(","):
            at, word = tokens.start, tokens.name("`unit`, `written` or `unaligned`")
            if word in words or word not in ("unit", "written", "unaligned"):
                tokens.fail("expected `unit`, `written` or `unaligned`, each once", at)
            words[word] = tokens.count() if word == "unit" else None
        self.buffers[name] = dtype
        return kernel.ViewParam(name, dtype, rank, words.get("unit"), "written" in words, "unaligned" not in words)

    def _scalar(self) -> kernel.ScalarParam:
        name, dtype = self._named()
        self.scopes[0][name] = dtype
        return kernel.ScalarParam(name, dtype)

    def _scratch(self) -> kernel.Scratch:
        name, dtype = self._named()
        self.tokens.expect("[")
        extent = self.expr()
        self.tokens.expect("]")
        self.buffers[name] = dtype
        return kernel.Scratch(name, dtype, extent)

    def _statements(self) -> tuple[Stmt, ...]:
        """The rest of a kernel behind its header, without recursion."""
        stack = [_Nest(lambda body, then: body[0])]
        while True:
            nest = stack[-1]
            if self.tokens.skip("}"):
                self.scopes.pop()
                if len(stack) == 1:
                    return tuple(nest.body)
                if nest.may_else and nest.then is None and self.tokens.skip("else"):
                    self.tokens.expect("{")
                    nest.then, nest.body = nest.body, []
                    self.scopes.append({})
                    continue
                stack.pop()
                stack[-1].body.append(nest.build(nest.body, nest.then))
                self.scopes[-1].update((r.name, result_dtype(r)) for r in nest.reductions)
                continue
            self.budget.take(self.tokens)
            inner = self._nest()
            if inner is None:
                nest.body.append(self._simple())
            else:
                stack.append(inner)
                if len(stack) > MAX_NESTING:
                    self.tokens.fail(f"statements nest deeper than {MAX_NESTING}")

    def _nest(self) -> _Nest | None:
        tokens = self.tokens
        if tokens.skip("if"):
            cond = self.expr()
            tokens.expect("{")
            self.scopes.append({})
            return _Nest(lambda body, then: _if(cond, body, then), may_else=True)
        if tokens.kind != "name" or tokens.text not in _LOOPS:
            return None
        kind = _LOOPS[tokens.take()]
        index = tokens.plain()
        tokens.expect("<")
        extent = self.expr()
        reductions = tuple(self._reductions()) if tokens.skip("reduce") else ()
        tokens.expect("{")
        self.scopes.append({index: I64})
        return _Nest(lambda body, then: For(index, extent, tuple(body), kind, reductions), reductions)

    def _reductions(self) -> Iterator[Reduction]:
        tokens = self.tokens
        tokens.expect("(")
        while True:
            name = tokens.plain()
            tokens.expect(":")
            at, op = tokens.start, tokens.name("a reduction's op")
            if op not in get_args(kernel.ReductionOp):
                tokens.fail(f"no reduction {op}", at)
            dtype, ordered = tokens.dtype(), tokens.skip("ordered")
            init = self.expr() if tokens.skip("from") else None
            yield Reduction(name, op, dtype, init, ordered)  # type: ignore[arg-type]
            if not tokens.skip(","):
                break
        tokens.expect(")")

    def _simple(self) -> Stmt:
        tokens = self.tokens
        if tokens.skip("let"):
            name = tokens.plain()
            tokens.expect("=")
            expr = self.expr()
            self.scopes[-1][name] = expr.dtype
            return kernel.Let(name, expr)
        name = tokens.plain()
        if tokens.skip("<-"):
            expr = self.expr()
            return kernel.Accumulate(name, expr, self.expr() if tokens.skip("at") else None)
        tokens.expect("[")
        indices = list[Expr]()
        while not tokens.skip("]"):
            if indices:
                tokens.expect(",")
            indices.append(self.expr())
        tokens.expect("=")
        return kernel.Store(name, tuple(indices), self.expr())

    def expr(self) -> Expr:
        """An expression, without recursion."""
        stack: list[_Call] = []
        while True:
            done = self._leaf(stack)
            while True:
                if done is not None:
                    if not stack:
                        return done
                    stack[-1].args.append(done)
                    if self.tokens.skip(","):
                        break
                elif not self.tokens.at(stack[-1].closer):
                    break  # the first argument comes
                self.tokens.expect(stack[-1].closer)
                done = self._call(stack.pop())

    def _leaf(self, stack: list[_Call]) -> Expr | None:
        """A constant or name; None if a Load or Apply was opened instead."""
        tokens = self.tokens
        number = tokens.number()
        if number is not None:
            default = constant_dtype(number)
            assert default is not None
            return kernel.Const(number, self._suffix() or default)
        at, name = tokens.start, tokens.plain()
        dtype = self._suffix()
        for sign, closer in (("(", ")"), ("[", "]")):
            # a Load's dtype stands behind its indices
            if (dtype is None or sign == "(") and tokens.skip(sign):
                stack.append(_Call(name, closer, dtype, at))
                if len(stack) > MAX_NESTING:
                    tokens.fail(f"expressions nest deeper than {MAX_NESTING}")
                return None
        known = dtype or next((s[name] for s in reversed(self.scopes) if name in s), None)
        if known is None:
            tokens.fail(f"no scalar {name[:40]} is in scope", at)
        return kernel.Ref(name, known)

    def _suffix(self) -> DType | None:
        return self.tokens.dtype() if self.tokens.skip(":") else None

    def _call(self, call: _Call) -> Expr:
        args = tuple(call.args)
        if call.closer == "]":
            dtype = self._suffix() or self.buffers.get(call.name)
            if dtype is None:
                self.tokens.fail(f"no view {call.name[:40]}", call.at)
            return kernel.Load(call.name, args, dtype)
        dtype = call.dtype or default_dtype(call.name, [a.dtype for a in args])
        if dtype is None:
            self.tokens.fail(f"{call.name[:40]} needs a dtype", call.at)
        return kernel.Apply(call.name, args, dtype)


def _if(cond: Expr, body: list[Stmt], then: list[Stmt] | None) -> If:
    return If(cond, tuple(body)) if then is None else If(cond, tuple(then), tuple(body))
