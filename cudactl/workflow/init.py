"""Begin a stack.yaml: for GPUs that were named, or for what a host has."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cudactl.contracts.spec import Arch
from cudactl.stack.capture.spec import target_of
from cudactl.stack.facts.catalogue import load_catalogue
from cudactl.stack.gpus.find import find_gpus
from cudactl.stack.refusals import StackRefused
from cudactl.stack.spec.initial import Beginning, Initial, begin
from cudactl.stack.spec.initial_text import initial_text
from cudactl.workflow.one_host import read_one_host
from cudactl.workflow.writing import write_all


@dataclass(frozen=True)
class Begun:
    """What `stack init` did."""

    initial: Initial
    text: str
    """The file."""
    notes: list[str]
    """What was assumed, or found on the host and left out."""
    written: bool
    """False when it was only shown, or the file said the same already."""


def init(
    wish: Beginning,
    path: Path | None,
    *,
    host: str | None = None,
    inventories: Sequence[str] = (),
    ssh_args: Sequence[str] = (),
    force: bool = False,
) -> Begun:
    """Write a first spec.

    Args:
        wish: GPUs, purpose and the rest.
        path: Where it goes; None: nowhere.
        host: Host whose distribution, architecture and GPUs count; "local" is this machine.
        inventories: Where the host is described.
        ssh_args: Further arguments for ssh.
        force: Replace a file that is there.

    Raises:
        StackRefused: STACK-….
        CaptureRefused: CAPTURE-UNSUPPORTED-OS, CAPTURE-UNSUPPORTED-ARCH.
        UsageError: FILE-EXISTS, FILE-NOT-WRITTEN, TARGET-…, INVENTORY-….
        UnreachableError: why the host does not answer.
    """
    notes: list[str] = []
    command = _command(wish, host)
    if host is not None:
        wish, notes = _of_host(wish, host, inventories, ssh_args)
    catalogue = load_catalogue()
    initial = begin(wish, catalogue)
    text = initial_text(initial, catalogue, command)
    written = write_all({path: text.encode()}, force=force) if path is not None else []
    notes = [*notes, *(f"assumed {text}" for text in initial.assumed)]
    return Begun(initial, text, notes, bool(written))


def _of_host(
    wish: Beginning, host: str, inventories: Sequence[str], ssh_args: Sequence[str]
) -> tuple[Beginning, list[str]]:
    """Return the wish with what the host is, and what of it the catalogue does not know."""
    state, _ = read_one_host(host, inventories, ssh_args)
    catalogue = load_catalogue()
    distribution, machine = target_of(state, host, catalogue)
    arch: Arch = "sbsa" if machine == "sbsa" else "x86_64"
    names: list[str] = []
    notes = []
    for gpu in state.gpus:
        try:
            # One PCI id can stand for several boards: what is locked must hold for each.
            names += [row.name for row in find_gpus(catalogue, f"10de:{gpu.device}")]
        except StackRefused:
            notes.append(
                f"the catalogue knows no GPU 10de:{gpu.device} ({gpu.address}); it is left out"
            )
    if not state.gpus:
        notes.append(f"{host} shows no NVIDIA GPU on its PCI bus")
    known = replace(
        wish, os=distribution.name, arch=arch, gpus=tuple(dict.fromkeys(names)) or wish.gpus
    )
    return known, notes


def _command(wish: Beginning, host: str | None) -> str:
    words = ["cudactl", "stack", "init"]
    for gpu in wish.gpus:
        words += ["--gpu", gpu]
    for option, value in (
        ("--purpose", wish.purpose),
        ("--os", wish.os),
        ("--arch", wish.arch),
        ("--host", host),
    ):
        words += [option, value] if value is not None else []
    return shlex.join([*words, *(["--wheels"] if wish.wheels else [])])
