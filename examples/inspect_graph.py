"""Look inside: the graph that was read, its typed form for some arguments, and what was fused."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tensorjit as tj


@tj.script
def softmax(x: NDArray[Any]) -> NDArray[Any]:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


x = np.linspace(0.0, 1.0, 12).reshape(3, 4)

for title, text in (
    (".graph: as it was read, no types yet", softmax.graph),
    (".code: the same as Python", softmax.code),
    (".graph_for(x): typed and optimised", softmax.graph_for(x)),
    (".explain(x): what became one kernel, and why", softmax.explain(x)),
):
    print(f"--- {title}\n{text}\n")
