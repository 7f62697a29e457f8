"""The catalogue's tables: which there are, what names a row, their order, and cells made rows.

Between the files (`shipped.py`) and `catalogue.py`. Rows are made without validation: a test and
`catalogue lint` validate what is shipped, and overlays are validated when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast, get_args

from pydantic import BeforeValidator

from cudactl.contracts.spec import OsName
from cudactl.stack.facts import rows as facts
from cudactl.stack.facts.row import Row
from cudactl.stack.facts.shipped import Cells, cells
from cudactl.stack.facts.xids import Xid
from cudactl.stack.versions import numbers

TABLES: dict[str, type[Row]] = {
    "distributions": facts.Distribution,
    "toolkits": facts.Toolkit,
    "components": facts.Component,
    "cudnn": facts.Cudnn,
    "tensorrt": facts.TensorRT,
    "tensorrt_rtx": facts.TensorRTRtx,
    "nccl": facts.Nccl,
    "container_toolkit": facts.ContainerToolkit,
    "drivers": facts.DriverBranch,
    "driver_releases": facts.DriverRelease,
    "archive_drivers": facts.ArchiveDriver,
    "kernels": facts.Kernel,
    "dcgm": facts.Dcgm,
    "torch": facts.Torch,
    "torch_variants": facts.TorchVariant,
    "tensorflow": facts.Tensorflow,
    "gpus": facts.Gpu,
    "packages": facts.PackageMeaning,
    "xids": Xid,
}
KEYS: dict[str, tuple[str, ...]] = {
    "distributions": ("name",),
    "components": ("toolkit", "wheel"),
    "drivers": ("branch",),
    "archive_drivers": ("os", "package"),
    "kernels": ("os", "flavour", "series"),
    "torch_variants": ("version", "cuda"),
    "gpus": ("name",),
    "packages": ("where", "pattern"),
    "xids": ("code",),
}
"""Columns that name a row; every other table has a version."""
ARCHITECTURES = (
    *("Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere"),
    *("Ada", "Hopper", "Blackwell", "Rubin"),
)
"""GPU architectures, oldest first."""


def key_of(table: str, row: Row) -> tuple[str, ...]:
    """Return what names a row within its table."""
    return tuple(str(getattr(row, column)) for column in KEYS.get(table, ("version",)))


def order_of(table: str, row: Row) -> tuple[Any, ...]:
    """Return what a table is sorted by: oldest first, distributions as the spec names them."""
    if isinstance(row, facts.Gpu):
        known = row.architecture in ARCHITECTURES
        age = ARCHITECTURES.index(row.architecture) if known else len(ARCHITECTURES)
        return (age, numbers(row.cc), row.name)
    order: list[Any] = []
    for column, value in zip(KEYS.get(table, ("version",)), key_of(table, row), strict=True):
        if column in ("os", "name"):
            names = get_args(OsName)
            order.append(names.index(value) if value in names else len(names))
        elif column in ("version", "toolkit", "cuda", "branch", "series", "code"):
            order.append((numbers(value), value))
        elif table == "archive_drivers":
            order.append((numbers(getattr(row, "branch", "")), value))
        else:
            order.append(value)
    return tuple(order)


def rows_of(table: str, raw: str | Cells) -> tuple[Row, ...]:
    """Return a table's rows, converted and not validated."""
    model = TABLES[table]
    header, *rest = cells(raw)
    converters = [converter(model, column) for column in header]
    made = []
    for row in rest:
        values: dict[str, Any] = {}
        for column, convert, cell in zip(header, converters, row, strict=False):
            values[column] = convert(cell) if convert is not None else cell
        made.append(model.model_construct(None, **values))
    return tuple(made)


def converter(model: type[Row], column: str) -> Callable[[str], Any] | None:
    """Return what makes a column's value of its cell; None: the cell is the value."""
    field = model.model_fields.get(column)
    for one in field.metadata if field is not None else ():
        if isinstance(one, BeforeValidator):
            return cast(Callable[[str], Any], one.func)
    return None


def in_order(table: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows in the table's order."""
    return tuple(sorted(rows, key=lambda row: order_of(table, row)))
