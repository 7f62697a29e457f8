"""How a lock is shown to people: a table by component, and a list of its packages."""

from __future__ import annotations

from cudactl.contracts.base import short
from cudactl.contracts.lock import LockedPackage, StackLock

ORDER = (
    *("driver", "cuda", "cudnn", "tensorrt", "tensorrt_rtx", "nccl", "dcgm"),
    *("container_toolkit", "frameworks"),
)


def lock_table(lock: StackLock) -> str:
    """Return one line per component: version, packages, download size."""
    rows = [("component", "version", "packages", "download")]
    for component in ORDER:
        packages = [p for p in lock.packages if p.component == component]
        version = next((v for c, v in lock.resolved.items() if c == component), None)
        if version is None and not packages:
            continue
        if component == "driver" and lock.driver_flavour:
            version = f"{version} ({lock.driver_flavour})"
        rows.append((component, version or "", str(len(packages)), size(_bytes(packages))))
    rows.append(("in all", "", str(len(lock.packages)), size(_bytes(lock.packages))))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def lock_title(lock: StackLock) -> str:
    """Return what the lock is for and its hash."""
    target = lock.target
    python = f", {target.python}" if target.python else ""
    return f"{lock.short_hash}  {target.os} {target.arch}, {target.packages}{python}"


def lock_details(lock: StackLock) -> str:
    """Return where the packages come from, what the distribution brings, and every package."""
    lines = []
    for source in lock.sources:
        what = "vendor" if source.vendor else "mirror"
        key = f", signed by {source.fingerprint}" if source.fingerprint else ""
        lines.append(f"  from {source.url} ({what}{key})")
    if lock.external:
        names = ", ".join(dependency.name for dependency in lock.external)
        lines.append(f"  from the distribution: {names}")
    for allowance in lock.allowed:
        lines.append(f"  allowed: {allowance.code} ({allowance.reason})")
    lines.append(f"  catalogue {short(lock.catalogue_hash)}, spec {short(lock.spec_hash)}")
    lines.append("")
    width = max((len(p.name) for p in lock.packages), default=0)
    for package in lock.packages:
        mark = "*" if package.top_level else " "
        lines.append(f"{mark} {package.name:<{width}}  {package.version}")
    lines.append("\n  * asked for by name; the others come as dependencies")
    return "\n".join(lines)


def package_reason(lock: StackLock, package: LockedPackage) -> str:
    """Return why a package is in the lock, and the way to it from what was asked for."""
    lines = [f"{package.name} {package.version} ({package.component})", f"  {package.why}"]
    way = _way_to(lock, package)
    if len(way) > 1:
        lines.append("  " + " → ".join(way))
    needed_by = sorted(p.name for p in lock.packages if package.name in p.requires)
    if needed_by:
        lines.append(f"  needed by: {', '.join(needed_by)}")
    if package.requires:
        lines.append(f"  needs: {', '.join(package.requires)}")
    return "\n".join(lines)


def size(count: int) -> str:
    """Return bytes for people, in decimal units."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit in ("B", "kB") or value >= 99.5 else f"{value:.1f} {unit}"


def _bytes(packages: list[LockedPackage]) -> int:
    return sum(package.size for package in packages)


def _way_to(lock: StackLock, package: LockedPackage) -> list[str]:
    """Return the shortest way from a package that is asked for by name."""
    ways = [[p.name] for p in lock.packages if p.top_level]
    seen = {way[0] for way in ways}
    while ways:
        way = ways.pop(0)
        if way[-1] == package.name:
            return way
        last = lock.package(way[-1])
        for name in last.requires if last is not None else ():
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return [package.name]
