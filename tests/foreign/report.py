"""``python -m tests.foreign.report LOG...``: totals, each difference once, and refusals by how many functions they stop."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

WRONG = ("diff", "status", "class", "internal")
CLOSE = 4.0  # units in the last place: what NumPy's own functions may be off the true value (docs/semantics.md)
Record = dict[str, Any]


def records(files: Iterable[Path]) -> Iterator[Record]:
    """The records of logs; floats that differ by a few units in the last place are of the kind "close", and Python integers that
    leave 64 bits, which raises here alone, of the kind "64 bits"."""
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            record: Record = json.loads(line)
            found = re.search(r"ulp (\S+)", record.get("why") or "")
            if record["kind"] == "diff" and found and float(found[1]) <= CLOSE:
                record["kind"] = "close"
            elif record["kind"] == "status" and "does not fit 64 bits" in record.get("got", ""):
                record["kind"] = "64 bits"
            yield record


def totals(found: Iterable[Record]) -> Counter[str]:
    """How many calls ended how."""
    return Counter(record["kind"] for record in found)


def differences(found: Iterable[Record]) -> list[Record]:
    """One record for each kind, function and reason of what is wrong."""
    examples: dict[tuple[str, str, str], Record] = {}
    for record in found:
        if record["kind"] in WRONG:
            reason = (record.get("why") or record.get("got") or "")[:60]
            examples.setdefault((record["kind"], _name(record), reason), record)
    return [examples[key] for key in sorted(examples)]


def refusals(found: Iterable[Record]) -> list[tuple[str, set[str]]]:
    """What is refused, and the functions that it stops: the most first."""
    stopped: dict[str, set[str]] = defaultdict(set)
    for record in found:
        if record["kind"] == "refused":
            first = re.sub(r"^\W*(\w+Error: )?.*?:\d+:\d+: ", "", record["why"].split("\n")[0])
            stopped[re.sub(r"'[^']{14,}'", "'...'", first)[:90]].add(_name(record))
    return sorted(stopped.items(), key=lambda item: (-len(item[1]), item[0]))


def _name(record: Record) -> str:
    name: str = record["function"].split("(")[0]
    return name


def text(found: list[Record], most: int = 60) -> str:
    """The whole report."""
    by_name: dict[str, set[str]] = defaultdict(set)
    for record in found:
        by_name[_name(record)].add(record["kind"])
    clean = sum(kinds <= {"same", "close"} for kinds in by_name.values())
    lines = [f"calls {dict(totals(found))}, functions {len(by_name)}, all calls the same {clean}"]
    lines += [shown(record) for record in differences(found)]
    lines += [f"{len(names):4} {reason} | {min(names)}" for reason, names in refusals(found)[:most]]
    return "\n".join(lines)


def shown(record: Record) -> str:
    """A record in a line."""
    parts = [
        f"{record['kind']} {record['function'][:110]}",
        *(str(record.get(key, ""))[:200] for key in ("args", "want", "got", "why")),
    ]
    return " | ".join(part for part in parts if part)


if __name__ == "__main__":
    print(text(list(records(map(Path, sys.argv[1:])))))  # noqa: T201
