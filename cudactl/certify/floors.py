"""Speed floors: the share of a GPU's data sheet that must be reached, each with its source.

A floor outside of 0.4 to 1.0 is a slip of the pen (DCGM 4.6.0 ships memory bandwidths of 0.05 %,
5.7 % and 8.8 % of the data sheet, with which nothing can fail), so a test keeps them inside.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST, MOST = 0.4, 1.0
"""No floor lies outside of these shares."""


@dataclass(frozen=True)
class Floor:
    """One floor."""

    check: str
    """Check id."""
    share: float
    """Share of the reference that must be reached."""
    source: str
    """Why this share."""
    kind: str = ""
    """Which rate of the check, e.g. "bf16", where it has several."""


FLOORS: tuple[Floor, ...] = (
    Floor(
        "driver.bandwidth",
        0.60,
        "research: the kernels behind DCGM 4.6.0's thresholds reach 0.61 (H200 NVL) to 0.90 (V100)"
        " of the data sheet; nothing healthy lies below",
    ),
    Floor(
        "toolkit.speed.bf16",
        0.55,
        "research: the best matmuls that ml-engineering found (MAMF) reach 0.73 (GB200) to 0.87"
        " (A100 SXM) of the data sheet; four fifths of the least are 0.58",
    ),
    Floor(
        "toolkit.speed.fp16",
        0.55,
        "research: as BF16, which runs at the same rate; no MAMF figure of its own is known",
    ),
    Floor(
        "toolkit.speed.fp8",
        0.50,
        "research: the only MAMF figure is 0.71 (H100); four fifths of it are 0.57, and a little"
        " less for the GPUs of which none is known",
    ),
    Floor(
        "toolkit.speed.tf32",
        0.50,
        "a default until it is calibrated, no MAMF figure is known: below the least of BF16",
    ),
    Floor(
        "toolkit.speed.fp32",
        0.50,
        "a default until it is calibrated: the A100 that passed DCGM's diagnostic at 6.7 of 19.5"
        " Tflop/s (0.34; NVIDIA/DCGM issue 122) must fail",
    ),
    Floor(
        "toolkit.tensor_gain",
        0.50,
        "half of the ratio of the data sheet's rates: without Tensor Cores it is 1 to 2 instead"
        " of 8 to 17 (A100 to H200)",
    ),
    Floor(
        "frameworks.torch.throughput",
        0.55,
        "research: BF16 matmuls in PyTorch were measured to reach 0.73 (GB200) to 0.87 (A100) of"
        " the dense data sheet; a quarter is left for clocks and shapes",
    ),
    Floor(
        "frameworks.tensorflow.throughput",
        0.55,
        "research: BF16 matmuls in PyTorch were measured to reach 0.73 (GB200) to 0.87 (A100) of"
        " the dense data sheet; a quarter is left for clocks and shapes",
    ),
)


def floor(check: str, kind: str = "") -> Floor:
    """Return a check's floor; raises KeyError when none is declared."""
    for row in FLOORS:
        if (row.check, row.kind) == (check, kind):
            return row
    raise KeyError(f"no floor is declared for {check} {kind}".rstrip())
