"""What each GPU of the catalogue should be, as the judge reads it: by PCI device id."""

from __future__ import annotations

from functools import lru_cache

from cudactl.contracts.certificate import GpuReference
from cudactl.stack.catalogue import load_catalogue
from cudactl.stack.facts import Gpu

RATES = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8")


@lru_cache(maxsize=1)
def gpu_references() -> dict[str, GpuReference]:
    """Return PCI device id → reference; an id that several rows share has none."""
    found: dict[str, GpuReference] = {}
    shared: set[str] = set()
    for row in load_catalogue().gpus:
        for device in row.pci_ids:
            if device in found:
                shared.add(device)
            found[device] = _reference(row)
    return {device: one for device, one in found.items() if device not in shared}


def _reference(row: Gpu) -> GpuReference:
    rates = {name: _number(getattr(row, name)) for name in RATES if name not in row.contested}
    return GpuReference(
        name=row.name,
        cc=row.cc,
        sm_count=_whole(row.sm_count),
        memory_gb=_number(row.memory_gb),
        memory_gbs=_number(row.memory_gbs),
        tflops={name: rate for name, rate in rates.items() if rate is not None},
        watts=_number(row.watts),
        nvlink_gbs=_number(row.nvlink_gbs),
        pcie_gen=_whole(row.pcie_gen),
        contested=list(row.contested),
        source=f"{row.source.replace(' | ', '; ')} ({row.date})",
    )


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None


def _whole(cell: str | None) -> int | None:
    return int(cell) if cell else None
