"""What a difference between two locks means for whoever carries them: reboots, rebuilds, alarms.

Pure: every risk follows from the difference alone. `EXPLANATIONS` is what `--explain` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cudactl.contracts.diff import ComponentChange, LockDiff, Risk

WORST_FIRST = ("alarm", "reboot", "rebuild", "review")

EXPLANATIONS = {
    "DIFF-HASH": "A repository never has to give one version two contents. Either the archive was "
    "rebuilt without a new version, or somebody on the way altered the file. Find out which before "
    "you install it.",
    "DIFF-TARGET": "The two locks are for different machines. Neither can be replaced by the other "
    "on a host; the package lists are compared only so far as names go.",
    "DIFF-DRIVER": "The running kernel keeps the old module until it is loaded anew, and programs "
    "that were started with the old libraries stop working with the new module. Drain the host, "
    "provision, reboot.",
    "DIFF-FLAVOUR": "Open and proprietary modules are different packages that exclude each other. "
    "Some GPUs run only with one of them; `cudactl stack check` knows which.",
    "DIFF-CUDA-MAJOR": "Libraries of another CUDA major have other sonames. Programs and wheels "
    "that were built for the old major do not find them and must be built or chosen anew.",
    "DIFF-CUDA-MINOR": "The toolkit's folder (/usr/local/cuda-X.Y) and its package names carry the "
    "minor version. Build scripts and images that name the folder must be changed.",
    "DIFF-CUDNN-MAJOR": "The library's soname carries the major version; what was linked against "
    "the old one does not load the new one.",
    "DIFF-TENSORRT": "A serialised engine is, by default, tied to the TensorRT version that built "
    "it. Build engines again after this change.",
    "DIFF-OLDER": "apt goes down only because the lock's pins have a priority above 1000; "
    "maintainer scripts are rarely tried in that direction. Try it on one host first.",
    "DIFF-COMPONENT-GONE": "The new lock says nothing about this component any more: nothing holds "
    "its version, and certificates no longer look at it.",
    "DIFF-SOURCE": "The same packages may come from elsewhere: a mirror, a bundle, the vendor. "
    "Their hashes are in the lock either way.",
    "DIFF-KEY": "Hosts will trust another signing key for this repository. Compare its fingerprint "
    "with what the vendor or the mirror's owner publishes.",
    "DIFF-ALLOWED": "Somebody overrode a refusal. The reason stands in the lock and on every "
    "certificate.",
}


def risks_of(diff: LockDiff) -> list[Risk]:
    """Return what the difference means, worst first."""
    of = {change.component: change for change in diff.components}
    found = [*_package_risks(diff), *_driver_risks(diff, of.get("driver"))]
    for component in ("cuda", "cudnn", "tensorrt", "tensorrt_rtx"):
        found += _library_risks(of.get(component))
    found += _trust_risks(diff)
    return sorted(found, key=lambda risk: WORST_FIRST.index(risk.level))


def _package_risks(diff: LockDiff) -> Iterator[Risk]:
    packages = [p for change in diff.components for p in change.packages]
    rebuilt = [p.name for p in packages if p.kind == "rebuilt"]
    if rebuilt:
        text = f"another hash at the same version: {_listed(rebuilt)}"
        yield Risk(code="DIFF-HASH", level="alarm", text=text)
    target = [
        f"{f.name} {_arrow(f.before, f.after)}" for f in diff.target if f.name != "base_image"
    ]
    if target:
        text = f"the locks are for different targets: {', '.join(target)}"
        yield Risk(code="DIFF-TARGET", level="review", text=text)
    older = [p.name for p in packages if p.kind == "older"]
    if older:
        text = f"to an older version: {_listed(older)}"
        yield Risk(code="DIFF-OLDER", level="review", text=text)
    gone = [change.component for change in diff.components if change.kind == "removed"]
    if gone:
        text = f"no longer part of the stack: {', '.join(gone)}"
        yield Risk(code="DIFF-COMPONENT-GONE", level="review", text=text)


def _driver_risks(diff: LockDiff, driver: ComponentChange | None) -> Iterator[Risk]:
    if driver is not None and driver.packages:
        what = _arrow(driver.before, driver.after)
        if driver.before == driver.after:
            what = f"{driver.after}: {len(driver.packages)} of its packages differ"
        text = f"driver {what}; GPU work has to stop and the host has to reboot"
        yield Risk(code="DIFF-DRIVER", level="reboot", text=text)
    flavour = diff.flavour
    if flavour is not None and flavour.before and flavour.after:
        text = f"kernel module {_arrow(flavour.before, flavour.after)}: not every GPU takes both"
        yield Risk(code="DIFF-FLAVOUR", level="reboot", text=text)


def _library_risks(change: ComponentChange | None) -> Iterator[Risk]:
    if change is None or change.before is None or change.after is None:
        return
    what = f"{change.component} {_arrow(change.before, change.after)}"
    was, now = change.before.split("."), change.after.split(".")
    if change.component == "cuda" and was[0] != now[0]:
        text = f"{what}: programs built for CUDA {was[0]} have to be built or chosen anew"
        yield Risk(code="DIFF-CUDA-MAJOR", level="rebuild", text=text)
    elif change.component == "cuda" and was[:2] != now[:2]:
        text = f"{what}: /usr/local/cuda-{'.'.join(was[:2])} becomes cuda-{'.'.join(now[:2])}"
        yield Risk(code="DIFF-CUDA-MINOR", level="rebuild", text=text)
    elif change.component == "cudnn" and was[0] != now[0]:
        text = f"{what}: programs linked against cuDNN {was[0]} have to be linked anew"
        yield Risk(code="DIFF-CUDNN-MAJOR", level="rebuild", text=text)
    elif change.component.startswith("tensorrt") and was != now:
        text = f"{what}: engines have to be built again"
        yield Risk(code="DIFF-TENSORRT", level="rebuild", text=text)


def _trust_risks(diff: LockDiff) -> Iterator[Risk]:
    for key in diff.keys:
        if key.before and key.after:
            text = f"{key.name} is signed by another key: {_arrow(key.before, key.after)}"
            yield Risk(code="DIFF-KEY", level="review", text=text)
    if diff.sources:
        what = ", ".join(f"{s.name} from {s.after or 'nowhere'}" for s in diff.sources)
        yield Risk(code="DIFF-SOURCE", level="review", text=f"another address: {what}")
    for one in diff.allowed:
        if one.after is not None:
            text = f"{one.name} was allowed: {one.after}"
            yield Risk(code="DIFF-ALLOWED", level="review", text=text)


def _arrow(before: str | None, after: str | None) -> str:
    return f"{before or 'none'} → {after or 'none'}"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
