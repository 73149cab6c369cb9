"""What became of a function: a report in words, and the program as text at each stage."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any, final

from tensorjit import compiler
from tensorjit.compiler import Executable
from tensorjit.errors import GuardError
from tensorjit.ir.graph import Graph, Op
from tensorjit.ir.kernel import Kernel
from tensorjit.ir.kernel_printer import print_kernel
from tensorjit.ir.printer import print_graph
from tensorjit.ir.python_code import python_code
from tensorjit.passes.specialise import Guard, Source
from tensorjit.runtime.callable import NativeCallable

__all__ = ["Lowered", "explain", "kernels_of", "python_code"]


def explain(name: str, executable: Executable) -> str:
    """A report of kernels, guards and what stood against fusion."""
    lines = [f"{name}: compiled in {1e3 * executable.seconds:.1f} ms"]
    lines += _kernels(executable)
    lines += _others(executable)
    lines += _guards(executable)
    return "\n".join(lines)


def _launches(executable: Executable) -> list[Op]:
    graph = executable.lowered or executable.graph
    return [op for op in graph.walk() if op.name == "launch"]


def _kernels(executable: Executable) -> list[str]:
    launches = _launches(executable)
    lines = [f"  {len(launches)} kernel{'' if len(launches) == 1 else 's'}"]
    for k, op in enumerate(launches, 1):
        kernel: Kernel = op.attrs["kernel"]
        place = "" if op.loc is None else f"  (line {op.loc.lineno})"
        lines.append(f"    {k}. {', '.join(kernel.ops) or 'copy'}{place}")
        reason = op.attrs.get("reason")
        if reason:
            lines.append(f"       ends here: {reason}")
    return lines


def _others(executable: Executable) -> list[str]:
    graph = executable.lowered or executable.graph
    calls = [op for op in graph.walk() if op.name == "library"]
    arrays = [op for op in graph.walk() if op.name == "empty" and op.attrs.get("space") != "stack"]
    lines = [f"  {len(arrays)} array{'' if len(arrays) == 1 else 's'} allocated"]
    if calls:
        lines.append(f"  calls of NumPy: {', '.join(op.attrs['function'] for op in calls)}")
    return lines


def _guards(executable: Executable) -> list[str]:
    specialised = executable.specialised
    arrays = {i.source.key for i in specialised.implicit}
    told = arrays | {g.source.key for g in specialised.guards}
    lines = [f"  guarded: {_guarded(g)}" for g in specialised.guards if _is_news(g.source, told)]
    lines += [f"  read at each call: {i.source.shown}, {i.value.type}" for i in specialised.implicit]
    decided = [op for op in executable.graph.walk() if op.name == "raise" and op.attrs.get("class") is GuardError and op.loc]
    return lines + list(
        dict.fromkeys(f"  decided by a value: `{op.loc.line.strip()}`  (line {op.loc.lineno})" for op in decided if op.loc)
    )


def _guarded(guard: Guard) -> str:
    source, expected = guard.source, guard.expected
    if source.kind != "what":
        return f"{source.shown} is {_shown(expected)}"
    return f"{source.container.shown} is {f'of class {expected.__name__}' if isinstance(expected, type) else _shown(expected)}"


def _is_news(source: Source, told: Collection[object]) -> bool:
    """Whether a guard says more than that an object is itself, or of the class that it is read as."""
    if (source.kind == "of function" and source.name == "__code__") or _is_of_libraries(source.container):
        return False
    return source.kind != "constant" and not (source.kind == "what" and source.container.key in told)


def _is_of_libraries(owner: object) -> bool:
    """Whether a name is looked up in what everybody takes to be as it is: Python's builtins and modules, NumPy."""
    if not isinstance(owner, Source) or owner.kind != "constant":
        return False
    module = owner.container.__name__ if isinstance(owner.container, ModuleType) else owner.name
    return module.partition(".")[0] in ("numpy", "math", "builtins", "globals()", "sys")


def _shown(value: object) -> str:
    name = getattr(value, "__name__", None)
    return f"<{type(value).__name__} {name}>" if name else repr(value)


@final
class Lowered:
    """A signature's program at each stage; `as_text(stage)`, then `compile()`."""

    def __init__(self, owner: NativeCallable, executable: Executable, target: str) -> None:
        self._owner, self._executable, self._target = owner, executable, target

    def as_text(self, stage: str = "graph") -> str:
        """The program as text: "graph" (typed), "lowered" (kernels launched), "kernels", "llvm" or "asm"."""
        e = self._executable
        if stage == "graph":
            return print_graph(e.graph)
        if e.lowered is None:
            raise ValueError("the reference backend runs the graph itself: there is nothing below it")
        if stage == "lowered":
            return print_graph(e.lowered)
        if stage == "kernels":
            return "\n\n".join(print_kernel(k) for k in kernels_of(e.lowered))
        if stage in ("llvm", "asm"):
            text: str = compiler.native().as_text(e.lowered, e.specialised, e.signature, e.form, self._target, stage)
            return text
        raise ValueError(f"{stage!r} is no stage: graph, lowered, kernels, llvm, asm")

    def compile(self) -> NativeCallable:
        """The compiled object, with this signature in its cache."""
        return self._owner


def kernels_of(lowered: Graph) -> Iterator[Any]:
    """The kernels of a lowered graph, each once."""
    seen: set[Kernel] = set()
    for op in lowered.walk():
        kernel = op.attrs.get("kernel")
        if kernel is not None and kernel not in seen:
            seen.add(kernel)
            yield kernel
