"""How a bundle is shown to people, and as JSON."""

from __future__ import annotations

from typing import Any

from cudactl.cli.show_stack import size
from cudactl.contracts.base import short
from cudactl.stack.bundle.readme import LICENCE_NOTE
from cudactl.workflow.bundle import Bundled


def bundle_text(done: Bundled) -> str:
    """Return what was made and how it is used."""
    lines = [f"{done.folder}: {done.files} files, {size(done.size)}"]
    for name, lock in done.locks.items():
        target = f"{lock.target.os} {lock.target.arch}, {lock.target.packages}"
        lines.append(f"  {short(lock.hash)}  {target}  {done.folder}/locks/{name}")
    if done.fetched:
        lines.append(f"  fetched: {done.fetched} files, {size(done.bytes_fetched)}")
    else:
        lines.append("  everything was there already, and verified")
    lines.append(f"  signed by {done.record.fingerprint}")
    return "\n".join(lines)


def bundle_document(done: Bundled) -> dict[str, Any]:
    """Return the same for --json."""
    return {
        "folder": str(done.folder),
        "files": done.files,
        "bytes": done.size,
        "fetched": done.fetched,
        "bytes_fetched": done.bytes_fetched,
        "fingerprint": done.record.fingerprint,
        "url": done.record.url,
        "locks": [
            {"file": f"{done.folder}/locks/{name}", "hash": lock.hash}
            for name, lock in done.locks.items()
        ],
        "licence": LICENCE_NOTE,
    }
