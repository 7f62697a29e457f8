"""How GPUs are shown: the list, one GPU with all that is known of it, several side by side.

A figure that is not known is "?" in tables and null in JSON; one whose sources disagree carries a
star.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cudactl.stack.gpus.memory import plain
from cudactl.stack.gpus.ranking import has_none, lacks, value_of

if TYPE_CHECKING:
    from cudactl.stack.facts.rows import Gpu
    from cudactl.stack.gpus.list import ListedGpu
    from cudactl.stack.gpus.support import GpuSupport, LibrarySpan
    from cudactl.workflow.gpus import Listing

FIGURES: dict[str, tuple[str, str]] = {
    "sm_count": ("multiprocessors", ""),
    "memory_gb": ("memory", "GB"),
    "memory_gbs": ("memory bandwidth", "GB/s"),
    "fp64": ("FP64", "Tflop/s"),
    "fp32": ("FP32", "Tflop/s"),
    "tf32": ("TF32 dense", "Tflop/s"),
    "bf16": ("BF16 dense", "Tflop/s"),
    "fp16": ("FP16 dense", "Tflop/s"),
    "fp8": ("FP8 dense", "Tflop/s"),
    "watts": ("power", "W"),
    "nvlink_gbs": ("NVLink, both directions", "GB/s"),
    "pcie_gen": ("PCIe generation", ""),
}
"""Field → what it is, and its unit."""

PER_WATT = ("memory_gbs", "fp32", "bf16", "fp16", "fp8")

MODULES = {
    "unsupported": "proprietary only",
    "supported": "open or proprietary",
    "required": "open only",
}


def table(rows: Sequence[Sequence[str]], left: Iterable[int] = (0,)) -> str:
    """Return rows in columns; the first is the heading, columns in `left` start at the left."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    at_left = set(left)
    return "\n".join(
        "  ".join(
            f"{cell:<{widths[at]}}" if at in at_left else f"{cell:>{widths[at]}}"
            for at, cell in enumerate(row)
        ).rstrip()
        for row in rows
    )


def gpu_table(gpus: Sequence[ListedGpu]) -> str:
    """Return one line per GPU."""
    rows: list[tuple[str, ...]] = [
        ("GPU", "cc", "GB", "GB/s", "BF16", "FP8", "W", "CUDA", "driver"),
    ]
    for gpu in gpus:
        rows.append(
            (
                gpu.name,
                gpu.cc,
                *(
                    _cell(getattr(gpu, field), field in gpu.contested, none=has_none(gpu.cc, field))
                    for field in ("memory_gb", "memory_gbs", "bf16", "fp8", "watts")
                ),
                _range(gpu.cuda_first, gpu.cuda_last),
                _range(gpu.driver_first, gpu.driver_last),
            )
        )
    legend = "BF16, FP8: dense Tflop/s · ?: not known · -: has none"
    if any(set(gpu.contested) & set(FIGURES) for gpu in gpus):
        legend += " · *: sources disagree, see gpu show"
    if not gpus:
        return "no GPU of the catalogue is known to be like that"
    return f"{table(rows, left=(0,))}\n{legend}"


def listing_json(listing: Listing) -> dict[str, Any]:
    """Return the list for --json."""
    return {
        "gpus": [asdict(gpu) for gpu in listing.gpus],
        "memory_not_known": list(listing.memory_not_known),
    }


def gpu_details(gpu: Gpu, support: GpuSupport) -> str:
    """Return all that is known of a GPU."""
    rows: list[tuple[str, str]] = [
        ("also called", ", ".join(gpu.aliases)),
        ("board", gpu.form or "not known"),
        ("PCI ids", " ".join(f"10de:{one}" for one in gpu.pci_ids) or "not known"),
    ]
    for field, (what, unit) in FIGURES.items():
        value = value_of(gpu, field)
        text = "none" if lacks(gpu, field) and value is None else "not known"
        if value is not None:
            text = f"{value:g} {unit}".rstrip()
        rows.append((what, text))
    rows += [
        ("kernel module", MODULES[gpu.open_module]),
        ("fabric manager", "needed on its usual boards" if gpu.nvswitch == "yes" else "not needed"),
        ("forward compatibility", "yes" if gpu.data_centre == "yes" else "no"),
        ("CUDA", _cuda(gpu, support)),
        ("drivers", _drivers(support)),
        ("cuDNN", _library(support.cudnn)),
        ("TensorRT", _library(support.tensorrt)),
        ("TensorRT for RTX", _library(support.tensorrt_rtx)),
        ("supported until", _until(gpu, support)),
    ]
    if gpu.notes:
        rows.append(("notes", gpu.notes))
    rows.append(("source", f"{gpu.source} (collected {gpu.date})"))
    marked = {FIGURES[f][0] if f in FIGURES else _OTHER.get(f, f) for f in gpu.contested}
    width = max(len(what) for what, _ in rows)
    lines = [f"{gpu.name}: {gpu.architecture}, compute capability {gpu.cc}"]
    for what, text in rows:
        mark = " (contested: see notes)" if what in marked else ""
        wrapped = textwrap.wrap(text + mark, 96 - width, break_on_hyphens=False) or [""]
        lines.append(f"  {what:<{width}}  {wrapped[0]}")
        lines += [f"  {'':<{width}}  {more}" for more in wrapped[1:]]
    return "\n".join(lines)


