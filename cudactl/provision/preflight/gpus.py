"""Do the host's GPUs fit the lock: the same that it was made for, its branch, flavour, toolkit?

What a GPU is and needs is the catalogue's; the plan stays a pure function of lock, state and the
catalogue that this version of cudactl carries (and its overlays).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cudactl.contracts.lock import StackLock
from cudactl.contracts.plan import Finding
from cudactl.contracts.state import HostState
from cudactl.provision.preflight.driver_step import installs_driver
from cudactl.provision.preflight.findings import refuse, remark

if TYPE_CHECKING:
    from cudactl.stack.facts.catalogue import Catalogue
    from cudactl.stack.facts.rows import Gpu


def gpu_findings(lock: StackLock, state: HostState) -> list[Finding]:
    """Refuse GPUs that the lock does not serve; every GPU and every reason at once."""
    if not state.gpus:
        if lock.spec.gpus:
            found = f"the lock is for {', '.join(lock.spec.gpus)}, and the host shows no NVIDIA GPU"
            return [remark("NO-GPU", found)]
        return []
    # Loading the facts takes longer than the rest of a plan, and hosts without a GPU need none.
    from cudactl.stack.facts.catalogue import load_catalogue

    catalogue = load_catalogue()
    boards: dict[str, tuple[Gpu, ...]] = {}
    for gpu in state.gpus:
        fitting = tuple(row for row in catalogue.gpus if gpu.device in row.pci_ids)
        boards.setdefault(gpu.device, fitting)
    unknown = sorted(device for device, rows in boards.items() if not rows)
    known = [rows for rows in boards.values() if rows]
    findings = []
    if unknown:
        findings.append(
            remark(
                "GPU-UNKNOWN",
                f"the catalogue knows no GPU with PCI id {', '.join(unknown)}: whether the lock "
                "serves it is not checked",
                "an overlay can teach the catalogue",
            )
        )
    findings += _others(lock, catalogue, known)
    if installs_driver(lock):
        findings += _flavour(lock, known)
        findings += _branch(lock, catalogue, known)
    findings += _toolkit(lock, catalogue, known)
    return findings


def _name(rows: tuple[Gpu, ...]) -> str:
    """Return the board's name; several that share a PCI id are all named."""
    return " or ".join(row.name for row in rows)


def _others(lock: StackLock, catalogue: Catalogue, known: list[tuple[Gpu, ...]]) -> list[Finding]:
    """Refuse GPUs that the lock was not made for."""
    if not lock.spec.gpus:
        return []
    from cudactl.contracts.errors import CudactlError
    from cudactl.stack.gpus.find import find_gpus

    wanted: set[str] = set()
    for wish in lock.spec.gpus:
        try:
            wanted.update(gpu.name for gpu in find_gpus(catalogue, wish))
        except CudactlError:
            return []  # another catalogue's lock: nothing can be said
    strange = [rows for rows in known if not wanted & {row.name for row in rows}]
    if not strange:
        return []
    return [
        refuse(
            "PREFLIGHT-GPU-OTHER",
            f"the host has {', '.join(_name(rows) for rows in strange)}",
            f"{', '.join(lock.spec.gpus)}, which the lock was made for",
            "add the GPU to the spec's `gpus` and lock again, or give this host another lock",
        )
    ]


def _flavour(lock: StackLock, known: list[tuple[Gpu, ...]]) -> list[Finding]:
    """Refuse a kernel module flavour that a GPU does not run with."""
    only_open = [r for r in known if all(row.open_module == "required" for row in r)]
    only_closed = [r for r in known if all(row.open_module == "unsupported" for row in r)]
    if only_open and only_closed:
        return [
            refuse(
                "PREFLIGHT-GPU-NO-FLAVOUR",
                f"{_name(only_open[0])} runs with the open kernel module only, "
                f"{_name(only_closed[0])} with the proprietary one only",
                "GPUs with one kernel module in common: a host loads one",
                "put them into different hosts",
            )
        ]
    wrong = {"open": only_closed, "proprietary": only_open}.get(lock.driver_flavour or "", [])
    return [
        refuse(
            "PREFLIGHT-GPU-FLAVOUR",
            f"the lock brings the {lock.driver_flavour} kernel module, which does not drive "
            f"{_name(rows)}",
            "the open one" if lock.driver_flavour == "proprietary" else "the proprietary one",
            "name the host's GPUs in the spec, leave `driver.flavour` at auto, and lock again",
        )
        for rows in wrong
    ]


def _branch(lock: StackLock, catalogue: Catalogue, known: list[tuple[Gpu, ...]]) -> list[Finding]:
    """Refuse a driver branch that does not drive a GPU, and GPUs that no branch drives together."""
    from cudactl.stack.gpus.support import branches_of

    drives = [
        (rows, {branch.name for row in rows for branch in branches_of(catalogue, row)[0]})
        for rows in known
    ]
    # A GPU whose first branch is not known says nothing.
    drives = [(rows, branches) for rows, branches in drives if branches]
    common = set.intersection(*(branches for _, branches in drives)) if drives else set()
    if drives and not common:
        return [
            refuse(
                "PREFLIGHT-GPU-NO-BRANCH",
                "no driver branch drives all of "
                + ", ".join(f"{_name(r)} ({min(b)} to {max(b)})" for r, b in drives),
                "GPUs with a driver branch in common",
                "put them into different hosts",
            )
        ]
    branch = str(lock.resolved.get("driver", "")).partition(".")[0]
    if catalogue.branch(branch) is None:
        return []
    return [
        refuse(
            "PREFLIGHT-GPU-BRANCH",
            f"driver branch {branch} does not drive {_name(rows)}",
            f"one of {', '.join(sorted(common))}",
            "name the host's GPUs in the spec and lock again",
        )
        for rows, branches in drives
        if branch not in branches
    ]


def _toolkit(lock: StackLock, catalogue: Catalogue, known: list[tuple[Gpu, ...]]) -> list[Finding]:
    """Refuse a toolkit that has dropped a GPU, or does not know it yet."""
    cuda = lock.resolved.get("cuda")
    if cuda is None:
        return []
    from cudactl.stack.gpus.support import targets_of, toolkits_for

    minor = ".".join(cuda.split(".")[:2])
    targets = targets_of((row.version, row.sm) for row in catalogue.toolkits)
    if minor not in targets:
        return []
    findings = []
    for rows in known:
        minors = {m for row in rows for m in toolkits_for(row.cc, targets)}
        if minors and minor not in minors:
            span = [m for m in targets if m in minors]
            findings.append(
                refuse(
                    "PREFLIGHT-GPU-TOOLKIT",
                    f"CUDA {minor} does not compile for {_name(rows)} "
                    f"(compute capability {rows[0].cc})",
                    f"CUDA {span[0]} to {span[-1]}",
                    "name the host's GPUs in the spec and lock again",
                )
            )
    return findings
