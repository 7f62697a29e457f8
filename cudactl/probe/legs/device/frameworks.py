"""frameworks on a GPU: PyTorch and TensorFlow of the user's interpreter (`probe/frameworks`)."""

from __future__ import annotations

from ...frameworks.running import measure as run
from .. import Emit, Values


def measure(request: Values, emit: Emit) -> None:
    """Measure frameworks.<name>.loaded, matmul, convolution, training, digest, throughput."""
    run(dict(request, on=request.get("on") or "cuda"), emit)
