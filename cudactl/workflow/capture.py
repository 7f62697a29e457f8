"""Capture a host, an image or this machine: read it, say it as a spec, lock what is there.

Nothing is changed there. The spec needs no network; an index is asked only for a lock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cudactl.contracts.capture import Captured, CaptureRemark
from cudactl.contracts.errors import CudactlError
from cudactl.contracts.spec import MirrorSpec
from cudactl.contracts.state import HostState
from cudactl.reach.fanout import Answer
from cudactl.reach.image_tree import image_state
from cudactl.reach.targets import Target
from cudactl.stack.capture.lock import capture_lock
from cudactl.stack.capture.source import OwnSource, own_source
from cudactl.stack.capture.spec import CapturedSpec, capture_spec, target_of
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.index.apt import AptIndex, fetch_index
from cudactl.stack.index.fetching import without_password
from cudactl.stack.lock.file import render_lock
from cudactl.stack.lock.locking import apt_source
from cudactl.stack.spec.check import check_spec
from cudactl.stack.spec.text import render_spec
from cudactl.workflow.one_host import read_one_host
from cudactl.workflow.places import cache_folder
from cudactl.workflow.planning import read_state
from cudactl.workflow.writing import write_all

SHOWN = 6
"""Items of a remark that are written into the spec; `--json` has all."""


@dataclass(frozen=True)
class Wanted:
    """What is to be written, and from where hashes come."""

    spec: Path | None = None
    """Where the spec goes; None: nowhere."""
    lock: Path | None = None
    """Where the lock goes; None: none is made."""
    mirror: str | None = None
    """Repository to ask instead of the machine's own."""
    mirror_key: Path | None = None
    """Its key."""
    force: bool = False
    """Replace files."""


@dataclass(frozen=True)
class Capture:
    """What `stack capture` did."""

    captured: Captured
    text: str
    """The spec, as a file."""
    written: list[Path]
    error: CudactlError | None
    """Why there is no lock, where one was asked for."""


def capture_host(
    name: str | None, inventories: Sequence[str], ssh_args: Sequence[str], wanted: Wanted
) -> Capture:
    """Capture a host; no name means this machine.

    Raises:
        CaptureRefused: CAPTURE-NOTHING, CAPTURE-UNSUPPORTED-OS, CAPTURE-UNSUPPORTED-ARCH.
        UsageError: FILE-EXISTS, FILE-NOT-WRITTEN, MIRROR-KEY-…, TARGET-…, INVENTORY-….
        UnreachableError: why the host does not answer.
    """
    state, target = read_one_host(name, inventories, ssh_args)
    local = target.connection == "local"
    shown = state.hostname if local and not target.from_inventory else target.name
    return _capture(state, shown, wanted, here=local)


def capture_image(reference: str, wanted: Wanted) -> Capture:
    """Capture an image that this machine's Docker Engine has, without running it.

    Raises:
        ImageRefused, UnreachableError, UsageError: IMAGE-…; and what `capture_host` raises.
    """
    document = image_state(reference)
    state, error = read_state(Answer(Target(reference), document, None, 0.0))
    if error is not None:
        raise error
    assert state is not None
    return _capture(state, reference, wanted, here=False)


def _capture(state: HostState, name: str, wanted: Wanted, *, here: bool) -> Capture:
    catalogue = load_catalogue()
    distribution, arch = target_of(state, name, catalogue)
    source, beside = own_source(state, distribution, arch, here=here)
    if wanted.mirror is not None:
        source = OwnSource(wanted.mirror, None)
    files: dict[Path, bytes] = {}
    key_file = wanted.mirror_key
    if key_file is None and source is not None and source.key and wanted.spec is not None:
        key_file = wanted.spec.with_name(f"{wanted.spec.stem}-mirror.asc")
        files[key_file] = source.key.encode()
    captured = capture_spec(state, name, catalogue, _mirror(source, key_file, wanted.spec))
    remarks = [*captured.remarks, *beside]
    if source is not None and source.key and key_file is None:
        remarks.append(_key_not_written(source))
    lock, error = None, None
    if wanted.lock is not None:
        try:
            index = _index(captured, source, wanted.mirror_key)
        except CudactlError as no_index:
            error = no_index
            remarks.append(_no_index(no_index))
        else:
            lock, more = capture_lock(captured, state, index, catalogue)
            remarks += more
            if lock is None:
                error = _nothing_to_lock(name, index)
    found = Captured(
        name=name,
        spec=captured.spec,
        verdict=check_spec(captured.spec, catalogue),
        remarks=remarks,
        lock=lock,
    )
    text = _text(found)
    if wanted.spec is not None:
        files[wanted.spec] = text.encode()
    if lock is not None and wanted.lock is not None:
        files[wanted.lock] = render_lock(lock)
    return Capture(found, text, write_all(files, force=wanted.force), error)


def _mirror(
    source: OwnSource | None, key_file: Path | None, spec: Path | None
) -> MirrorSpec | None:
    """Return the mirror as the spec says it: no password, the key relative to the spec."""
    if source is None:
        return None
    values = {"url": without_password(source.url)}
    if key_file is not None:
        beside = spec is not None and key_file.parent == spec.parent
        values["key"] = key_file.name if beside else str(key_file.absolute())
    return MirrorSpec.model_validate(values)


def _index(captured: CapturedSpec, source: OwnSource | None, key_file: Path | None) -> AptIndex:
    """Return the verified index; the machine's own key is tried where no other was named."""
    spec = captured.spec
    with tempfile.TemporaryDirectory(prefix="cudactl-key-") as folder:
        if source is not None and key_file is None and source.key is not None:
            key_file = Path(folder) / "key.asc"
            key_file.write_text(source.key)
        place = apt_source(spec, load_catalogue().distribution(spec.os), Path())
        if source is not None:
            # With its password, which neither spec nor lock may carry.
            base = source.url.rstrip("/") + "/"
            folders = place.url.removeprefix(without_password(base))
            key = key_file.expanduser().absolute() if key_file is not None else None
            place = replace(place, url=base + folders, key_file=key)
        return fetch_index(place, cache_folder())


def _key_not_written(source: OwnSource) -> CaptureRemark:
    return CaptureRemark(
        code="CAPTURE-KEY",
        text=f"the packages come from {without_password(source.url)}, whose key is not written: "
        "the spec alone cannot be locked",
        remedy="write the spec with -o FILE, then the key is written beside it",
    )


def _no_index(error: CudactlError) -> CaptureRemark:
    return CaptureRemark(
        code="CAPTURE-NO-INDEX",
        text=f"there is no lock, since hashes come from a package index: {error.code}: "
        f"{error.found}",
        remedy=error.remedy,
    )


def _nothing_to_lock(name: str, index: AptIndex) -> CudactlError:
    return CudactlError(
        "CAPTURE-NOTHING-TO-LOCK",
        f"nothing of what {name} carries is in {index.source.title} at its version",
        expected="packages that can be had from a signed index",
        remedy="the remarks say what each package is; name another index with --mirror",
    )


def _text(found: Captured) -> str:
    tail = []
    for remark in found.remarks:
        tail += ["", f"{remark.code}: {remark.text}"]
        tail += [f"  {item}" for item in remark.items[:SHOWN]]
        if len(remark.items) > SHOWN:
            tail.append(f"  … and {len(remark.items) - SHOWN} more (--json lists all)")
    if tail:
        tail = ["", "What this does not say:", *tail]
    return render_spec(
        found.spec,
        head=[
            f"What {found.name} carries, captured by: cudactl stack capture",
            "Exact versions; shorten one to allow newer ones (docs/stack.md).",
        ],
        tail=tail,
    )
