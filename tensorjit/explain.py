"""What became of a function for one signature, in words."""

from __future__ import annotations

from tensorjit.compiler import Executable
from tensorjit.ir.graph import Op
from tensorjit.ir.kernel import Kernel


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
    lines = [f"  guarded: {g.source.name} is {_shown(g.expected)}" for g in specialised.guards]
    lines += [f"  read at each call: {i.source.name}, {i.value.type}" for i in specialised.implicit]
    return lines


def _shown(value: object) -> str:
    name = getattr(value, "__name__", None)
    return f"<{type(value).__name__} {name}>" if name else repr(value)
