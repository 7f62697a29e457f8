"""What the judge reads of the catalogue: what each GPU should be, and what each XID means."""

from __future__ import annotations

from functools import lru_cache

from cudactl.contracts.certificate import GpuReference
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.facts.rows import Gpu

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


@lru_cache(maxsize=1)
def xid_meanings() -> dict[str, tuple[str, str, str]]:
    """Return XID → severity, NVIDIA's action, name; empty where there is none."""
    return {row.code: (row.severity, row.action or "", row.name) for row in load_catalogue().xids}


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
        data_centre=row.data_centre == "yes",
        nvswitch=row.nvswitch == "yes",
        contested=list(row.contested),
        source=f"{row.source.replace(' | ', '; ')} ({row.date})",
    )


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None


def _whole(cell: str | None) -> int | None:
    return int(cell) if cell else None