_OTHER = {"pci_ids": "PCI ids", "data_centre": "forward compatibility"}


def gpu_json(gpu: Gpu, support: GpuSupport) -> dict[str, Any]:
    """Return all that is known of a GPU for --json: numbers as numbers, not known as null."""
    document = gpu.model_dump(mode="json")
    for field in FIGURES:
        document[field] = value_of(gpu, field)
    document["has_no"] = [f for f in FIGURES if lacks(gpu, f) and value_of(gpu, f) is None]
    document["stacks"] = asdict(support)
    return document


def comparison_table(gpus: Sequence[Gpu]) -> str:
    """Return figures side by side, each with its ratio to the first GPU's, and rates per watt."""
    rows: list[tuple[str, ...]] = [("", *(gpu.name for gpu in gpus))]
    rows.append(("architecture", *(f"{g.architecture} {g.cc}" for g in gpus)))
    rows.append(("kernel module", *(MODULES[g.open_module] for g in gpus)))
    for field, (what, unit) in FIGURES.items():
        name = f"{what}, {unit}" if unit else what
        rows.append((name, *_beside([value_of(g, field) for g in gpus], gpus, field)))
    for field in PER_WATT:
        what, unit = FIGURES[field]
        per_watt = [_per_watt(gpu, field) for gpu in gpus]
        rows.append((f"{what} per watt, {unit}/W", *_beside(per_watt, gpus, field, 3)))
    legend = f"×: as many times {gpus[0].name}'s · ?: not known · -: has none"
    if any(set(gpu.contested) & set(FIGURES) for gpu in gpus):
        legend += " · *: sources disagree, see gpu show"
    return f"{table(rows, left=(0,))}\n{legend}"


def comparison_json(gpus: Sequence[Gpu]) -> dict[str, Any]:
    """Return the comparison for --json; a ratio is to the first GPU, null where one is unknown."""
    first = gpus[0]
    return {
        "first": first.name,
        "gpus": [
            {
                "name": gpu.name,
                "figures": {f: value_of(gpu, f) for f in FIGURES},
                "ratios": {f: _ratio(value_of(gpu, f), value_of(first, f)) for f in FIGURES},
                "per_watt": {f: _per_watt(gpu, f) for f in PER_WATT},
                "contested": list(gpu.contested),
            }
            for gpu in gpus
        ],
    }


def _beside(
    values: Sequence[float | None], gpus: Sequence[Gpu], field: str, digits: int = 5
) -> list[str]:
    cells = []
    for value, gpu in zip(values, gpus, strict=True):
        cell = _cell(value, field in gpu.contested, none=lacks(gpu, field), digits=digits)
        ratio = _ratio(value, values[0]) if gpu is not gpus[0] and field != "pcie_gen" else None
        cells.append(f"{cell} {ratio:.2f}×" if ratio is not None else cell)
    return cells


def _ratio(value: float | None, first: float | None) -> float | None:
    return value / first if value is not None and first else None


def _per_watt(gpu: Gpu, field: str) -> float | None:
    return _ratio(value_of(gpu, field), value_of(gpu, "watts"))


def _cell(value: float | None, contested: bool, *, none: bool = False, digits: int = 5) -> str:
    if value is None:
        return "-" if none else "?"
    return plain(value, digits) + ("*" if contested else "")


def _range(first: str | None, last: str | None) -> str:
    if first is None or last is None:
        return "?"
    return first if first == last else f"{first}–{last}"


def _cuda(gpu: Gpu, support: GpuSupport) -> str:
    if not support.cuda:
        return f"none of the catalogue (first toolkit: {gpu.first_toolkit})"
    text = _range(support.cuda[0], support.cuda[-1])
    return text if support.cuda[0] == gpu.first_toolkit else f"{text} (since {gpu.first_toolkit})"


def _drivers(support: GpuSupport) -> str:
    spans = [
        f"{s.first if s.first == s.last else f'{s.first}–{s.last}'} {' or '.join(s.flavours)}"
        for s in support.drivers
    ]
    return f"{'; '.join(spans) or 'not known'} ({support.drivers_from})"


def _library(span: LibrarySpan) -> str:
    if span.first is None or span.last is None:
        text = "none is known to serve it"
    else:
        text = span.first if span.first == span.last else f"{span.first} to {span.last}"
    if span.not_from:
        text += f"; not {span.not_from} and later"
    if span.not_known:
        few = ", ".join(span.not_known)
        text += (
            f"; not known of {few if len(span.not_known) < 4 else f'{len(span.not_known)} others'}"
        )
    return text


def _until(gpu: Gpu, support: GpuSupport) -> str:
    if support.until_branch is None:
        return "not known"
    if support.until is None:
        return f"not known: {support.until_branch} is the newest branch that drives it"
    text = f"{support.until}, the end of driver branch {support.until_branch}"
    return f"{text}: over" if support.ended else text
